"""Images and labels: simulation, import, validation, split and packing."""
