"""Imports labelled images as a raw data set: COCO labels, and one folder per recording session.

Images are copied byte for byte. Bad items are left out and listed beside the result; more than 1 % of them is an
error unless ``quarantine`` is set. docs/decisions/002-importers.md explains why no library reads the formats.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robot_assets.core.errors import DataError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory, publishing_file
from robot_assets.core.text import plural
from robot_assets.data.importing.coco import read_coco
from robot_assets.data.importing.sessions import FOLDER, SessionRule, regrouped
from robot_assets.data.importing.yolo import read_yolo
from robot_assets.data.label_issues import BadItem, LabelIssue, explaining_disk_errors, first_issues
from robot_assets.data.labels import LabelWriter
from robot_assets.data.source import Entry, Source, load
from robot_assets.data.tree import notice_of

BAD_SHARE_MAX = 0.01
READERS = {"yolo": read_yolo, "coco": read_coco}


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
        quarantine_report: File that lists them; None when there are none.
        layout: The arrangement that was recognized, for people.
        notes: What a person should know of, one line each.
    """

    images: int
    annotations: int
    sessions: int
    classes: dict[str, int]
    clipped: int
    unlisted: int
    quarantined: tuple[LabelIssue, ...]
    quarantine_report: Path | None
    layout: str = ""
    notes: tuple[str, ...] = ()


def import_dataset(
    format: str,
    source: Path,
    out: Path,
    *,
    quarantine: bool = False,
    layout: str | None = None,
    polygons: str | None = None,
    sessions: SessionRule | None = None,
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
        sessions: How images are grouped into sessions; default: by folder.

    Raises:
        DataError: The source cannot be read, has too many bad items, or the disk is full.
    """
    reader = READERS.get(format)
    if reader is None:
        raise DataError(f"unknown format {format!r}", needed=" or ".join(READERS), fix="use one of these formats")
    with explaining_disk_errors(out):
        found = regrouped(reader(source, layout, polygons), sessions or FOLDER)
        _refuse_overlap(source, out)
        with publishing_directory(out) as staging:
            return _import(found, source, staging, out, quarantine)


def quarantine_path(out: Path) -> Path:
    """File that lists the items left out of ``out``: beside it, not in the artifact."""
    return out.parent / f"{out.name}.quarantine.json"


def _import(found: Source, source: Path, staging: Path, out: Path, quarantine: bool) -> ImportSummary:
    issues = list(found.issues)
    writer = LabelWriter(found.categories)
    for done, entry in enumerate(found.entries, start=1):
        report("import images", done, len(found.entries))
        try:
            _import_entry(entry, staging, writer)
        except BadItem as bad:
            issues.append(bad.issue)
    _refuse_too_many(issues, writer.images, source, quarantine)
    notice = notice_of(source if source.is_dir() else source.parent)
    if notice:
        (staging / "NOTICE").write_bytes(notice)
    writer.write(staging / "annotations.json", description=f"imported with {writer.clipped} boxes clipped")
    _write_quarantine(issues, out)
    return ImportSummary(
        images=writer.images,
        annotations=writer.annotations,
        sessions=len(writer.sessions),
        classes=writer.boxes_by_class(),
        clipped=writer.clipped,
        unlisted=len(found.unlisted),
        quarantined=tuple(sorted(issues)),
        quarantine_report=quarantine_path(out) if issues else None,
        layout=found.layout,
        notes=found.notes,
    )


def _import_entry(entry: Entry, staging: Path, writer: LabelWriter) -> None:
    """Check an image and its labels, then write exactly the checked bytes."""
    item = load(entry)
    target = staging / "images" / entry.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(item.encoded)
    session = PurePosixPath(entry.file_name).parent.as_posix()
    writer.add(entry.file_name, session, item.facts.width, item.facts.height, item.boxes)


def _refuse_overlap(source: Path, out: Path) -> None:
    one, other = source.resolve(), out.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise DataError(
            f"the source {source} and the result {out} overlap",
            needed="a source outside the result, and a result outside the source",
            fix="move the source, or import under another name",
        )


def _refuse_too_many(issues: list[LabelIssue], good: int, source: Path, quarantine: bool) -> None:
    items = good + len(issues)
    if good == 0:
        raise DataError(
            f"{source}: no good image among {plural(items, 'item')}:{first_issues(issues)}",
            needed="at least one image with its labels",
            fix="correct the items above",
        )
    if len(issues) > BAD_SHARE_MAX * items and not quarantine:
        raise DataError(
            f"{source}: {plural(len(issues), 'bad item')} of {items} ({len(issues) / items:.1%}):"
            + first_issues(issues),
            needed=f"at most {BAD_SHARE_MAX:.0%} bad items",
            fix="correct the items above, or run the same command with --quarantine to leave them out",
        )


def _write_quarantine(issues: list[LabelIssue], out: Path) -> None:
    path = quarantine_path(out)
    if not issues:
        path.unlink(missing_ok=True)
        return
    rows = [{"place": item.place, "found": item.found, "fix": item.fix} for item in sorted(issues)]
    with publishing_file(path) as staging:
        staging.write_text(json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
