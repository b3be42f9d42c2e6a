"""Not NVIDIA's TensorRT: the stand-in for 8.6.1."""

import sys

from tensorrt_standin.module import make

module = make("8.6.1")
module.__spec__, module.__file__ = __spec__, __file__
sys.modules[__name__] = module
