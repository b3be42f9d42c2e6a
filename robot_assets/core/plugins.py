"""Plug-ins: values that installed distributions offer under an entry point group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, Protocol, TypeVar

from robot_assets.core.errors import ParamsError

_T = TypeVar("_T")


class Named(Protocol):
    """A value of a registry."""

    @property
    def name(self) -> str:
        """Unique among the values of its registry."""
        ...


_N = TypeVar("_N", bound=Named)


@dataclass(frozen=True)
class Plugin(Generic[_T]):
    """One value of a plug-in.

    Attributes:
        name: Of the entry point.
        distribution: The installed distribution that offers it.
        value: What it offers.
    """

    name: str
    distribution: str
    value: _T


def load_plugins(group: str, needed: type[_T]) -> Iterator[Plugin[_T]]:
    """What installed plug-ins offer under ``group``, in the order of names.

    Args:
        group: Such as ``robot_assets.stage_kinds``.
        needed: The type of every value.

    Raises:
        ParamsError: A plug-in cannot be imported, or offers something else.
    """
    for point in sorted(entry_points(group=group), key=lambda one: one.name):
        yield Plugin(point.name, _distribution(point), load_point(point, needed))


def registry_of(ours: Iterable[_N], group: str, needed: type[_N], noun: str) -> dict[str, _N]:
    """Values by name: ``ours`` first, then those of installed plug-ins in the order of their entry points.

    Args:
        ours: The values of this package.
        group: Entry point group of the plug-ins.
        needed: The type of every value.
        noun: For one of them, such as ``stage kind``.

    Raises:
        ParamsError: A plug-in cannot be loaded, or has a value whose name is taken.
    """
    found = {value.name: value for value in ours}
    for plugin in load_plugins(group, needed):
        if plugin.value.name in found:
            raise ParamsError(
                f"the plug-in {plugin.distribution} has a {noun} {plugin.value.name!r}, which exists already",
                needed=f"one {noun} of each name",
                fix=f"pip uninstall {plugin.distribution}   # or rename its {noun}",
            )
        found[plugin.value.name] = plugin.value
    return found


def load_point(point: EntryPoint, *needed: type[_T]) -> _T:
    """What one entry point offers.

    Args:
        point: The entry point.
        needed: The types that its value may have.

    Raises:
        ParamsError: It cannot be imported, or is something else.
    """
    distribution = _distribution(point)
    fix = f"pip uninstall {distribution}   # or install a version of it that fits this one of robot-assets"
    try:
        value = point.load()
    except Exception as error:  # whatever a foreign module raises when it is imported
        raise ParamsError(
            f"the plug-in {distribution} cannot be loaded: {point.value}: {type(error).__name__}: {error}",
            needed=f"an entry point of the group {point.group} that can be imported",
            fix=fix,
        ) from error
    if not isinstance(value, needed):
        raise ParamsError(
            f"the plug-in {distribution} offers {point.value}, which is a {type(value).__name__}",
            needed=f"a {' or a '.join(one.__name__ for one in needed)} for the group {point.group}",
            fix=fix,
        )
    return value


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
