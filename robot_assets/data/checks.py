"""The gates of a packed data set. They read the packed bytes only and do not trust what the build recorded."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_assets.core.text import plural
from robot_assets.core.verdict import Verdict
from robot_assets.data.images import perceptual_hash
from robot_assets.data.labels import label_format, sum_of
from robot_assets.data.packed import PackedSplit, open_split
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS
from robot_assets.store.parallel import map_in_groups
from robot_assets.tasks.task import loaded

if TYPE_CHECKING:
    from robot_assets.tasks.labels import Inspected, LabelFormat

_NAMED = 10
"""Maximum number of examples in the facts of a verdict."""
_GROUP = 16
"""Images per task: decoding one takes milliseconds."""


def check_leakage(dataset: Path, spec: DatasetSpec, name: str) -> Verdict:
    """No recording session, and no near-duplicate image, in two splits.

    Args:
        dataset: Folder of the packed data set.
        spec: Its parameters.
        name: Its name in params.yaml.

    Raises:
        DataError: The data set cannot be read.
    """
    splits = {split: open_split(dataset, split) for split in SPLITS}
    shared = {
        f"{one}/{other}": sorted(set(splits[one].sessions) & set(splits[other].sessions))
        for one, other in itertools.combinations(SPLITS, 2)
    }
    straddling = sorted({session for sessions in shared.values() for session in sessions})
    hashes = {one: _hashes(split) for one, split in splits.items()}
    pairs = [
        {"bits": bits, "images": [f"{one}: {splits[one].names[i]}", f"{other}: {splits[other].names[j]}"]}
        for one, other in itertools.combinations(SPLITS, 2)
        for i, j, bits in _near(hashes[one], hashes[other], spec.near_duplicate_bits)
    ]
    facts: dict[str, object] = {
        "sessions_in_two_splits": straddling[:_NAMED],
        "sessions_in_two_splits_count": len(straddling),
        "near_duplicates": pairs[:_NAMED],
        "near_duplicates_count": len(pairs),
        "near_duplicate_bits": spec.near_duplicate_bits,
    }
    if straddling or pairs:
        return Verdict(
            passed=False,
            summary=f"{plural(len(straddling), 'session')} and {plural(len(pairs), 'near-duplicate pair')} "
            "of images in more than one split",
            fix=f"{_rebuild(name)}   # keeps sessions with near-duplicates in one split. If the listed pairs are not "
            f"duplicates, lower datasets.{name}.near_duplicate_bits in params.yaml",
            facts=facts,
        )
    sessions = sum(len(set(split.sessions)) for split in splits.values())
    images = sum(len(split) for split in splits.values())
    return Verdict(
        passed=True,
        summary=f"{plural(sessions, 'session')}, each in one split; no near-duplicates across splits "
        f"in {plural(images, 'image')}",
        facts=facts,
    )


def check_classes(dataset: Path, spec: DatasetSpec, name: str) -> Verdict:
    """Every class in every split, except those that ``params.yaml`` exempts with a reason.

    Args:
        dataset: Folder of the packed data set.
        spec: Its parameters.
        name: Its name in params.yaml.

    Raises:
        DataError: The data set cannot be read.
    """
    counts = {split: _counts(open_split(dataset, split), spec) for split in SPLITS}
    return judged_classes(counts, spec, name)


def _counts(split: PackedSplit, spec: DatasetSpec) -> dict[str, int]:
    """Number of labels that the metric counts, for every class of the parameters."""
    format = label_format(spec.task)
    of_image = map_in_groups(partial(format.unpacked_counts, split), range(len(split)), "count labels", _GROUP)
    total = sum_of(of_image)
    names = {name: total[label] for label, name in enumerate(split.classes)}
    return {name: names.get(name, 0) for name in spec.classes}


def judged_classes(counts: Mapping[str, Mapping[str, int]], spec: DatasetSpec, name: str) -> Verdict:
    """The verdict of :func:`check_classes` on numbers of labels, by split and class."""
    counted = label_format(spec.task).counted
    absent = [f"{label} in {split}" for label in spec.classes for split in SPLITS if not counts[split][label]]
    exempt = [entry for entry in absent if entry.rpartition(" in ")[0] in spec.exempt_classes]
    missing = [entry for entry in absent if entry not in exempt]
    facts: dict[str, object] = {
        counted.plural: {split: dict(of_split) for split, of_split in counts.items()},
        "absent": missing,
        "exempted": {label: spec.exempt_classes[label] for label in sorted(spec.exempt_classes)},
    }
    if missing:
        return Verdict(
            passed=False,
            summary=f"no {counted.noun} of {', '.join(missing)}",
            fix=f"add sessions with this class, or change datasets.{name}.split (seed or shares) in params.yaml; "
            f"if the class is too rare for three splits, give the reason in datasets.{name}.exempt_classes",
            facts=facts,
        )
    rarest = min(
        ((counts[split][label], label, split) for label in spec.classes for split in SPLITS if counts[split][label]),
        default=(0, "nothing", "any split"),
    )
    summary = f"{plural(len(spec.classes), 'class', 'classes')} in {len(SPLITS)} splits; fewest {counted.plural}: "
    summary += f"{rarest[0]} of {rarest[1]} in {rarest[2]}"
    reasons = [f"{entry} ({spec.exempt_classes[entry.rpartition(' in ')[0]]})" for entry in exempt]
    return Verdict(passed=True, summary=summary + _exempted(reasons), facts=facts)


def check_labels(dataset: Path, spec: DatasetSpec, name: str) -> Verdict:
    """Every label valid, by the gate of the label format of its task.

    Args:
        dataset: Folder of the packed data set.
        spec: Its parameters.
        name: Its name in params.yaml.

    Raises:
        DataError: The data set cannot be read.
    """
    format = label_format(spec.task)
    found = {split: _inspected(format, open_split(dataset, split), len(spec.classes)) for split in SPLITS}
    faults = [f"{split}/{fault}" for split in SPLITS for fault in found[split].faults]
    total = sum(one.count for one in found.values())
    noun, nouns = format.counted.noun, format.counted.plural
    facts: dict[str, object] = {nouns: total, "faults": faults[:_NAMED], "faults_count": len(faults)}
    if faults:
        return Verdict(
            passed=False,
            summary=f"{len(faults)} of {plural(total, noun, nouns)} invalid, first: {faults[0]}",
            fix=f"correct the {nouns} in the raw data, then run {_rebuild(name)}",
            facts=facts,
        )
    return Verdict(passed=True, summary=f"{plural(total, noun, nouns)}: {format.gate.valid}", facts=facts)


def _inspected(format: LabelFormat, split: PackedSplit, classes: int) -> Inspected:
    found: Inspected = loaded(format.gate.inspect)(split, classes)
    return found


def _rebuild(name: str) -> str:
    return f"robot-assets build datasets/{name}"


def _exempted(reasons: list[str]) -> str:
    return f"; exempted in params.yaml: {', '.join(reasons)}" if reasons else ""


def _hashes(split: PackedSplit) -> list[int | None]:
    return map_in_groups(lambda i: _hash(split.encoded(i)), range(len(split)), "find near-duplicates", _GROUP)


def _hash(encoded: bytes) -> int | None:
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        return perceptual_hash(image)


def _near(one: list[int | None], other: list[int | None], bits: int) -> list[tuple[int, int, int]]:
    """(i, j, differing bits) of near pairs. Compares all pairs, independently of the algorithm of the build."""
    right = np.array([0 if value is None else value for value in other], dtype=np.uint64)
    is_blank = np.array([value is None for value in other], dtype=bool)
    found = []
    for i, value in enumerate(one):
        if value is not None:
            differing = np.bitwise_count(right ^ np.uint64(value))
            near = np.flatnonzero((differing <= bits) & ~is_blank)
            found += [(i, j, int(differing[j])) for j in near.tolist()]
    return found
