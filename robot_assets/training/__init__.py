"""The training loop, metrics and checkpoints."""

import os

# libgomp's threads spin for milliseconds after each parallel region of torch, on the cores that prepare the next
# batch. Read when torch loads, so it stands here; it changes how threads wait, and no result.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
