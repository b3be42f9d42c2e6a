"""Draws data sets, trainings, engines and detections as PNG bytes."""
