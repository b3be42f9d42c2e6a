"""Not NVIDIA's TensorRT: the stand-in for 8.6.1."""

import sys

from tensorrt_standin.module import make

sys.modules[__name__] = make("8.6.1")
