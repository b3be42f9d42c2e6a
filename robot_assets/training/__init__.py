"""Trains detectors: loop, augmentation, evaluation, resuming from a checkpoint."""

import os

# libgomp's threads spin for milliseconds after each parallel region of torch, on the cores that prepare the next
# batch. The variable is read when torch loads, so it is set here. It changes how threads wait, not the results.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
