"""Selections of assets: names as params.yaml has them, or Dagster's selection syntax.

Dagster answers an unknown name inside an expression with an empty selection, and a mistake in the syntax without its
place. Both are looked for here, so that a selection is complete or an error with the nearest names.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import dagster as dg

from dagster_project.keys import asset_name
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import listed, near_misses
from robot_assets.lineage.graph import Stage, with_ancestors
from robot_assets.pipeline import names
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.project import Project

_NAME = re.compile(r"\s*(?:\d*(?P<up>\+)\s*)?(?P<name>[\w/.-]+)\s*(?:(?P<down>\+)\d*\s*)?")
"""A name, with the signs that add what is above or below it."""
_TERM = re.compile(r'\b(?P<attribute>key|group)\s*:\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s()"+,]+))')
_PLACE = re.compile(r"column (\d+)")
_OPERATORS = "and, or, not, parentheses, and + for what is above or below"


class SelectionError(RobotAssetsError):
    """A selection that cannot be read, or that names no asset."""


def select(
    project: Project, definitions: dg.Definitions, selection: Sequence[str], command: str = "robot-assets plan"
) -> tuple[str, ...]:
    """The assets that ``selection`` names and all their ancestors, in graph order.

    Args:
        project: The project of ``definitions``.
        definitions: Its code location.
        selection: Asset names, model names, or Dagster asset selections; empty is everything.
        command: What a corrected selection is appended to, for the fix of an error.

    Raises:
        SelectionError: A selection is invalid, names something unknown, or matches no asset.
    """
    graph = build_graph(project.params)
    if not selection:
        return tuple(graph)
    known = _Known.of(project, graph)
    chosen: set[str] = set()
    for text in selection:
        chosen |= {text} if text in graph else known.resolved(text, definitions, command)
    return with_ancestors(graph, chosen)


@dataclass(frozen=True)
class _Known:
    """The names of a project that a selection may have."""

    assets: Collection[str]
    models: Collection[str]
    datasets: Collection[str]
    targets: Collection[str]

    @classmethod
    def of(cls, project: Project, graph: Mapping[str, Stage]) -> _Known:
        params = project.params
        return cls(graph, params.models, params.datasets, params.targets)

    def resolved(self, text: str, definitions: dg.Definitions, command: str) -> set[str]:
        """The assets of one selection. Raises SelectionError."""
        graph = definitions.resolve_asset_graph()
        groups = {node.group_name for node in graph.asset_nodes if node.group_name}
        self._require_known(text, groups, command)
        try:
            with warnings.catch_warnings(action="ignore"):
                parsed = dg.AssetSelection.from_string(self._as_expression(text))
                chosen = {asset_name(key) for key in parsed.resolve(graph)}
        except Exception as error:  # Dagster raises errors of many kinds, also for attributes that it knows elsewhere
            raise self._unreadable(text, error, command) from None
        if not chosen:
            raise SelectionError(
                f"{text!r} selects no asset",
                needed="a selection that matches at least one asset",
                fix=f"{command}   # without a selection: everything, that is {self._listed()}",
            )
        return chosen

    def _as_expression(self, text: str) -> str:
        """``name`` and ``name+`` as expressions: the assets of a model are a group."""
        alone = _NAME.fullmatch(text)
        if alone is None:
            return text
        attribute = "group" if alone["name"] in self.models else "key"
        return f'{text[: alone.start("name")]}{attribute}:"{alone["name"]}"{text[alone.end("name") :]}'

    def _require_known(self, text: str, groups: Collection[str], command: str) -> None:
        """Refuse the first name in ``text`` that nothing has."""
        alone = _NAME.fullmatch(text)
        if alone is not None and alone["name"] not in {*self.assets, *self.models}:
            raise self._unknown(text, alone["name"], alone["up"] or "", alone["down"] or "", command)
        for attribute, name in _terms(text):
            among = self.assets if attribute == "key" else groups
            if name not in among:
                near = near_misses(name, among)
                noun = "asset" if attribute == "key" else "group"
                raise SelectionError(
                    f"no {noun} is {name!r}, in the selection {text!r}",
                    needed=f"one of: {listed(sorted(among))}",
                    fix=f"{command} {_quoted(text.replace(name, near[0]))}" if near else command,
                )

    def _unknown(self, text: str, name: str, up: str, down: str, command: str) -> SelectionError:
        near = self._near(name)
        first = f"{command} {_quoted(_expression(near[0], up, down))}" if near else command
        others = f"   # or {listed(near[1:])}" if near[1:] else ""
        what = next((what for what, known in self._others if name in known), None)
        return SelectionError(
            f"{name!r} is {what} of params.yaml, not an asset or a model" if what else f"no asset or model is {name!r}",
            needed="an asset, a model, or an expression in Dagster's selection syntax",
            fix=f"{first}{others}" if near else f"{command}   # everything, that is {self._listed()}",
        )

    @property
    def _others(self) -> tuple[tuple[str, Collection[str]], ...]:
        return ("a data set", self.datasets), ("a target", self.targets)

    def _near(self, name: str) -> list[str]:
        """The selections that ``name`` may mean, the most likely first."""
        name = name.strip("/")
        of_data = [one for near in near_misses(name, self.datasets) for one in (names.dataset(near), names.raw(near))]
        of_target = [one for near in near_misses(name, self.targets) for one in self._ending(f"engine/{near}")]
        similar = near_misses(name, {*self.assets, *self.models})
        below = [one for one in self.assets if name and one.startswith(f"{name}/")]
        if name in self.models:
            return [name]
        exact = of_data if name in self.datasets else of_target if name in self.targets else self._ending(name)
        return list(dict.fromkeys([*exact, *(of_data if "/" not in name else []), *similar, *of_target, *below]))

    def _ending(self, name: str) -> list[str]:
        return [asset for asset in self.assets if asset.endswith(f"/{name}")]

    def _listed(self) -> str:
        return listed([*self.models, *self.assets])

    def _unreadable(self, text: str, error: Exception, command: str) -> SelectionError:
        if isinstance(error, NotImplementedError) or "cannot be used to select" in str(error):
            return SelectionError(
                f"{text!r} has an attribute that Dagster evaluates in its UI only",
                needed="key:, group:, kind:, tag: or owner:",
                fix=f"{command} 'key:\"{next(iter(self.assets), '*')}\"'   # or another of {self._listed()}",
            )
        return SelectionError(
            f"{text!r} is not an asset selection: {_syntax_error(text)}",
            needed=f"an asset, a model, or an expression: key:, group:, kind:, tag: or owner:, joined by {_OPERATORS}",
            fix=f"{command} {_example(text, self.assets)}",
        )


def _terms(text: str) -> Iterator[tuple[str, str]]:
    """(attribute, name) of each key and group in an expression; patterns with * are left out."""
    for found in _TERM.finditer(text):
        name = found["plain"] if found["quoted"] is None else found["quoted"]
        if "*" not in name:
            yield found["attribute"], name


def _syntax_error(text: str) -> str:
    """Where an expression stops being one."""
    # Dagster swallows the error of its parser; tests/dagster_project/test_selection.py pins the place
    from dagster._core.definitions.antlr_asset_selection.antlr_asset_selection import AntlrAssetSelectionParser

    try:
        AntlrAssetSelectionParser(text, False)
    except Exception as error:
        place = _PLACE.search(str(error))
        at = int(place[1]) if place else 0
        rest = text[at:].strip()
        return f"{rest!r} at character {at + 1} is unexpected" if rest else "it ends too early"
    return "it cannot be evaluated"


def _example(text: str, assets: Collection[str]) -> str:
    """What an expression that cannot be read may mean: as a pattern, or the assets that it mentions."""
    if re.fullmatch(r"[\w/.*-]+", text) and any(fnmatch(name, text) for name in assets):
        return f"'key:\"{text}\"'"
    mentioned = [name for name in assets if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", text)]
    return " ".join(mentioned) or f"{next(iter(assets), '')}   # as an example"


def _expression(name: str, up: str, down: str) -> str:
    return f'{up}key:"{name}"{down}' if up or down else name


def _quoted(text: str) -> str:
    return f"'{text}'" if re.search(r"[^\w/+.-]", text) else text
