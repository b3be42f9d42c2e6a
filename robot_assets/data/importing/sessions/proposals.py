"""Proposes rules of ``data import --sessions`` that fit the images of a source without sessions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed
from robot_assets.data.importing.layout import sibling_splits
from robot_assets.data.importing.sessions.grouping import by_name, by_time, captures_of, parse_rule, stem_of

SESSIONS_MIN = 3
"""A split needs three sessions: train, val and test."""
_ROBOFLOW_TAIL = r"(?:_[A-Za-z]+)?\.rf\.\w+"
"""What Roboflow adds to the name of an image: ``_jpg.rf.HASH``."""
_ROBOFLOW_IMAGE = r"^(.+)\.rf\.\w+$"
_NAME_RULES = (
    (r"^(.+?)[-_. ]+\d+{tail}$", "the name before the frame number"),
    (r"^(.*[^-_. \d])\d+{tail}$", "the name before the frame number"),
    (r"^\d+[-_. ]+(.+?){tail}$", "the name after the frame number"),
    (r"(20\d\d[01]\d[0-3]\d)", "the date in the name"),
    (r"(20\d\d-[01]\d-[0-3]\d)", "the date in the name"),
    (r"(20\d\d_[01]\d_[0-3]\d)", "the date in the name"),
    (r"^([^-_. ]+)[-_. ]", "the first word of the name"),
)
_GAPS = ("30m", "5m", "1m", "10s")
_SAMPLE = 20
"""Images whose headers are read before those of all: most sources have no capture times."""


@dataclass(frozen=True)
class Proposal:
    """A rule, and what it gives.

    Attributes:
        rule: What ``--sessions`` takes.
        sessions: Number of sessions.
        reason: What a session is by this rule, with the first names.
        leaks: Whether it divides recordings.
    """

    rule: str
    sessions: int
    reason: str
    leaks: bool = False


def splits_among(sessions: Collection[str]) -> tuple[str, ...]:
    """The folders, when all are splits of an export: such folders are no recordings."""
    splits = sibling_splits(f"{session}/" for session in sessions)
    are_all = all(any(f"{session}/".startswith(f"{split}/") for split in splits) for session in sessions)
    return splits if are_all else ()


def proposals(images: Mapping[str, Path], splits: Collection[str] = ()) -> tuple[Proposal, ...]:
    """Rules that give at least three sessions.

    Those with the fewest sessions are first, since two recordings in one session do no harm, and one recording in two
    sessions may be in train and in test. One session per image is the last.

    Args:
        images: Images of a source, or of raw data: file name -> path.
        splits: Top folders that are splits of an export.
    """
    found = sorted([*_by_names(images), *_by_times(images, splits)], key=lambda proposal: proposal.sessions)
    return (*found, *_leaking(images))


def _leaking(images: Mapping[str, Path]) -> list[Proposal]:
    """One session per image; where Roboflow augmented images, one per image with its copies."""
    if len(images) < SESSIONS_MIN:
        return []
    reason = "only where no two images are of one recording; else scores on val and test are too high"
    sources = {by_name(stem_of(name), re.compile(_ROBOFLOW_IMAGE)) for name in images}
    if "" not in sources and SESSIONS_MIN <= len(sources) < len(images):
        copies = f"each image with its augmented copies: {reason}"
        return [Proposal(f"name:{_ROBOFLOW_IMAGE}", len(sources), copies, leaks=True)]
    return [Proposal("one-per-image", len(images), reason, leaks=True)]


def _by_names(images: Mapping[str, Path]) -> list[Proposal]:
    """One proposal for each way to group the images, made by the shortest expression."""
    stems = [stem_of(name) for name in images]
    tail = _ROBOFLOW_TAIL if any(".rf." in stem for stem in stems) else ""
    seen: set[frozenset[str]] = set()
    found = []
    for template, reason in _NAME_RULES:
        expression = template.format(tail=tail)
        sessions = [by_name(stem, re.compile(expression)) for stem in stems]
        names = frozenset(sessions)
        if all(sessions) and SESSIONS_MIN <= len(names) <= len(stems) / 2 and names not in seen:
            seen.add(names)
            found.append(
                Proposal(
                    f"name:{expression}", len(names), f"{reason}: {listed(map(printable, sorted(names)), at_most=3)}"
                )
            )
    return found


def _by_times(images: Mapping[str, Path], splits: Collection[str]) -> list[Proposal]:
    """The longest gap that gives enough sessions, where all images have a capture time."""
    sample = dict(itertools.islice(images.items(), _SAMPLE))
    if len(captures_of(sample)) < len(sample):
        return []
    captures = captures_of(images)
    if len(captures) < len(images):
        return []
    rules = (parse_rule(f"exif-time:{gap}") for gap in _GAPS)
    counts = ((rule, len(set(by_time(captures, rule.gap_s, splits).values()))) for rule in rules)
    fitting = ((rule, count) for rule, count in counts if SESSIONS_MIN <= count <= len(images) / 2)
    return [
        Proposal(rule.text, count, f"a pause of more than {rule.text.partition(':')[2]} starts a session")
        for rule, count in itertools.islice(fitting, 1)
    ]
