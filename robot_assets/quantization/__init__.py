"""A quantizer with the placement of TensorRT, and PTQ and QAT with it."""
