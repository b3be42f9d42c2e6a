"""The state of an unfinished training, saved after each epoch so that a kill costs one epoch at most."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robot_assets.core.publishing import publishing_file
from robot_assets.models.spec import NetworkSpec
from robot_assets.training.spec import TrainingSpec

STATE = "training_state.pt"


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epochs: Epochs done.
        history: One record an epoch, as in ``history.json``.
        best: mAP@50 on val, epoch (from 1) and weights of the best evaluation; None before the first.
    """

    epochs: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int, dict[str, Tensor]] | None = None


def fingerprint(dataset: Path, network: NetworkSpec, spec: TrainingSpec) -> str:
    """What a state belongs to: data set, network, schedule and torch. Another one must not continue it."""
    manifest = (dataset / "dataset.json").read_bytes()
    document = [network.model_dump(mode="json"), spec.model_dump(mode="json"), torch.__version__]
    return hashlib.md5(manifest + json.dumps(document, sort_keys=True).encode()).hexdigest()


def save_state(scratch: Path, mark: str, progress: Progress, parts: dict[str, Any]) -> None:
    """Save atomically: a kill at any instant leaves the old state or the new one.

    Args:
        scratch: A directory of this training alone.
        mark: Its :func:`fingerprint`.
        progress: How far it is.
        parts: Whatever else goes on: states of the module, the average and the optimizer.
    """
    document = {
        "mark": mark,
        "epochs": progress.epochs,
        "history": progress.history,
        "best": progress.best,
        **parts,
    }
    with publishing_file(scratch / STATE) as staging:
        torch.save(document, staging)


def load_state(scratch: Path, mark: str) -> tuple[Progress, dict[str, Any]] | None:
    """The state in ``scratch``, or None where there is none, none whole, or one of another training."""
    try:
        document = torch.load(scratch / STATE, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, ValueError, OSError):
        # Not whole: the disk lost it. Starting again is what a missing state means, too.
        return None
    if not isinstance(document, dict) or document.pop("mark", None) != mark:
        return None
    best = document.pop("best")
    progress = Progress(document.pop("epochs"), document.pop("history"), None if best is None else tuple(best))
    return progress, document


def forget_state(scratch: Path) -> None:
    """Remove the state of a finished training."""
    (scratch / STATE).unlink(missing_ok=True)
