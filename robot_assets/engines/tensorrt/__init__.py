"""Engines for TensorRT 8.6 to 11: build on the device, run there. Nothing of NVIDIA is imported before it is needed."""
