"""Whether a packed data set was made of a raw data set, by comparing the two."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_assets.core.text import plural
from robot_assets.data.dataset import Plan, labels_of
from robot_assets.data.raw import Frame, RawData
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS


def other_origin(packed: Path, data: RawData, spec: DatasetSpec, plan: Plan | None) -> str:
    """Why ``packed`` is not what a build of ``data`` makes; "" when it is.

    Args:
        packed: Folder of the packed data set.
        data: The raw data.
        spec: Parameters of the data set.
        plan: What a build of the two would pack; None when it would refuse.
    """
    document = _read(packed / "dataset.json")
    if document is None:
        return "cannot be read: dataset.json is missing or damaged"
    images = _difference(document.get("source_md5"), {frame.entry.file_name: frame.md5 for frame in data.frames})
    if images:
        return f"was packed from other raw data ({images})"
    if document.get("classes") != list(spec.classes):
        return "was packed with other classes"
    if plan is None:
        return "was packed from other raw data or with other parameters"
    return _other_parameters(packed, document, plan)


def _other_parameters(packed: Path, document: Mapping[str, Any], plan: Plan) -> str:
    splits = document.get("splits")
    splits = splits if isinstance(splits, dict) else {}
    for split in SPLITS:
        recorded = splits.get(split)
        if not isinstance(recorded, dict) or recorded.get("sessions") != list(plan.sessions[split]):
            return "was packed with another split (shares, seed, near_duplicate_bits or version of this program)"
    if any(_labels(packed / split) != _expected(plan.frames[split], plan.classes, split) for split in SPLITS):
        return "was packed from other raw data (the labels differ)"
    if _read(packed / "calibration.json") != {"indices": plan.calibration}:
        return "was packed with other calibration_images"
    return ""


def _difference(recorded: object, present: Mapping[str, str]) -> str:
    """Images that were added, removed or changed since; "" for none."""
    before = recorded if isinstance(recorded, dict) else {}
    changed = sum(1 for name in before.keys() & present.keys() if before[name] != present[name])
    counts = {
        "added": len(present.keys() - before.keys()),
        "removed": len(before.keys() - present.keys()),
        "changed": changed,
    }
    return ", ".join(f"{plural(count, 'image')} {what}" for what, count in counts.items() if count)


def _expected(frames: list[Frame], classes: tuple[str, ...], split: str) -> bytes:
    """The label file that a build writes for these images."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "annotations.json"
        labels_of(frames, classes).write(path, description=f"{split} split")
        return path.read_bytes()


def _labels(folder: Path) -> bytes:
    try:
        return (folder / "annotations.json").read_bytes()
    except OSError:
        return b""


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
