"""Names of the project for shell completion: ``autocompletion=`` of arguments and options takes these functions.

A name that cannot be found, for whatever reason, is not completed: a shell has no place for an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from robot_assets.pipeline.project import Project, find_project


def datasets(incomplete: str) -> list[str]:
    """Entries of ``datasets`` in params.yaml."""
    return _completed(incomplete, lambda project: _section(project, "datasets"))


def models(incomplete: str) -> list[str]:
    """Names of models in params.yaml."""
    return _completed(incomplete, lambda project: _section(project, "models"))


def targets(incomplete: str) -> list[str]:
    """Entries of ``targets`` in params.yaml."""
    return _completed(incomplete, lambda project: _section(project, "targets"))


def groups(incomplete: str) -> list[str]:
    """Groups of robots in params.yaml."""
    return _completed(incomplete, lambda project: project.params.fleet.groups)


def engines(incomplete: str) -> list[str]:
    """Assets that are engines."""
    from robot_assets.pipeline import names

    return [name for name in assets(incomplete) if names.ENGINE.parse(name)]


def assets(incomplete: str) -> list[str]:
    """Assets of the project."""
    return _completed(incomplete, _assets)


def audited(incomplete: str) -> list[str]:
    """What ``audit`` takes: assets and enrolled robots."""
    return [*assets(incomplete), *_completed(incomplete, _robots)]


def selections(incomplete: str) -> list[str]:
    """What ``build`` and ``plan`` take: models and assets."""
    return [*_completed(incomplete, lambda project: _section(project, "models")), *assets(incomplete)]


def _robots(project: Project) -> Iterable[str]:
    from robot_assets.fleet.desired import enrolled_keys

    return enrolled_keys(project.root)


def _assets(project: Project) -> Iterable[str]:
    from robot_assets.pipeline.graph import build_graph

    return build_graph(project.params)


def _section(project: Project, name: str) -> Iterable[str]:
    """Names in the file as it is, which may have mistakes elsewhere."""
    import yaml

    document = yaml.safe_load((project.root / "params.yaml").read_bytes())
    return [str(key) for key in document.get(name) or ()]


def _completed(incomplete: str, names: Callable[[Project], Iterable[str]]) -> list[str]:
    with suppress(Exception):
        return [name for name in names(find_project()) if name.startswith(incomplete)]
    return []
