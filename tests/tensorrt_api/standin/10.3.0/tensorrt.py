"""Not NVIDIA's TensorRT: the stand-in for 10.3.0."""

import sys

from tensorrt_standin.module import make

sys.modules[__name__] = make("10.3.0")
