"""The quantizer modules on the quantized edges of a prepared graph. Needs torch; import it late.

Each is transparent, observing or fake-quantizing, by its ``mode``. torchao's ``convert_pt2e`` replaces them by
quantize/dequantize pairs with the result of ``calculate_qparams``.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torchao.quantization.pt2e import FakeQuantizeBase

from robot_assets.quantization.histogram import BINS, LEVELS, MagnitudeHistogram

Mode = Literal["transparent", "observe", "quantize"]

_TINY = float(torch.finfo(torch.float32).tiny)


class _SymmetricQuantizer(FakeQuantizeBase):  # type: ignore[misc, unused-ignore]
    """Int8 with zero point 0, the base of both quantizers."""

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
        histogram: Magnitudes observed; None before the first.
    """

    qscheme = torch.per_tensor_symmetric
    quant_min = -LEVELS - 1

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.scale: float | None = None
        self.histogram: MagnitudeHistogram | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Observe ``x``, fake-quantize it, or return it unchanged, by ``mode``."""
        if self.mode == "observe":
            self._observe(x.detach())
        elif self.mode == "quantize":
            scale = self.calibrated_scale()
            return torch.fake_quantize_per_tensor_affine(x, scale, 0, self.quant_min, self.quant_max)
        return x

    def calibrated_scale(self) -> float:
        """The scale.

        Raises:
            RuntimeError: The quantizer is not calibrated.
        """
        if self.scale is None:
            raise RuntimeError("the activation quantizer is not calibrated")
        return self.scale

    def calculate_qparams(self, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and zero point, float64 and int64, shape (1,)."""
        return torch.tensor([self.calibrated_scale()], dtype=torch.float64), torch.zeros(1, dtype=torch.int64)

    def _observe(self, x: torch.Tensor) -> None:
        if self.histogram is None:
            self.histogram = MagnitudeHistogram()
        magnitude = x.abs()
        self.histogram.grow(float(magnitude.max()))
        # The limit is a power of two: this product is exact, so the bin of a value does not depend on the limit.
        bins = (magnitude * (BINS / self.histogram.limit)).to(torch.int64).flatten()
        self.histogram.add(torch.bincount(bins, minlength=BINS).cpu().numpy())


class WeightPerChannelQuantizer(_SymmetricQuantizer):
    """Per-channel quantizer of the weight of a convolution (O, I, H, W) or linear layer (O, I) on axis 0.

    The scale is always ``max(abs(w)) / 127`` of the current weights, so a weight file alone determines it. torchao
    passes ``ch_axis`` only to classes with ``PerChannel`` in their name.
    """

    qscheme = torch.per_channel_symmetric
    quant_min = -LEVELS
    ch_axis = 0

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self._weight: torch.Tensor | None = None

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Fake-quantize the weights, or return them unchanged, by ``mode``."""
        self._weight = weight.detach()
        if self.mode != "quantize":
            return weight
        scale = channel_scales(self._weight, self.ch_axis)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, self.ch_axis, self.quant_min, self.quant_max)

    def calculate_qparams(self, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales float32 (O,) and zero points int64 (O,) of the weights of the last call."""
        if self._weight is None:
            raise RuntimeError("the weight quantizer has not been called with weights")
        scale = channel_scales(self._weight, self.ch_axis)
        return scale, torch.zeros_like(scale, dtype=torch.int64)


class TransposedWeightPerChannelQuantizer(WeightPerChannelQuantizer):
    """Per-channel quantizer of the weight of a transposed convolution (I, O, H, W) on axis 1."""

    ch_axis = 1


def channel_scales(weight: torch.Tensor, axis: int = 0) -> torch.Tensor:
    """Float32 (O,): the largest magnitude of each channel on ``axis`` divided by 127; 1 for a channel of zeros."""
    scale = weight.abs().amax(dim=tuple(dim for dim in range(weight.dim()) if dim != axis)) / LEVELS
    return torch.where(scale > _TINY, scale, torch.ones_like(scale))


Quantizers = (ActivationQuantizer, WeightPerChannelQuantizer)
