"""Not NVIDIA's TensorRT: the stand-in for 10.3.0."""

import sys

from tensorrt_standin.module import make

module = make("10.3.0")
module.__spec__, module.__file__ = __spec__, __file__
sys.modules[__name__] = module
