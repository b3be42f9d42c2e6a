"""Data sets of images and labels: simulation, import, validation, split, packing."""
