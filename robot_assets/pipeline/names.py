"""Asset names, built and parsed. No other module takes an asset name apart or puts one together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Self

NAME = "[a-z][a-z0-9_]{0,62}"
"""Names of data sets, models and targets become asset keys, group names, paths and node labels."""

FIELDS = ("dataset", "model", "target", "weights", "group")
"""What an asset name may be made of, beside fixed words."""


@dataclass(frozen=True)
class AssetName:
    """What an asset name says.

    Attributes:
        asset: The whole name, such as ``sidewalk_detector/engine/cpu``.
        dataset: Entry of ``datasets`` in params.yaml; empty where the name has none.
        model: Entry of ``models``; empty where the name has none.
        target: Entry of ``targets``; empty where the name has none.
        weights: Entry of ``weights``; empty where the name has none.
        group: Entry of ``fleet.groups``; empty where the name has none.
    """

    asset: str
    dataset: str = ""
    model: str = ""
    target: str = ""
    weights: str = ""
    group: str = ""

    def __str__(self) -> str:
        return self.asset


@dataclass(frozen=True)
class NamePattern:
    """How the assets of one kind are named.

    Attributes:
        text: Fixed words and fields, such as ``{model}/engine/{target}``.
    """

    text: str

    def name(self, **fields: str) -> AssetName:
        """The name with these fields, some of :data:`FIELDS`."""
        return AssetName(self.fill(**fields), **fields)

    def fill(self, **fields: str) -> str:
        """The text of that name."""
        return self.text.format(**fields)

    def parse(self, asset: str) -> AssetName | None:
        """What ``asset`` says; None when it is not named like this."""
        return _parsed(self.text, asset)

    @property
    def first_word(self) -> str | None:
        """The fixed word that every name begins with; None when it begins with a field."""
        first = self.text.split("/")[0]
        return None if first.startswith("{") else first

    @classmethod
    def of_model(cls, stage: str) -> Self:
        """The pattern of a stage that each model has once, such as ``{model}/onnx``."""
        return cls(f"{{model}}/{stage}")


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", rf"(?P<\1>{NAME})", pattern))


@lru_cache(maxsize=1 << 16)
def _parsed(pattern: str, asset: str) -> AssetName | None:
    """Kept from one look at a project to the next, which parses the same thousands of names."""
    found = _expression(pattern).fullmatch(asset)
    return AssetName(asset, **found.groupdict()) if found else None


RAW = NamePattern("raw/{dataset}")
DATASET = NamePattern("datasets/{dataset}")
WEIGHTS = NamePattern("weights/{weights}")
PLATFORM = NamePattern("platform/{target}")
CHECKPOINT = NamePattern.of_model("checkpoint")
PTQ = NamePattern.of_model("ptq")
QAT = NamePattern.of_model("qat")
SOURCE = NamePattern.of_model("source")
ONNX = NamePattern.of_model("onnx")
SENSITIVITY = NamePattern.of_model("sensitivity")
ENGINE = NamePattern("{model}/engine/{target}")
PROFILE = NamePattern("profile/{target}")
RELEASE = NamePattern("release/{group}")
ROLLOUT = NamePattern("rollout/{group}")
FLEET = NamePattern("fleet/{group}")


def raw(dataset: str) -> str:
    """Asset of the images and labels as they were recorded."""
    return RAW.fill(dataset=dataset)


def dataset(dataset: str) -> str:
    """Asset of the validated, split and packed data set."""
    return DATASET.fill(dataset=dataset)


def weights(weights: str) -> str:
    """Observed asset of weights that a training starts from."""
    return WEIGHTS.fill(weights=weights)


def platform(target: str) -> str:
    """Observed asset of the device of a target."""
    return PLATFORM.fill(target=target)


def checkpoint(model: str) -> str:
    """Asset of the trained FP32 weights."""
    return CHECKPOINT.fill(model=model)


def ptq(model: str) -> str:
    """Asset of the post-training quantization."""
    return PTQ.fill(model=model)


def qat(model: str) -> str:
    """Asset of the quantization-aware training."""
    return QAT.fill(model=model)


def source(model: str) -> str:
    """Observed asset of an ONNX file that was trained elsewhere."""
    return SOURCE.fill(model=model)


def onnx(model: str) -> str:
    """Asset of the exported ONNX file with Q/DQ nodes."""
    return ONNX.fill(model=model)


def sensitivity(model: str) -> str:
    """Asset of the sensitivity analysis, with the ONNX whose sensitive layers stay in float."""
    return SENSITIVITY.fill(model=model)


def engine(model: str, target: str) -> str:
    """Asset of one model's engine for one target."""
    return ENGINE.fill(model=model, target=target)


def profile(target: str) -> str:
    """Asset of the measurement of all engines that a robot runs together on a target."""
    return PROFILE.fill(target=target)


def release(group: str) -> str:
    """Asset of the engines that a group of robots should run, as one bundle."""
    return RELEASE.fill(group=group)


def rollout(group: str) -> str:
    """Asset of the decision which robots of a group may have its release now."""
    return ROLLOUT.fill(group=group)


def fleet(group: str) -> str:
    """Observed asset of what the robots of a group report that they run."""
    return FLEET.fill(group=group)
