"""Finds the layers that lose accuracy when quantized, and chooses a few of them to leave in float."""
