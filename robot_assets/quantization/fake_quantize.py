"""The two modules that stand on the quantized edges of a prepared graph. Needs torch; import it late.

Each is watched, fake-quantizing or transparent, by its ``mode``. torchao's ``convert_pt2e`` replaces either by a
QuantizeLinear/DequantizeLinear pair with what ``calculate_qparams`` returns.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torchao.quantization.pt2e import FakeQuantizeBase

from robot_assets.quantization.histogram import BINS, LEVELS, MagnitudeHistogram

Mode = Literal["transparent", "observe", "quantize"]

_TINY = float(torch.finfo(torch.float32).tiny)


class _SymmetricQuantizer(FakeQuantizeBase):  # type: ignore[misc, unused-ignore]
    """Int8 with zero point 0; what activations and weights have in common."""

    dtype = torch.int8
    quant_max = LEVELS
    is_dynamic = False

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.mode: Mode = "transparent"


class ActivationQuantizer(_SymmetricQuantizer):
    """Per-tensor quantizer of one activation, any shape, float32.

    Attributes:
        scale: Step of the int8 grid in units of the activation; None until calibrated.
        histogram: Magnitudes seen while observing; None otherwise.
    """

    qscheme = torch.per_tensor_symmetric
    quant_min = -LEVELS - 1

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.scale: float | None = None
        self.histogram: MagnitudeHistogram | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` watched, fake-quantized or as it is."""
        if self.mode == "observe":
            self._observe(x.detach())
        elif self.mode == "quantize":
            scale = self.calibrated_scale()
            return torch.fake_quantize_per_tensor_affine(x, scale, 0, self.quant_min, self.quant_max)
        return x

    def calibrated_scale(self) -> float:
        """The scale; an error of the caller when nothing has calibrated it."""
        if self.scale is None:
            raise RuntimeError("the activation quantizer has no scale yet")
        return self.scale

    def calculate_qparams(self, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and zero point, float64 and int64, shape (1,)."""
        return torch.tensor([self.calibrated_scale()], dtype=torch.float64), torch.zeros(1, dtype=torch.int64)

    def _observe(self, x: torch.Tensor) -> None:
        if self.histogram is None:
            self.histogram = MagnitudeHistogram()
        magnitude = x.abs()
        self.histogram.grow(float(magnitude.max()))
        # The limit is a power of two: this product is exact, so a bin does not depend on when it was counted.
        bins = (magnitude * (BINS / self.histogram.limit)).to(torch.int64).flatten()
        self.histogram.add(torch.bincount(bins, minlength=BINS).cpu().numpy())


class WeightPerChannelQuantizer(_SymmetricQuantizer):
    """Per-channel quantizer of a convolution weight (O, I, H, W) on axis 0.

    The scale is always ``max(abs(w)) / 127`` of the present weights, so a weight file alone determines it. The
    name holds ``PerChannel`` because torchao passes ``ch_axis`` only then.
    """

    qscheme = torch.per_channel_symmetric
    quant_min = -LEVELS
    ch_axis = 0

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.last: torch.Tensor | None = None

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights fake-quantized, or as they are."""
        if self.mode != "quantize":
            self.last = weight.detach()
            return weight
        scale = channel_scales(weight.detach())
        self.last = weight.detach()
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, self.quant_min, self.quant_max)

    def calculate_qparams(self, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales float32 (O,) and zero points int64 (O,) of the weights seen last."""
        if self.last is None:
            raise RuntimeError("the weight quantizer has seen no weights yet")
        scale = channel_scales(self.last)
        return scale, torch.zeros_like(scale, dtype=torch.int64)


def channel_scales(weight: torch.Tensor) -> torch.Tensor:
    """Float32 (O,): the largest magnitude of each output channel over 127; 1 for a channel of zeros."""
    scale = weight.abs().amax(dim=tuple(range(1, weight.dim()))) / LEVELS
    return torch.where(scale > _TINY, scale, torch.ones_like(scale))


Quantizers = (ActivationQuantizer, WeightPerChannelQuantizer)
