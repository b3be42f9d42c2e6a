"""Detection: the built-in network, assignment of targets, loss, decoding, checkpoints."""
