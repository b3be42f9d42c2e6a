"""A quantizer that places Q/DQ nodes as TensorRT fuses them, with PTQ and QAT."""
