"""Loads weights that were trained elsewhere into a network, strictly. Needs torch; import it late.

Every tensor of the network has to be in the file, with its shape, and every tensor of the file in the network. What is
left out is left out by name, in params.yaml.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import ParamsError, TrainingError
from robot_assets.core.text import escaped, listed, near_misses, plural
from robot_assets.weights.reading import read_tensors
from robot_assets.weights.spec import LoadingRules

if TYPE_CHECKING:
    from torch import Tensor, nn

    Tensors = Mapping[str, Tensor]

_COUNTER = "num_batches_tracked"
"""A leaf of batch norms that is no weight; old files lack it."""
_SHOWN = 6


@dataclass(frozen=True)
class StartingWeights:
    """Weights that a training starts from; called with the network.

    Attributes:
        name: Entry of ``weights``.
        version: Hash of the file.
        path: The file, or a folder with exactly one.
        rules: How its tensors are loaded.
        origin: Path of the file that a person knows it by, for errors; by default ``path``.
    """

    name: str
    version: str
    path: Path
    rules: LoadingRules
    origin: str = ""

    def __call__(self, network: nn.Module) -> str:
        """Load them, and say how many. Raises as :func:`load_into`."""
        return load_into(network, read_tensors(self.path, self.name, self.origin), self.rules, self.name)


def load_into(network: nn.Module, tensors: Tensors, rules: LoadingRules, name: str) -> str:
    """Overwrite the weights of ``network`` in place.

    Args:
        network: Keeps its own weights where ``rules.skip`` says so.
        tensors: Those of the file.
        rules: Renaming and what is left out.
        name: Entry of ``weights``, for errors.

    Returns:
        What was loaded, one sentence.

    Raises:
        ParamsError: A rule fits nothing.
        TrainingError: The tensors do not match: the names that are missing, unexpected, or of another shape.
    """
    import torch

    own = network.state_dict()
    renamed = _renamed(tensors, rules.rename, name)
    kept = _kept(own, rules.skip, name)
    wanted = {leaf: value for leaf, value in own.items() if leaf not in kept}
    given = {leaf: value for leaf, value in renamed.items() if not _matches(leaf, rules.skip)}
    difference = _Difference.of(wanted, given)
    if difference.is_any:
        raise _refused(difference, own, renamed, name)
    with torch.no_grad():
        for leaf, value in wanted.items():
            if leaf in given:
                value.copy_(given[leaf])
    count = sum(leaf in given for leaf in wanted)
    left = f", {plural(len(kept), 'tensor keeps', 'tensors keep')} the initial values" if kept else ""
    return f"{plural(count, 'tensor')} from weights.{name}{left}"


@dataclass(frozen=True)
class _Difference:
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, wanted: Tensors, given: Tensors) -> _Difference:
        both = [leaf for leaf in wanted if leaf in given]
        return cls(
            tuple(leaf for leaf in wanted if leaf not in given and not leaf.endswith(_COUNTER)),
            tuple(leaf for leaf in given if leaf not in wanted and not leaf.endswith(_COUNTER)),
            tuple(
                f"{leaf}: {_described(given[leaf])} in the file, {_described(wanted[leaf])} in the network"
                for leaf in both
                if not _fits(wanted[leaf], given[leaf])
            ),
        )

    @property
    def is_any(self) -> bool:
        return bool(self.missing or self.unexpected or self.others)

    def lines(self) -> Iterable[str]:
        for title, names in (
            ("missing in the file", self.missing),
            ("not in the network", self.unexpected),
        ):
            if names:
                yield f"{len(names)} {title}: {escaped(listed(names, _SHOWN))}"
        if self.others:
            more = [f"and {len(self.others) - _SHOWN} more"] if len(self.others) > _SHOWN else []
            lines = map(escaped, self.others[:_SHOWN])
            yield "\n        ".join([f"{len(self.others)} of another shape or type:", *lines, *more])


def _refused(difference: _Difference, own: Tensors, renamed: Tensors, name: str) -> TrainingError:
    rule = _renaming_rule(own, renamed)
    lines = "\n    ".join(difference.lines())
    if rule:
        fix = f"write rename: {{'{rule[0]}': '{rule[1]}'}} into weights.{name} of params.yaml"
    elif pattern := _pattern_of(difference, own):
        fix = f"write skip: ['{pattern}'] into weights.{name} of params.yaml, if these are to be trained from the start"
    else:
        fix = f"take the file of this network, or correct network.arguments, or rename and skip of weights.{name}"
    return TrainingError(
        f"weights.{name} does not match the network:\n    {lines}",
        needed=f"the {plural(len(own), 'tensor')} of the network, each with its shape",
        fix=fix,
    )


def _renaming_rule(own: Tensors, given: Tensors) -> tuple[str, str] | None:
    """The leading text that makes most names of the file fit where it is exchanged; None when none does."""
    already = sum(leaf in own for leaf in given)
    found: Counter[tuple[str, str]] = Counter()
    by_tail: dict[str, list[str]] = {}
    for leaf in own:
        for tail in _tails(leaf):
            by_tail.setdefault(tail, []).append(leaf)
    for leaf, value in given.items():
        pairs = {
            (leaf[: len(leaf) - len(tail)], other[: len(other) - len(tail)])
            for tail in _tails(leaf)
            for other in by_tail.get(tail, ())
            if own[other].shape == value.shape
        }
        found.update(pair for pair in pairs if "" in pair)
    if not found:
        return None
    rule, count = found.most_common(1)[0]
    return rule if rule != ("", "") and count > already and 2 * count > len(given) else None


def _tails(leaf: str) -> Iterable[str]:
    parts = leaf.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def _pattern_of(difference: _Difference, own: Tensors) -> str | None:
    """A pattern for the one module that all differences are in, when most of the network fits."""
    leaves = [*difference.missing, *difference.unexpected, *(line.partition(":")[0] for line in difference.others)]
    roots = {leaf.partition(".")[0] for leaf in leaves}
    if len(roots) != 1 or 2 * len(leaves) > len(own):
        return None
    parts = [leaf.split(".") for leaf in leaves]
    common = list(takewhile(lambda row: len(set(row)) == 1, zip(*parts, strict=False)))
    depth = max(1, min(len(common), min(map(len, parts)) - 1))
    return f"{'.'.join(parts[0][:depth])}.*"


def _renamed(tensors: Tensors, rename: Mapping[str, str], name: str) -> dict[str, Tensor]:
    used: set[str] = set()
    found: dict[str, Tensor] = {}
    for leaf, value in tensors.items():
        start = next((start for start in rename if leaf.startswith(start)), None)
        new = leaf if start is None else rename[start] + leaf[len(start) :]
        if start is not None:
            used.add(start)
        if new in found:
            raise ParamsError(
                f"weights.{name}.rename: two tensors of the file become {new!r}",
                needed="a name of its own for each tensor",
                fix="correct rename in params.yaml",
            )
        found[new] = value
    if unused := [start for start in rename if start not in used]:
        raise _unused("rename", unused, tensors, name)
    return found


def _kept(own: Tensors, skip: Collection[str], name: str) -> set[str]:
    if unused := [pattern for pattern in skip if not any(fnmatchcase(leaf, pattern) for leaf in own)]:
        raise _unused("skip", unused, own, name)
    return {leaf for leaf in own if _matches(leaf, skip)}


def _unused(key: str, unused: list[str], names: Iterable[str], name: str) -> ParamsError:
    depths = ((leaf, depth) for leaf in names for depth in (1, 2) if leaf.count(".") >= depth)
    modules = dict.fromkeys(".".join(leaf.split(".")[:depth]) + "." for leaf, depth in depths)
    near = near_misses(unused[0], [f"{one}*" for one in modules] if key == "skip" else modules)
    hint = f"; did you mean {listed(map(repr, near))}?" if near else ""
    where = "the file" if key == "rename" else "the network"
    return ParamsError(
        f"weights.{name}.{key}: {listed(map(repr, unused))} {'fits' if len(unused) == 1 else 'fit'} no tensor of "
        f"{where}{hint}",
        needed=f"names such as {escaped(listed(names, 3))}",
        fix=f"correct {key} in params.yaml",
    )


def _matches(leaf: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(leaf, pattern) for pattern in patterns)


def _fits(wanted: Tensor, given: Tensor) -> bool:
    return wanted.shape == given.shape and wanted.is_floating_point() == given.is_floating_point()


def _described(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
