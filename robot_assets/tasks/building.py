"""Builds networks: the one of a task, or a class of an installed package. Needs torch; import it late.

Every network that is built here answers with a tuple of its heads, in the order of its interface, whatever its own
``forward`` returns: a tensor, a tuple, a list, or a mapping by the names of the heads.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from robot_assets.core.errors import ParamsError, TrainingError
from robot_assets.core.paths import shown_path
from robot_assets.core.text import escaped, listed, plural
from robot_assets.core.validation import unknown
from robot_assets.tasks.interface import Head, Interface
from robot_assets.tasks.networks import NetworkBase, OwnNetwork
from robot_assets.tasks.registry import task_of
from robot_assets.tasks.task import loaded


def build(network: NetworkBase, interface: Interface, seed: int = 0) -> nn.Module:
    """Build a network with initial weights that ``seed`` determines; the global generator is not touched.

    Args:
        network: The network of the task, or a class of one's own.
        interface: Its interface.
        seed: Of the initial weights.

    Returns:
        A module from float32 (N, 3, height, width) to a tuple of its heads, in training mode. Its state has the names
        of the class: nothing is wrapped around it.

    Raises:
        ParamsError: The class cannot be imported, is no module, or does not take the arguments.
        TrainingError: On a call: it returns other heads than those of the interface.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _own(network) if isinstance(network, OwnNetwork) else _compact(network, interface)
    module.register_forward_hook(HeadsOf(interface.heads, _name(network)))
    return module


class HeadsOf:
    """A forward hook that returns the heads as a tuple, in their order, and refuses others.

    Args:
        heads: The heads of the interface.
        network: Name of the network in errors.
    """

    def __init__(self, heads: Sequence[Head], network: str) -> None:
        self._heads, self._network = tuple(heads), network

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> tuple[Tensor, ...]:
        """The heads of one call of ``module``.

        Raises:
            TrainingError: They are others than those of the interface.
        """
        found = self._in_order(outputs)
        wrong = [line for head, tensor in zip(self._heads, found, strict=True) for line in _mismatch(head, tensor)]
        if wrong:
            raise self._refused("; ".join(wrong))
        return found

    def _in_order(self, outputs: Any) -> tuple[Tensor, ...]:
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        if isinstance(outputs, Mapping):
            return self._by_name(outputs)
        if not isinstance(outputs, list | tuple):
            raise self._refused(f"it returns a {type(outputs).__name__}")
        if len(outputs) != len(self._heads):
            shapes = listed(_shape(value) for value in outputs)
            raise self._refused(f"it returns {plural(len(outputs), 'head')}: {shapes}")
        return tuple(outputs)

    def _by_name(self, outputs: Mapping[str, Any]) -> tuple[Tensor, ...]:
        names = [head.name for head in self._heads]
        missing = [name for name in names if name not in outputs]
        more = [str(name) for name in outputs if name not in names]
        if missing or more:
            texts = [f"without {listed(missing)}"] * bool(missing) + [f"with {listed(more)}"] * bool(more)
            raise self._refused(f"it returns a mapping {' and '.join(texts)}")
        return tuple(outputs[name] for name in names)

    def _refused(self, found: str) -> TrainingError:
        needed = ", ".join(f"{head.name} (N, {', '.join(map(str, head.shape[1:]))})" for head in self._heads)
        return TrainingError(
            f"{self._network}: {escaped(found)}",
            needed=f"{plural(len(self._heads), 'floating-point tensor')} in this order: {needed}",
            fix="change forward or the arguments of the network, or network.heads, input_height and input_width in "
            "params.yaml",
        )


def _mismatch(head: Head, value: Any) -> Iterator[str]:
    if not isinstance(value, Tensor):
        yield f"head {head.name} is a {type(value).__name__}"
    elif tuple(value.shape[1:]) != head.shape[1:]:
        yield f"head {head.name} is {_shape(value)}"
    elif not value.is_floating_point():
        yield f"head {head.name} is {str(value.dtype).removeprefix('torch.')}"


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"(N, {', '.join(str(side) for side in value.shape[1:])})"


def _name(network: NetworkBase) -> str:
    return network.kind if isinstance(network, OwnNetwork) else f"the {network.kind} network"


def _compact(network: NetworkBase, interface: Interface) -> nn.Module:
    task = task_of(interface.task)
    if task.compact is None:
        raise ParamsError(
            f"the task {task.name} has no network of kind {network.kind}",
            needed="a network of your own",
            fix='write network.kind: "package.module:Class" in params.yaml',
        )
    module: nn.Module = loaded(task.compact)(network, interface.classes)
    return module


def _own(network: OwnNetwork) -> nn.Module:
    cls = _class(network.kind)
    _check_arguments(network.kind, cls, network.arguments)
    try:
        built = cls(**network.arguments)
    except Exception as error:  # whatever a foreign constructor raises
        raise ParamsError(
            f"{network.kind}: its constructor raises {_raised(error)}",
            needed="a class that can be built with network.arguments",
            fix="correct network.arguments in params.yaml, or the constructor",
        ) from error
    if not hasattr(built, "_modules"):
        raise ParamsError(
            f"{network.kind}: its constructor does not call super().__init__()",
            needed="a torch.nn.Module that is initialized",
            fix="call super().__init__() first in the constructor",
        )
    module: nn.Module = built
    return module


def _class(kind: str) -> type[nn.Module]:
    """The class of an entry point, ``package.module:Class``."""
    module, _, name = kind.partition(":")
    try:
        found = loaded(module)
    except Exception as error:  # whatever a foreign module raises when it is imported
        _refuse_import(module, error)
    cls = getattr(found, name, None)
    if cls is None:
        raise ParamsError(
            f"network.kind: {unknown('class', name, _modules_of(found), 'networks')} in {module}",
            needed="the name of a class that is a torch.nn.Module",
            fix=f"correct network.kind in params.yaml, or add {name} to {_file(found)}",
        )
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        what = f"a class of {listed(base.__name__ for base in cls.__bases__)}" if isinstance(cls, type) else _a(cls)
        raise ParamsError(
            f"network.kind: {kind} is {what}, not a class of torch.nn.Module",
            needed="a class that is a torch.nn.Module",
            fix="correct network.kind in params.yaml, or derive the class from torch.nn.Module",
        )
    return cls


def _a(value: object) -> str:
    return f"a {type(value).__name__}"


def _modules_of(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]


def _file(module: ModuleType) -> str:
    return shown_path(Path(module.__file__)) if module.__file__ else module.__name__


def _refuse_import(module: str, error: Exception) -> NoReturn:
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None:
        raise ParamsError(
            f"network.kind: {module} cannot be imported: {_raised(error)}",
            needed="a module that can be imported",
            fix="correct the module, or install what it imports in this environment",
        ) from error
    if name == module.partition(".")[0]:
        raise ParamsError(
            f"network.kind: the package {name} is not installed in {sys.prefix}",
            needed=f"an installed package {name} with the network",
            fix=f"pip install -e {_source_of(name)}",
        ) from error
    if module == name or module.startswith(f"{name}."):
        parent, _, leaf = name.rpartition(".")
        raise ParamsError(
            f"network.kind: {unknown('module', leaf, _children(parent))} in {parent}",
            needed="the module of the network",
            fix=f"correct network.kind in params.yaml, or add {leaf}.py to the package {parent}",
        ) from error
    raise ParamsError(
        f"network.kind: {module} imports {name}, which is not installed in {sys.prefix}",
        needed=f"what {module} imports",
        fix=f"pip install {name.partition('.')[0]}   # or the distribution that has it",
    ) from error


def _source_of(package: str) -> str:
    """The folder with the source of a package that is not installed, near the working directory."""
    for pattern in (package, f"src/{package}", f"*/{package}", f"*/src/{package}", f"packages/*/{package}"):
        for found in sorted(Path().glob(pattern)):
            root = found.parent.parent if found.parent.name == "src" else found.parent
            if found.is_dir() and any((root / name).is_file() for name in ("pyproject.toml", "setup.py")):
                return shown_path(root)
    return f"FOLDER   # the one with the pyproject.toml of {package}"


def _children(package: str) -> list[str]:
    spec = find_spec(package)
    return [one.name for one in iter_modules(spec.submodule_search_locations)] if spec else []


def _check_arguments(kind: str, cls: type[nn.Module], arguments: Mapping[str, Any]) -> None:
    signature = inspect.signature(cls)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = [
            one.name
            for one in signature.parameters.values()
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        ]
        more = [name for name in arguments if name not in known]
        problem = unknown("argument", more[0], known) if more else str(error)
        raise ParamsError(
            f"network.arguments: {problem}",
            needed=f"arguments of {kind}{signature}",
            fix="correct network.arguments in params.yaml",
        ) from None


def _raised(error: Exception) -> str:
    """An exception of foreign code, with the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    text = escaped(f"{type(error).__name__}: {error}")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text.partition(' (')[0]} ({error.filename}, line {error.lineno})"
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text
