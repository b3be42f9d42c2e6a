"""ONNX graphs that were trained elsewhere: reading, conversion, post-training quantization, the artifact."""
