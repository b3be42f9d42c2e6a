"""The classes of an export by name: which of its channels belong to which class of the data set."""

from __future__ import annotations

from collections.abc import Sequence

from robot_assets.core.text import escaped, listed, plural
from robot_assets.core.validation import nearest

Labels = Sequence[str | None]
"""Names of the classes of an export in their order; None: no class."""


def class_channels(labels: Labels | None, classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """For each class of the data set, the indices of the classes of the export that it is; several are merged.

    Args:
        labels: Names of the classes of the export; None: they are those of the data set, in its order.
        classes: Names of the classes of the data set.

    Raises:
        ValueError: A class of the data set is not among the labels.
    """
    found = channels_of_classes(labels, classes)
    missing = [name for name, channels in zip(classes, found, strict=True) if not channels]
    if missing and labels is not None:
        raise ValueError(_without(missing, labels, classes))
    return found


def channels_of_classes(labels: Labels | None, classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The same without a check."""
    if labels is None:
        return tuple((index,) for index in range(len(classes)))
    return tuple(tuple(index for index, label in enumerate(labels) if label == name) for name in classes)


def class_of_label(labels: Labels | None, classes: Sequence[str]) -> tuple[int, ...]:
    """For each class of the export, the index of its class of the data set, or -1; without a check."""
    by_class = channels_of_classes(labels, classes)
    of = {channel: index for index, channels in enumerate(by_class) for channel in channels}
    return tuple(of.get(channel, -1) for channel in range(label_count(labels, classes)))


def label_count(labels: Labels | None, classes: Sequence[str]) -> int:
    """Number of classes of the export."""
    return len(classes if labels is None else labels)


def wrong_count(found: int, labels: Labels | None, classes: Sequence[str]) -> str:
    """What is wrong with an export of ``found`` classes, and what is needed."""
    if labels is not None:
        return f"{plural(found, 'class', 'classes')}, but labels has {plural(len(labels), 'name')}"
    example = {80: "coco80", 91: "coco91"}.get(found, "[NAME, NAME, ...]")
    return (
        f"{plural(found, 'class', 'classes')}, but the data set has {len(classes)} ({escaped(listed(classes))}); "
        f"needed labels with the names of the {plural(found, 'class', 'classes')} of the export, "
        f"such as labels: {example}"
    )


def _without(missing: Sequence[str], labels: Labels, classes: Sequence[str]) -> str:
    names = [name for name in labels if name is not None]
    free = [name for name in names if name not in classes]
    shown = [_shown(name, nearest(name, free)) for name in missing[:5]]
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    noun = "a class" if len(missing) == 1 else "classes"
    return (
        f"labels has no {', '.join(shown)}{more}, {noun} of the data set; needed one label for each class of the data "
        f"set. Labels that are no class of it: {escaped(listed(free)) or 'none'}"
    )


def _shown(name: str, near: str | None) -> str:
    return escaped(f"{name!r} (near: {near!r})" if near else repr(name))
