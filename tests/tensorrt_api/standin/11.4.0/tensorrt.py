"""Not NVIDIA's TensorRT: the stand-in for 11.4.0."""

import sys

from tensorrt_standin.module import make

module = make("11.4.0")
module.__spec__, module.__file__ = __spec__, __file__
sys.modules[__name__] = module
