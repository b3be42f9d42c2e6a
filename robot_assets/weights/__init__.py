"""Weights that a training starts from: files that were trained elsewhere, in safetensors, with their licence."""
