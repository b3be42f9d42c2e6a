"""The network: the residual backbone of the compact networks, a top-down path, and logits at stride 4.

The blocks are those of :mod:`robot_assets.tasks.blocks`, which fuse to int8. All convolutions but the last one have an
int8 result; the logits stay float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from robot_assets.tasks.blocks import ConvNorm, initialize_convolutions, stage, upsampled

if TYPE_CHECKING:
    from robot_assets.tasks.segmentation.spec import CompactSegmenter


class Segmenter(nn.Module):
    """See :func:`build_compact`."""

    def __init__(self, spec: CompactSegmenter, classes: int) -> None:
        super().__init__()
        width = spec.width
        self.stem = ConvNorm(3, max(16, width // 2), stride=2)
        self.stage4 = stage(max(16, width // 2), width, spec.depth)
        self.stage8 = stage(width, 2 * width, spec.depth)
        self.stage16 = stage(2 * width, 4 * width, 3 * spec.depth)
        self.lateral16 = ConvNorm(4 * width, 2 * width, 1)
        self.lateral8 = ConvNorm(2 * width, 2 * width, 1, linear=True)
        self.merge8 = ConvNorm(2 * width, width)
        self.lateral4 = ConvNorm(width, width, 1, linear=True)
        self.merge4 = ConvNorm(width, width)
        self.logits = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images float32 (N, 3, H, W) -> logits (N, classes, H / 4, W / 4), in a tuple of one head."""
        at4 = self.stage4(self.stem(images))
        at8 = self.stage8(at4)
        top16 = self.lateral16(self.stage16(at8))
        top8 = self.merge8(functional.relu(self.lateral8(at8) + upsampled(top16)))
        top4 = self.merge4(functional.relu(self.lateral4(at4) + upsampled(top8)))
        return (self.logits(top4),)


def build_compact(spec: CompactSegmenter, classes: Sequence[str]) -> nn.Module:
    """Build a segmentation network, with initial weights from torch's generator.

    Its forward takes float32 (N, 3, height, width) and returns one head, float32 (N, classes, height / 4, width / 4).
    """
    network = Segmenter(spec, len(classes))
    initialize_convolutions(network)
    # Not close to 0 as in a detector: the gradient of the features is proportional to these weights.
    nn.init.normal_(network.logits.weight, std=spec.width**-0.5)
    nn.init.zeros_(network.logits.bias)  # type: ignore[arg-type]
    return network
