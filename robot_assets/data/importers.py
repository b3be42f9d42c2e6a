"""Bring somebody's labelled images into ``data/raw``: COCO labels, one folder a recording session.

Images are copied byte for byte. A source with more than 1 % bad items is refused, unless told to put them in
quarantine; whatever is left out is listed beside the result. docs/decisions/002-importers.md says why the
formats are read here and not by a library.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robot_assets.core.errors import DataError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory, publishing_file
from robot_assets.data.coco import read_coco
from robot_assets.data.label_issues import BadItem, Finding, disk_trouble_named, listing, plural
from robot_assets.data.labels import LabelWriter
from robot_assets.data.source import Entry, Source, load
from robot_assets.data.tree import notice_of
from robot_assets.data.yolo import read_yolo

BAD_SHARE_MAX = 0.01
READERS = {"yolo": read_yolo, "coco": read_coco}


@dataclass(frozen=True)
class ImportSummary:
    """What came in.

    Attributes:
        images: Imported images.
        annotations: Their boxes.
        sessions: Folders, each a recording session.
        classes: Boxes by class name.
        clipped: Boxes that stuck out of their image by at most 1.5 px and were cut at its edge.
        unlisted: Images that the labels do not speak of, left out.
        quarantined: Bad items, left out.
        quarantine_report: Where they are listed; None when there are none.
    """

    images: int
    annotations: int
    sessions: int
    classes: dict[str, int]
    clipped: int
    unlisted: int
    quarantined: tuple[Finding, ...]
    quarantine_report: Path | None


def import_dataset(format: str, source: Path, out: Path, *, quarantine: bool = False) -> ImportSummary:
    """Read ``source`` and publish it as a raw data set at ``out``.

    Args:
        format: "yolo" or "coco".
        source: Folder of the source; for COCO also its JSON file. The session of an image is its
            folder in there.
        out: Becomes annotations.json, images/SESSION/FILE and NOTICE. What stood there is replaced.
        quarantine: Go on when more than 1 % of the items are bad.

    Raises:
        DataError: The source cannot be read, has too many bad items, or the disk is full.
    """
    reader = READERS.get(format)
    if reader is None:
        raise DataError(f"unknown format {format!r}", needed=" or ".join(READERS), fix="name one of them")
    with disk_trouble_named(out):
        found = reader(source)
        _refuse_overlap(source, out)
        with publishing_directory(out) as staging:
            return _import(found, source, staging, out, quarantine)


def quarantine_path(out: Path) -> Path:
    """Where the items that were left out of ``out`` are listed: beside it, not in the artifact."""
    return out.parent / f"{out.name}.quarantine.json"


def _import(found: Source, source: Path, staging: Path, out: Path, quarantine: bool) -> ImportSummary:
    findings = list(found.findings)
    writer = LabelWriter(found.categories)
    for done, entry in enumerate(found.entries, start=1):
        report("import images", done, len(found.entries))
        try:
            _import_entry(entry, staging, writer)
        except BadItem as bad:
            findings.append(bad.finding)
    _refuse_too_many(findings, writer.images, source, quarantine)
    notice = notice_of(source if source.is_dir() else source.parent)
    if notice:
        (staging / "NOTICE").write_bytes(notice)
    writer.write(staging / "annotations.json", description=f"imported with {writer.clipped} boxes clipped")
    _write_quarantine(findings, out)
    return ImportSummary(
        images=writer.images,
        annotations=writer.annotations,
        sessions=len(writer.sessions),
        classes=writer.boxes_by_class(),
        clipped=writer.clipped,
        unlisted=len(found.unlisted),
        quarantined=tuple(sorted(findings)),
        quarantine_report=quarantine_path(out) if findings else None,
    )


def _import_entry(entry: Entry, staging: Path, writer: LabelWriter) -> None:
    """All checks come before the first byte is written; the bytes checked are the bytes written."""
    item = load(entry)
    target = staging / "images" / entry.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(item.encoded)
    session = PurePosixPath(entry.file_name).parent.as_posix()
    writer.add(entry.file_name, session, item.facts.width, item.facts.height, item.boxes)


def _refuse_overlap(source: Path, out: Path) -> None:
    inside, outside = source.resolve(), out.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise DataError(
            f"the source {source} and the result {out} lie in one another",
            needed="a source outside of the result",
            fix="move the source, or import under another name",
        )


def _refuse_too_many(findings: list[Finding], good: int, source: Path, quarantine: bool) -> None:
    items = good + len(findings)
    if good == 0:
        raise DataError(
            f"{source}: no good image among {plural(items, 'item')}:{listing(findings)}",
            needed="at least one image with its labels",
            fix="mend the items above",
        )
    if len(findings) > BAD_SHARE_MAX * items and not quarantine:
        raise DataError(
            f"{source}: {plural(len(findings), 'bad item')} of {items} ({len(findings) / items:.1%}):"
            + listing(findings),
            needed=f"at most {BAD_SHARE_MAX:.0%} bad items",
            fix="mend the items above, or leave them out: the same command with --quarantine",
        )


def _write_quarantine(findings: list[Finding], out: Path) -> None:
    path = quarantine_path(out)
    if not findings:
        path.unlink(missing_ok=True)
        return
    rows = [{"place": item.place, "found": item.found, "fix": item.fix} for item in sorted(findings)]
    with publishing_file(path) as staging:
        staging.write_text(json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
