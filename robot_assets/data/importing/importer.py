"""Imports labelled images as a raw data set: COCO labels, and one folder per recording session.

Each file of the source is read once; images are copied byte for byte. Bad items are left out and listed beside the
result; more than 1 % of them is an error unless ``quarantine`` is set. docs/decisions/002-importers.md explains why no
library reads the formats, and 014-imports-read-headers.md why pixels are decoded later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from robot_assets.core.errors import DataError
from robot_assets.core.gc_pause import paused_gc
from robot_assets.core.publishing import publishing_directory, publishing_file
from robot_assets.core.text import plural
from robot_assets.tasks.detection.boxes import Box
from robot_assets.data.images import decoded_size, read_bytes
from robot_assets.data.importing.coco.reader import read_coco
from robot_assets.data.importing.headers import size_of
from robot_assets.data.importing.outcome import Outcome, outcome_of
from robot_assets.data.importing.sessions.grouping import FOLDER, SessionRule, regrouped
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.core.label_issues import BadItem, LabelIssue, explaining_disk_errors, first_issues, printable
from robot_assets.data.labels import LabelWriter
from robot_assets.data.source import Entry, Source, checked_boxes
from robot_assets.data.tree import notice_of
from robot_assets.store import Store
from robot_assets.store.parallel import results_in_groups
from robot_assets.store.receiving import Receiver, Written

BAD_SHARE_MAX = 0.01
READERS = {"yolo": read_yolo, "coco": read_coco}
_GROUP = 32
"""Images per task of a thread."""


@dataclass(frozen=True)
class ImportSummary:
    """Figures of an import.

    Attributes:
        images: Number of imported images.
        annotations: Number of their boxes.
        sessions: Number of recording sessions (folders).
        classes: Number of boxes, by class name.
        clipped: Number of boxes that exceeded their image by at most 1.5 px and were clipped.
        unlisted: Number of images without an entry in the labels, left out.
        quarantined: Bad items, left out.
        quarantine_report: File that lists them, and the unlisted images; None when there are none.
        outcome: Sizes of the images, and figures of each session.
        layout: The arrangement that was recognized, for people.
        notes: What a person should know of, one line each.
        written: The images by their path below the result, for ``Store.add``.
    """

    images: int
    annotations: int
    sessions: int
    classes: dict[str, int]
    clipped: int
    unlisted: int
    quarantined: tuple[LabelIssue, ...]
    quarantine_report: Path | None
    outcome: Outcome
    layout: str = ""
    notes: tuple[str, ...] = ()
    written: Mapping[str, Written] = field(default_factory=dict, repr=False, compare=False)


class ImportRefused(DataError):
    """Too many items of a source are bad. ``details`` has all of them."""

    @property
    def issues(self) -> tuple[LabelIssue, ...]:
        """The bad items, causes first."""
        rows = (self.details or {}).get("issues", ())
        return tuple(LabelIssue(**row) for row in rows) if isinstance(rows, list) else ()


class _Copied(NamedTuple):
    """An image that passed every check and was written to the result."""

    file_name: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    written: Written


def import_dataset(
    format: str,
    source: Path,
    out: Path,
    *,
    quarantine: bool = False,
    layout: str | None = None,
    polygons: str | None = None,
    unlabelled: str | None = None,
    sessions: SessionRule | None = None,
    store: Store | None = None,
) -> ImportSummary:
    """Read ``source`` and publish it as a raw data set at ``out``.

    Args:
        format: "yolo" or "coco".
        source: Folder of the source; for COCO also its JSON file. The session of an image is its folder in the
            source.
        out: Folder for annotations.json, images/SESSION/FILE and NOTICE; replaced when it exists.
        quarantine: Accept more than 1 % bad items.
        layout: Name of the layout to read the source in; None to recognize it.
        polygons: "boxes" to read polygons and oriented boxes as their enclosing boxes.
        unlabelled: "background" to import images without labels as images without objects.
        sessions: How images are grouped into sessions; default: by folder.
        store: Receives the images while they are copied; ``store.add(out, summary.written)`` completes the artifact.

    Raises:
        ImportRefused: Too many items are bad.
        DataError: The source cannot be read, or the disk is full.
        StoreError: The disk of the store is full or broken.
    """
    reader = READERS.get(format)
    if reader is None:
        raise DataError(f"unknown format {format!r}", needed=" or ".join(READERS), fix="use one of these formats")
    with explaining_disk_errors(out), paused_gc():
        found = regrouped(reader(source, layout, polygons, unlabelled), sessions or FOLDER)
        if not (format == "coco" and sessions and _is_raw_data(source, out)):
            _refuse_overlap(source, out)
        with publishing_directory(out) as staging, _receiver_of(store) as receiver:
            return _import(found, source, staging, out, quarantine, receiver)


def quarantine_path(out: Path) -> Path:
    """File that lists the items left out of ``out``: beside it, not in the artifact."""
    return out.parent / f"{out.name}.quarantine.json"


@contextmanager
def _receiver_of(store: Store | None) -> Iterator[Receiver | None]:
    if store is None:
        yield None
        return
    with store.receiving() as receiver:
        yield receiver


def _import(
    found: Source, source: Path, staging: Path, out: Path, quarantine: bool, receiver: Receiver | None
) -> ImportSummary:
    writer = LabelWriter(found.categories)
    good, bad = _copy_all(found.entries, staging / "images", receiver, writer)
    issues = sorted([*found.issues, *bad])
    _refuse_too_many(issues, len(good), source, out, quarantine)
    notice = notice_of(source if source.is_dir() else source.parent)
    if notice:
        (staging / "NOTICE").write_bytes(notice)
    writer.write(staging / "annotations.json", description=f"imported with {writer.clipped} boxes clipped")
    left_out = [*issues, *found.unlisted]
    if left_out or not _is_raw_data(source, out):  # an import of the result itself keeps the list of its source
        _write_quarantine(left_out, out)
    return ImportSummary(
        images=writer.images,
        annotations=writer.annotations,
        sessions=len(writer.sessions),
        classes=writer.boxes_by_class(),
        clipped=writer.clipped,
        unlisted=len(found.unlisted),
        quarantined=tuple(issues),
        quarantine_report=quarantine_path(out) if left_out else None,
        outcome=outcome_of(((one.file_name, one.width, one.height, one.boxes) for one in good), found.categories),
        layout=found.layout,
        notes=found.notes,
        written={f"images/{one.file_name}": one.written for one in good} if receiver else {},
    )


def _copy_all(
    entries: Sequence[Entry], images: Path, receiver: Receiver | None, writer: LabelWriter
) -> tuple[list[_Copied], list[LabelIssue]]:
    """Copy the good images to the folder ``images`` and add them to ``writer``; return them, and the bad ones."""
    good, bad = [], []
    _make_folders(images, entries)
    for one in results_in_groups(partial(_copied, str(images), receiver), entries, "import images", _GROUP):
        if isinstance(one, LabelIssue):
            bad.append(one)
        else:
            good.append(one)
            writer.add(one.file_name, one.file_name.rpartition("/")[0] or ".", one.width, one.height, one.boxes)
    return good, bad


def _make_folders(images: Path, entries: Iterable[Entry]) -> None:
    for folder in sorted({entry.file_name.rpartition("/")[0] for entry in entries}):
        (images / folder).mkdir(parents=True, exist_ok=True)


def _copied(images: str, receiver: Receiver | None, entry: Entry) -> _Copied | LabelIssue:
    """Check an image and its labels, then write exactly the checked bytes. Runs on several threads."""
    try:
        encoded = read_bytes(entry.path, entry.file_name)
        width, height = size_of(encoded) or decoded_size(encoded, entry.file_name)
        boxes = checked_boxes(entry, width, height)
    except BadItem as bad:
        return bad.issue
    md5 = receiver.receive(encoded) if receiver else ""
    status = _write(f"{images}/{entry.file_name}", encoded)
    return _Copied(entry.file_name, width, height, boxes, Written.of(status, md5))


def _write(path: str, content: bytes) -> os.stat_result:
    """Write a new file; return its facts."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        return os.fstat(handle)
    finally:
        os.close(handle)


def _is_raw_data(source: Path, out: Path) -> bool:
    """Whether ``source`` is the former result: its images can be grouped anew, since it is replaced at the end."""
    return source.resolve() == out.resolve() and (out / "annotations.json").is_file() and (out / "images").is_dir()


def _refuse_overlap(source: Path, out: Path) -> None:
    one, other = source.resolve(), out.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise DataError(
            f"the source {source} and the result {out} overlap",
            needed="a source outside the result, and a result outside the source",
            fix="move the source, or import under another name",
        )


def _refuse_too_many(issues: list[LabelIssue], good: int, source: Path, out: Path, quarantine: bool) -> None:
    items, place = good + len(issues), printable(str(source))
    if good == 0:
        raise _refused(
            f"{place}: no good image among {plural(items, 'item')}:",
            issues,
            out,
            needed="at least one image with its labels",
            fix="correct the items above",
        )
    if len(issues) > BAD_SHARE_MAX * items and not quarantine:
        raise _refused(
            f"{place}: {plural(len(issues), 'bad item')} of {items} ({len(issues) / items:.1%}):",
            issues,
            out,
            needed=f"at most {BAD_SHARE_MAX:.0%} bad items",
            fix="correct the items above, or run the same command with --quarantine to leave them out",
        )


def _refused(found: str, issues: list[LabelIssue], out: Path, *, needed: str, fix: str) -> ImportRefused:
    """The error, which shows the first issues and where all of them are."""
    rows = _write_quarantine(issues, out)
    listed = f"\n    all of them are in {quarantine_path(out)}" if rows else ""
    return ImportRefused(found + first_issues(issues) + listed, needed=needed, fix=fix, details={"issues": rows})


def _write_quarantine(issues: Iterable[LabelIssue], out: Path) -> list[dict[str, str]]:
    """Write the list of bad items beside the result, or remove that of an earlier import; return its rows."""
    path = quarantine_path(out)
    rows = [issue.as_json() for issue in issues]
    if not rows:
        path.unlink(missing_ok=True)
        return rows
    with publishing_file(path) as staging:
        staging.write_text(json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return rows
