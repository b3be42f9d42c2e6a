"""Networks, loss and decoding."""
