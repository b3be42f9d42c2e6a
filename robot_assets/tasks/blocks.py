"""The blocks of the networks of this package: what fuses to int8 in ONNX Runtime and in TensorRT from 8.6.

Only dense 3x3 and 1x1 convolutions, batch norm, ReLU, addition and nearest upsampling by two. No weights are shared, so
that each batch norm folds into exactly one convolution and each activation has its own scale.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm, then ReLU unless ``linear``."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, linear: bool = False) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, momentum=0.03, eps=1e-3),
        ]
        if not linear:
            layers.append(nn.ReLU())
        super().__init__(*layers)


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, linear=True)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w), non-negative."""
        return functional.relu(features + self.second(self.first(features)))


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Halve the resolution, then apply ``blocks`` residual blocks."""
    return nn.Sequential(ConvNorm(inputs, outputs, stride=2), *(Residual(outputs) for _ in range(blocks)))


def upsampled(features: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, C, 2 h, 2 w), each value repeated."""
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


def initialize_convolutions(network: nn.Module) -> None:
    """Draw initial weights for convolutions between ReLUs (arXiv 1502.01852), from torch's generator."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Residual):
            # A block starts as the identity, which stabilizes the first steps (arXiv 1706.02677, section 5.1).
            nn.init.zeros_(module.second[1].weight)  # type: ignore[arg-type]
