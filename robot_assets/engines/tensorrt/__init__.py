"""Engine kind ``tensorrt``: TensorRT 8.6 to 11, built and run on the device. Imports NVIDIA's libraries when needed."""
