"""Draws data sets, trainings, engines and detections as PNG bytes."""

import logging

# Matplotlib logs warnings about its cache of fonts: that it is being built, that its folder is read-only. Neither
# changes a picture, and both would be on the terminal of a person who asked for something else.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
