"""Engine kind ``onnxruntime``: the int8 graph in ONNX Runtime, on the CPU."""
