"""The gates of a packed data set. They read the packed bytes only and do not trust what the build recorded."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_assets.core.text import plural
from robot_assets.core.verdict import Verdict
from robot_assets.tasks.detection.boxes import ROUNDING_PX, SMALLEST_PX
from robot_assets.data.images import perceptual_hash
from robot_assets.data.packed import PackedSplit, open_split
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS
from robot_assets.store.parallel import map_in_groups

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
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        packed = open_split(dataset, split)
        boxes = Counter(label for i in range(len(packed)) for label in packed.labels(i).tolist())
        names = {name: boxes[label] for label, name in enumerate(packed.classes)}
        counts[split] = {name: names.get(name, 0) for name in spec.classes}
    return judged_classes(counts, spec, name)


def judged_classes(counts: Mapping[str, Mapping[str, int]], spec: DatasetSpec, name: str) -> Verdict:
    """The verdict of :func:`check_classes` on numbers of boxes, by split and class."""
    absent = [f"{label} in {split}" for label in spec.classes for split in SPLITS if not counts[split][label]]
    exempt = [entry for entry in absent if entry.rpartition(" in ")[0] in spec.exempt_classes]
    missing = [entry for entry in absent if entry not in exempt]
    facts: dict[str, object] = {
        "boxes": {split: dict(boxes) for split, boxes in counts.items()},
        "absent": missing,
        "exempted": {label: spec.exempt_classes[label] for label in sorted(spec.exempt_classes)},
    }
    if missing:
        return Verdict(
            passed=False,
            summary=f"no box of {', '.join(missing)}",
            fix=f"add sessions with this class, or change datasets.{name}.split (seed or shares) in params.yaml; "
            f"if the class is too rare for three splits, give the reason in datasets.{name}.exempt_classes",
            facts=facts,
        )
    rarest = min(
        ((counts[split][label], label, split) for label in spec.classes for split in SPLITS if counts[split][label]),
        default=(0, "nothing", "any split"),
    )
    summary = f"{plural(len(spec.classes), 'class', 'classes')} in {len(SPLITS)} splits; fewest boxes: "
    summary += f"{rarest[0]} of {rarest[1]} in {rarest[2]}"
    reasons = [f"{entry} ({spec.exempt_classes[entry.rpartition(' in ')[0]]})" for entry in exempt]
    return Verdict(passed=True, summary=summary + _exempted(reasons), facts=facts)


def check_boxes(dataset: Path, spec: DatasetSpec, name: str) -> Verdict:
    """Every box finite, inside its image, not degenerate and not duplicated.

    Args:
        dataset: Folder of the packed data set.
        spec: Its parameters.
        name: Its name in params.yaml.

    Raises:
        DataError: The data set cannot be read.
    """
    faults: list[str] = []
    total = 0
    for split in SPLITS:
        document = open_split(dataset, split).coco()
        total += len(document["annotations"])
        faults += [f"{split}/annotations.json: {fault}" for fault in _box_faults(document, len(spec.classes))]
    facts: dict[str, object] = {"boxes": total, "faults": faults[:_NAMED], "faults_count": len(faults)}
    if faults:
        return Verdict(
            passed=False,
            summary=f"{len(faults)} of {plural(total, 'box', 'boxes')} invalid, first: {faults[0]}",
            fix=f"correct the boxes in the raw data, then run {_rebuild(name)}",
            facts=facts,
        )
    summary = f"{plural(total, 'box', 'boxes')}: finite, inside the image, distinct and large enough"
    return Verdict(passed=True, summary=summary, facts=facts)


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


def _box_faults(document: dict[str, Any], classes: int) -> list[str]:
    sizes = {image["id"]: (image["width"], image["height"], image["file_name"]) for image in document["images"]}
    seen: set[tuple[object, ...]] = set()
    faults = []
    for annotation in document["annotations"]:
        width, height, file_name = sizes[annotation["image_id"]]
        key = (annotation["image_id"], annotation["category_id"], *annotation["bbox"])
        fault = "duplicate box" if key in seen else _box_fault(annotation, width, height, classes)
        seen.add(key)
        if fault:
            faults.append(f"annotation {annotation['id']} of {file_name}: {fault}")
    return faults


def _box_fault(annotation: dict[str, Any], width: int, height: int, classes: int) -> str:
    x, y, w, h = annotation["bbox"]
    if not all(math.isfinite(value) for value in (x, y, w, h)):
        return "not finite"
    if min(w, h) < SMALLEST_PX - ROUNDING_PX:
        return f"degenerate: {w:g}x{h:g} px"
    if min(x, y) < 0 or x + w > width + ROUNDING_PX or y + h > height + ROUNDING_PX:
        return f"outside the image of {width}x{height}: {annotation['bbox']}"
    if not 1 <= annotation["category_id"] <= classes:
        return f"unknown class id {annotation['category_id']}"
    return ""
