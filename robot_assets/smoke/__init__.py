"""The smoke test of a network: everything that a build does with it, once, with two images, before hours of training.

Forward, backward, fake-quantized, exported, checked for the operators of TensorRT, and compared with torch. A failure
names the layer.
"""
