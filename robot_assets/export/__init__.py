"""ONNX out of a quantized model, and the parity gate."""
