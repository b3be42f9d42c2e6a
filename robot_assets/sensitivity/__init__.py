"""Which layers quantization hurts, and which few of them to leave in float."""
