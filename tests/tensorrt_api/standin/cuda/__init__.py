"""Not NVIDIA's bindings: the stand-in of tests/tensorrt_api."""
