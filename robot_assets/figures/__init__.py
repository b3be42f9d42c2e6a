"""Pictures of data, training and engines, as PNG bytes."""
