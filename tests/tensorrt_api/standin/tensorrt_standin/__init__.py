"""The stand-in for TensorRT; see tests/tensorrt_api."""
