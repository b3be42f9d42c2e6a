"""The state of a training, saved after each epoch: a kill costs one epoch at most.

A finished training leaves its state, too: its result can still be lost before it is stored, and a rerun then
finishes without training again. Whoever stores the result removes the scratch directory.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robot_assets.core.publishing import publishing_file
from robot_assets.core.spec import Spec
from robot_assets.tasks.checkpoint import CheckpointConfig
from robot_assets.training.ema import MovingAverage
from robot_assets.training.spec import TrainingSpec

STATE = "training_state.pt"


@dataclass
class Progress:
    """The finished epochs of a training.

    Attributes:
        epochs: Number of finished epochs.
        history: One record per epoch, as in ``history.json``.
        best: Score on val, epoch (from 1) and weights of the best evaluation; None before the first.
    """

    epochs: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int, dict[str, Tensor]] | None = None


def fingerprint_of(dataset: Path, config: CheckpointConfig, loss: Spec, spec: TrainingSpec) -> str:
    """Identify a training: no other one may continue its state.

    Args:
        dataset: The packed data set.
        config: The network and its interface.
        loss: Parameters of the loss.
        spec: The schedule.
    """
    manifest = (dataset / "dataset.json").read_bytes()
    parts = (config.network, config.interface, loss, spec)
    document = [*(part.model_dump(mode="json") for part in parts), torch.__version__]
    return hashlib.md5(manifest + json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TrainingState:
    """The saved state of one training.

    Attributes:
        scratch: Directory of this training alone.
        fingerprint: Identifies the training; see :func:`fingerprint_of`.
        module: The module that is trained.
        average: Its moving average.
        optimizer: Its optimizer.
    """

    scratch: Path
    fingerprint: str
    module: nn.Module
    average: MovingAverage
    optimizer: torch.optim.Optimizer

    def save(self, progress: Progress) -> None:
        """Save atomically: a kill at any instant leaves the old state or the new one."""
        document = {
            "fingerprint": self.fingerprint,
            "epochs": progress.epochs,
            "history": progress.history,
            "best": progress.best,
            "module": self.module.state_dict(),
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
        }
        with publishing_file(self.scratch / STATE) as staging:
            torch.save(document, staging)

    def restore(self) -> Progress:
        """Load the saved state into module, average and optimizer. Without one, nothing changes."""
        document = self._read()
        if document is None:
            return Progress()
        self.module.load_state_dict(document["module"])
        self.average.network.load_state_dict(document["average"])
        self.average.steps = document["average_steps"]
        self.optimizer.load_state_dict(document["optimizer"])
        best = document["best"]
        return Progress(document["epochs"], document["history"], None if best is None else tuple(best))

    def _read(self) -> dict[str, Any] | None:
        """The saved document; None where it is missing, damaged, or of another training."""
        try:
            document = torch.load(self.scratch / STATE, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, ValueError, OSError):
            # Damaged by the disk: training starts again, as without a state.
            return None
        if not isinstance(document, dict) or document.get("fingerprint") != self.fingerprint:
            return None
        return document
