"""The functions of the decoders: ``(outputs, interface) -> detections of each image``. NumPy alone, robots run them."""
