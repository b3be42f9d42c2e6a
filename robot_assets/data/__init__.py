"""Images and labels: simulate, import, validate, split, pack."""
