"""One TensorRT-style quantizer; PTQ and QAT with it."""
