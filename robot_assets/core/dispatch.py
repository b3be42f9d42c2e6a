"""Names of code: entry points of code versions, and the mark of functions that return what parameters have chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., object])


def chosen_by_params(function: _F) -> _F:
    """Mark a function whose answer depends on parameters, such as the kind of an engine; it is returned as it is.

    Code versions (``robot_assets.lineage.code``) follow no names inside such a function, except those of other marked
    functions: they would reach every possible answer, and an edit of one kind of engine would make the engines of all
    others stale. A stage that uses it adds the chosen code to its entry points instead; a test traces real runs and
    fails where that is missing.
    """
    return function


def entry(definition: Callable[..., Any]) -> str:
    """A function or class of a module as an entry point of code: ``package.module:function``."""
    return f"{definition.__module__}:{definition.__qualname__}"
