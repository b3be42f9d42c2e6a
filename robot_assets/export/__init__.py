"""Exports quantized models to ONNX, and checks parity with torch."""
