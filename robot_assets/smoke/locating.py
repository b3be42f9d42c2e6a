"""Finds the layer that a failure belongs to. Needs torch; import it late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from robot_assets.core.errors import RobotAssetsError, TrainingError
from robot_assets.core.text import escaped
from robot_assets.quantization.graph import line_of_network


@contextmanager
def located(network: nn.Module, what: str) -> Iterator[None]:
    """Raise what a network raises inside the block as an error that names its layer and its line.

    Args:
        network: The network that the block calls.
        what: What the block does, such as ``forward``.

    Raises:
        TrainingError: The block has failed.
    """
    running: list[str] = []
    hooks = [hook for path, module in network.named_modules() for hook in _hooks(module, path, running)]
    try:
        yield
    except RobotAssetsError as error:
        raise (_with_layer(error, running[-1]) if running and running[-1] else error) from error.__cause__
    except Exception as error:  # whatever a foreign network raises
        raise _failed(error, running[-1] if running else "", what) from error
    finally:
        for hook in hooks:
            hook.remove()


def _hooks(module: nn.Module, path: str, running: list[str]) -> Iterator[Any]:
    def enter(*_: object) -> None:
        running.append(path)

    def leave(*_: object) -> None:
        running.pop()

    yield module.register_forward_pre_hook(enter)
    yield module.register_forward_hook(leave)


def _failed(error: Exception, path: str, what: str) -> TrainingError:
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    place = line_of_network(error)
    return TrainingError(
        f"{what}, {f'layer {path}' if path else 'the network'}: {type(error).__name__}: {escaped(text[:300])}",
        needed="a network that can be called with its input and trained by its loss",
        fix=f"correct {place}" if place else "correct the network, or its arguments in params.yaml",
    )


def _with_layer(error: RobotAssetsError, path: str) -> RobotAssetsError:
    return type(error)(f"layer {path}: {error.found}", needed=error.needed, fix=error.fix, details=error.details)


def first_not_finite(network: nn.Module, images: Tensor) -> str:
    """Path of the first layer whose output is not finite, for the weights and images given; empty for none."""
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_watching(path, found))
        for path, module in network.named_modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return found[0] if found else ""


def _watching(path: str, found: list[str]) -> Any:
    def look(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(path)

    return look
