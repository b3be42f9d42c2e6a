"""What a smoke test found. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SmokeStep:
    """One step.

    Attributes:
        name: Such as ``forward``.
        seconds: Wall clock.
        found: What was found, a few words.
    """

    name: str
    seconds: float
    found: str


@dataclass(frozen=True)
class InFloat:
    """An operator that stays in float.

    Attributes:
        layer: Path of its module, or of the operator in it.
        operator: Such as ``softmax``.
        reason: Why.
    """

    layer: str
    operator: str
    reason: str


@dataclass(frozen=True)
class SmokeResult:
    """What a smoke test found.

    Attributes:
        steps: The steps, in order.
        heads: Shape of each head for one image, by name.
        parameters: Number of trained parameters.
        macs: Multiply-accumulates of one image.
        quantized: Names of the quantized layers, in execution order.
        in_float: Operators that stay in float, in execution order; without activations, which are fused.
        without_gradient: Names of parameters that the loss does not reach.
        differing_share: Share of head values that differ between torch and ONNX Runtime.
    """

    steps: tuple[SmokeStep, ...]
    heads: dict[str, tuple[int, ...]]
    parameters: int
    macs: int
    quantized: tuple[str, ...]
    in_float: tuple[InFloat, ...]
    without_gradient: tuple[str, ...]
    differing_share: float

    @property
    def seconds(self) -> float:
        """Wall clock of all steps."""
        return sum(step.seconds for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "steps": [{"step": one.name, "seconds": round(one.seconds, 2), "found": one.found} for one in self.steps],
            "heads": {name: list(shape) for name, shape in self.heads.items()},
            "parameters": self.parameters,
            "multiply_accumulates": self.macs,
            "quantized_layers": list(self.quantized),
            "float_operators": [vars(one) for one in self.in_float],
            "parameters_without_gradient": list(self.without_gradient),
            "differing_share": round(self.differing_share, 6),
        }
