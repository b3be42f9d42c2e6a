"""Not NVIDIA's TensorRT: the stand-in for 11.4.0."""

import sys

from tensorrt_standin.module import make

sys.modules[__name__] = make("11.4.0")
