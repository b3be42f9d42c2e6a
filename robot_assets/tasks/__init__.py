"""What networks are trained for, a folder each: targets and loss, heads, decoding in numpy for robots, the built-in network."""
