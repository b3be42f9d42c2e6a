"""A checkpoint: ``model.safetensors`` (weights and nothing else) with ``config.json`` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from robot_assets.core.documents import write_json
from robot_assets.core.errors import TrainingError
from robot_assets.core.text import plural
from robot_assets.core.validation import mistakes
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.networks import NetworkBase, network_of
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_REBUILD = "rebuild the checkpoint, or restore its directory from the store"


@dataclass(frozen=True)
class CheckpointConfig:
    """The network of a checkpoint, and its interface.

    Attributes:
        network: The network.
        interface: Task, classes, input, heads and decoder.
    """

    network: NetworkBase
    interface: Interface


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], config: CheckpointConfig) -> None:
    """Write both files into ``folder``, which the caller publishes. The same weights give the same bytes."""
    from safetensors.torch import save_file

    tensors = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
    save_file(tensors, str(folder / WEIGHTS))
    save_config(folder, config)


def save_config(folder: Path, config: CheckpointConfig) -> None:
    """Write ``config.json`` into ``folder``."""
    document = {
        "network": config.network.model_dump(mode="json"),
        "interface": config.interface.model_dump(mode="json"),
    }
    write_json(folder / CONFIG, document)


def load_config(folder: Path) -> CheckpointConfig:
    """Read ``config.json`` of the checkpoint in ``folder``. Needs no torch.

    Raises:
        TrainingError: The file is missing or invalid.
        ParamsError: Its task is not installed here.
    """
    path = folder / CONFIG
    try:
        document = json.loads(path.read_bytes())
        interface = Interface.model_validate(document["interface"])
        network = network_of(task_of(interface.task), document["network"])
    except FileNotFoundError:
        raise TrainingError(f"no {path}", needed="a checkpoint directory", fix=_REBUILD) from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise TrainingError(
            f"{path} is not the config of a checkpoint: {_describe_error(error)}",
            needed="a JSON object with 'network' and 'interface'",
            fix=_REBUILD,
        ) from None
    return CheckpointConfig(network, interface)


def _describe_error(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(mistakes(error))
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def load_network(folder: Path) -> tuple[nn.Module, CheckpointConfig]:
    """Load the network of the checkpoint in ``folder``, in eval mode, and its config.

    Raises:
        TrainingError: A file is missing or corrupt, or a leaf has a shape that the network does not have.
    """
    from robot_assets.tasks.building import build

    config = load_config(folder)
    network = build(config.network, config.interface)
    load_weights(network, read_weights(folder / WEIGHTS), origin=str(folder / WEIGHTS))
    return network.eval(), config


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
        TrainingError: The file is missing or corrupt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except FileNotFoundError:
        raise TrainingError(f"no weights at {path}", needed="a safetensors file", fix=_REBUILD) from None
    except SafetensorError as error:
        raise TrainingError(
            f"{path} is not a complete safetensors file: {error}",
            needed="the bytes that were saved",
            fix=_REBUILD,
        ) from None
    return tensors


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, origin: str) -> None:
    """Load ``weights`` into ``module``, which must have exactly those leaves.

    Args:
        module: Changed in place.
        weights: Tensors by the name of their leaf.
        origin: Source of the weights, named in errors.

    Raises:
        TrainingError: Names each leaf that is missing, unknown, or of another shape or dtype, with the expected
            and the found one.
    """
    expected = module.state_dict()
    mismatches = [
        f"{name}: expected {_describe(leaf)}, found {_describe(weights.get(name))}"
        for name, leaf in expected.items()
        if _describe(weights.get(name)) != _describe(leaf)
    ]
    mismatches += [
        f"{name}: expected nothing, found {_describe(weights[name])}" for name in sorted(set(weights) - set(expected))
    ]
    if mismatches:
        count = len(mismatches)
        shown = "\n    ".join(mismatches[:8]) + (f"\n    and {count - 8} more" if count > 8 else "")
        raise TrainingError(
            f"{origin} does not match the network in {plural(count, 'leaf', 'leaves')}:\n    {shown}",
            needed="the weights of the network that config.json describes",
            fix="rebuild the checkpoint: the network has changed since it was saved",
        )
    module.load_state_dict(dict(weights))


def _describe(leaf: Tensor | None) -> str:
    if leaf is None:
        return "nothing"
    return f"{str(leaf.dtype).removeprefix('torch.')} {tuple(leaf.shape)}"
