"""Networks, loss, decoding and checkpoints."""
