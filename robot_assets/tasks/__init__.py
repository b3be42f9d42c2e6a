"""What networks are trained for, a folder each: heads, targets and loss, decoding, the built-in network."""
