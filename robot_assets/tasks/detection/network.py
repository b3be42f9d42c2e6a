"""The network: a small residual backbone, a top-down path, and a head at each stride.

Only dense 3x3 and 1x1 convolutions, batch norm, ReLU, addition and nearest upsampling by two: all of them fuse
to int8 in ONNX Runtime and in TensorRT from 8.6. No weights are shared between levels, so that each batch
norm folds into exactly one convolution and each activation has its own scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from robot_assets.tasks.blocks import ConvNorm, initialize_convolutions, stage, upsampled
from robot_assets.tasks.detection.spec import NetworkSpec

PRIOR = 0.01
"""Score of every class in every cell before training (arXiv 1708.02002, section 4.1)."""


class Head(nn.Module):
    """Class logits and raw boxes of one level, each with its own tower."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.cls_tower = ConvNorm(channels, channels)
        self.box_tower = ConvNorm(channels, channels)
        self.cls = nn.Conv2d(channels, classes, 1)
        self.box = nn.Conv2d(channels, 4, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) -> logits (N, classes, h, w), raw boxes (N, 4, h, w)."""
        return self.cls(self.cls_tower(features)), self.box(self.box_tower(features))


class Detector(nn.Module):
    """See :func:`build_compact`."""

    def __init__(self, spec: NetworkSpec, classes: int) -> None:
        super().__init__()
        width = spec.width
        self.stem = ConvNorm(3, max(16, width // 2), stride=2)
        self.stage4 = stage(max(16, width // 2), width, spec.depth)
        self.stage8 = stage(width, 2 * width, spec.depth)
        self.stage16 = stage(2 * width, 4 * width, 2 * spec.depth)
        self.lateral16 = ConvNorm(4 * width, 2 * width, 1)
        self.lateral8 = ConvNorm(2 * width, 2 * width, 1, linear=True)
        self.merge8 = ConvNorm(2 * width, 2 * width)
        self.heads = nn.ModuleDict()
        if spec.finest_stride == 4:
            self.lateral4 = ConvNorm(width, width, 1, linear=True)
            self.reduce8 = ConvNorm(2 * width, width, 1, linear=True)
            self.merge4 = ConvNorm(width, width)
            self.heads["s4"] = Head(width, classes)
        self.heads["s8"] = Head(2 * width, classes)
        self.heads["s16"] = Head(2 * width, classes)
        self.is_finest_4 = spec.finest_stride == 4

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images float32 (N, 3, H, W) -> raw heads: logits and boxes of each stride, finest first."""
        at4 = self.stage4(self.stem(images))
        at8 = self.stage8(at4)
        top16 = self.lateral16(self.stage16(at8))
        top8 = self.merge8(functional.relu(self.lateral8(at8) + upsampled(top16)))
        levels = [self.heads["s8"](top8), self.heads["s16"](top16)]
        if self.is_finest_4:
            top4 = self.merge4(functional.relu(self.lateral4(at4) + upsampled(self.reduce8(top8))))
            levels.insert(0, self.heads["s4"](top4))
        return tuple(head for level in levels for head in level)


def build_compact(spec: NetworkSpec, classes: Sequence[str]) -> Detector:
    """Build a detector with initial weights from the global generator.

    Its forward takes float32 (N, 3, height, width) and returns the raw heads that
    :mod:`robot_assets.tasks.detection.decode` defines.
    """
    network = Detector(spec, len(classes))
    _initialize(network)
    return network


def _initialize(network: Detector) -> None:
    initialize_convolutions(network)
    for head in network.heads.values():
        if isinstance(head, Head):
            for output in (head.cls, head.box):
                nn.init.normal_(output.weight, std=0.01)
            nn.init.constant_(head.cls.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
            nn.init.constant_(head.box.bias, 0.5)  # type: ignore[arg-type]
