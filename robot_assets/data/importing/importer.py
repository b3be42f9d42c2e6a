"""Imports labelled images as a raw data set: COCO labels, and one folder per recording session.

Each file of the source is read once; images are copied byte for byte. Bad items are left out and listed beside the
result; more than 1 % of them is an error unless ``quarantine`` is set. docs/decisions/002-importers.md explains why no
library reads the formats, and 014-imports-read-headers.md why pixels are decoded later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.extras import require
from robot_assets.core.gc_pause import paused_gc
from robot_assets.core.label_issues import LabelIssue, explaining_disk_errors, first_issues, printable
from robot_assets.core.publishing import publishing_directory, publishing_file
from robot_assets.core.text import plural
from robot_assets.data.importing.coco.reader import read_coco
from robot_assets.data.importing.copying import Copied, Copier, MaskFacts, mask_name
from robot_assets.data.importing.masks.layouts import is_raw_segmentation
from robot_assets.data.importing.masks.reader import read_masks
from robot_assets.data.importing.outcome import Outcome, outcome_of
from robot_assets.data.importing.segmentation.figures import IGNORED_PIXELS, about_shapes, pixel_shares
from robot_assets.data.importing.segmentation.labels import MaskEntry, SegmentationOptions
from robot_assets.data.importing.sessions.grouping import FOLDER, SessionRule, regrouped
from robot_assets.data.importing.yolo.reader import read_yolo
from robot_assets.data.labels import LabelWriter
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import notice_of
from robot_assets.store import Store
from robot_assets.store.parallel import results_in_groups
from robot_assets.store.receiving import Receiver, Written
from robot_assets.tasks.labels import DEFAULT_TASK

BAD_SHARE_MAX = 0.01
READERS: Mapping[str, Callable[..., Source]] = {"yolo": read_yolo, "coco": read_coco, "masks": read_masks}
MASKS = "masks"
SEGMENTATION = "segmentation"
_GROUP = 32
"""Images per task of a thread."""


@dataclass(frozen=True)
class ImportSummary:
    """Figures of an import.

    Attributes:
        images: Number of imported images.
        annotations: Number of their boxes; of a segmentation, 0.
        sessions: Number of recording sessions (folders).
        classes: Number of boxes, or of masks that have the class, by class name.
        clipped: Number of boxes that exceeded their image by at most 1.5 px and were clipped.
        unlisted: Number of images without an entry in the labels, left out.
        quarantined: Bad items, left out.
        quarantine_report: File that lists them, and the unlisted images; None when there are none.
        outcome: Sizes of the images, and figures of each session.
        layout: The arrangement that was recognized, for people.
        notes: What a person should know of, one line each.
        written: The images and masks by their path below the result, for ``Store.add``.
        task: The task that the labels are of.
        pixels: Of a segmentation: share of the pixels by class name; without those that are ignored.
        ignored: Of a segmentation: share of the pixels that are ignored.
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
    task: str = DEFAULT_TASK
    pixels: Mapping[str, float] = field(default_factory=dict)
    ignored: float = 0.0


class ImportRefused(DataError):
    """Too many items of a source are bad. ``details`` has all of them."""

    @property
    def issues(self) -> tuple[LabelIssue, ...]:
        """The bad items, causes first."""
        rows = (self.details or {}).get("issues", ())
        return tuple(LabelIssue(**row) for row in rows) if isinstance(rows, list) else ()


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
    segmentation: SegmentationOptions | None = None,
) -> ImportSummary:
    """Read ``source`` and publish it as a raw data set at ``out``.

    Args:
        format: "yolo", "coco" or "masks".
        source: Folder of the source; for COCO also its JSON file. The session of an image is its folder in the
            source.
        out: Folder for annotations.json, images/SESSION/FILE and NOTICE; replaced when it exists.
        quarantine: Accept more than 1 % bad items.
        layout: Name of the layout to read the source in; None to recognize it.
        polygons: "boxes" to read polygons and oriented boxes as their enclosing boxes.
        unlabelled: "background" to import images without labels as images without objects.
        sessions: How images are grouped into sessions; default: by folder.
        store: Receives the images while they are copied; ``store.add(out, summary.written)`` completes the artifact.
        segmentation: Import masks; None: boxes, unless the source has masks.

    Raises:
        ImportRefused: Too many items are bad.
        DataError: The source cannot be read, or the disk is full.
        MissingLibrary: Polygons are painted by a library of the extra ``engines``.
        StoreError: The disk of the store is full or broken.
    """
    reader = READERS.get(format)
    if reader is None:
        raise DataError(f"unknown format {format!r}", needed=" or ".join(READERS), fix="use one of these formats")
    options = segmentation or (SegmentationOptions() if has_masks(format, source) else None)
    _refuse_options(polygons, unlabelled, options)
    if format == "coco" and has_masks(format, source):
        reader = read_masks
    if options and reader is not read_masks:
        require("faster_coco_eval")  # paints polygons
    with explaining_disk_errors(out), paused_gc():
        found = _without_shared_masks(
            regrouped(reader(source, layout, polygons, unlabelled, options), sessions or FOLDER)
        )
        if not (format in ("coco", MASKS) and sessions and _is_raw_data(source, out)):
            _refuse_overlap(source, out)
        with publishing_directory(out) as staging, _receiver_of(store) as receiver:
            copier = Copier(staging, receiver, painted_from="" if reader is read_masks else format)
            return _import(found, source, out, quarantine, copier, options)


def has_masks(format: str, source: Path) -> bool:
    """Whether a source can only be of a segmentation: it has masks, or is raw data of one."""
    return format == MASKS or (format == "coco" and is_raw_segmentation(source))


def _refuse_options(polygons: str | None, unlabelled: str | None, options: SegmentationOptions | None) -> None:
    if options is None:
        return
    if polygons is not None:
        raise DataError(
            f"--polygons {polygons} makes boxes, and the task is segmentation",
            needed="boxes or masks",
            fix="leave out --polygons; for boxes, leave out --task segmentation",
        )
    if unlabelled is not None and options.background is None:
        raise DataError(
            f"--unlabelled {unlabelled} without the class of that background",
            needed="--background NAME: a segmentation has a class for every pixel",
            fix="run the same command with --background NAME, or leave out --unlabelled",
        )


def _without_shared_masks(found: Source) -> Source:
    """Refuse images whose masks would have one name in the result: day1/a.jpg and day1/a.png."""
    masks = Counter(mask_name(entry) for entry in found.entries if isinstance(entry, MaskEntry))
    shared = [entry for entry in found.entries if masks[mask_name(entry)] > 1]
    if not shared:
        return found
    fault = "another image in its session has the same name without its suffix, and so the same mask", "rename one"
    issues = [LabelIssue(printable(entry.file_name), *fault) for entry in shared]
    kept = tuple(entry for entry in found.entries if masks[mask_name(entry)] <= 1)
    return replace(found, entries=kept, issues=(*found.issues, *issues))


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
    found: Source, source: Path, out: Path, quarantine: bool, copier: Copier, options: SegmentationOptions | None
) -> ImportSummary:
    task = DEFAULT_TASK if options is None else SEGMENTATION
    writer = LabelWriter(found.categories, task)
    good, bad = _copy_all(found.entries, copier, writer)
    issues = sorted([*found.issues, *bad])
    _refuse_too_many(issues, len(good), source, out, quarantine)
    notice = notice_of(source if source.is_dir() else source.parent)
    if notice:
        (copier.root / "NOTICE").write_bytes(notice)
    clipped = sum(one.mask.clipped for one in good if one.mask) if options else writer.clipped
    noun = "polygons" if options else "boxes"
    writer.write(copier.root / "annotations.json", description=f"imported with {clipped} {noun} clipped")
    left_out = [*issues, *found.unlisted]
    if left_out or not _is_raw_data(source, out):  # an import of the result itself keeps the list of its source
        _write_quarantine(left_out, out)
    masks = [one.mask for one in good if one.mask]
    shares = pixel_shares(masks, found.categories) if options else {}
    return ImportSummary(
        images=writer.images,
        annotations=writer.annotations,
        sessions=len(writer.sessions),
        classes=_labels_by_class(good, found.categories),
        clipped=clipped,
        unlisted=len(found.unlisted),
        quarantined=tuple(issues),
        quarantine_report=quarantine_path(out) if left_out else None,
        outcome=outcome_of(((one.file_name, one.width, one.height, one.labels) for one in good), found.categories),
        layout=found.layout,
        notes=(*found.notes, *_shape_notes(masks, copier.painted_from, options)),
        written={name: one for image in good for name, one in image.written.items()} if copier.receiver else {},
        task=task,
        ignored=shares.pop(IGNORED_PIXELS, 0.0),
        pixels=shares,
    )


def _shape_notes(masks: Sequence[MaskFacts], format: str, options: SegmentationOptions | None) -> Iterator[str]:
    if options and format:
        yield from about_shapes(masks, options.background, has_runs=format == "coco")


def _labels_by_class(good: Sequence[Copied], classes: Sequence[str]) -> dict[str, int]:
    counts: Counter[int] = Counter()
    for one in good:
        counts.update(one.labels)
    return {name: counts[index] for index, name in enumerate(classes)}


def _copy_all(entries: Sequence[Entry], copier: Copier, writer: LabelWriter) -> tuple[list[Copied], list[LabelIssue]]:
    """Copy the good images and add them to ``writer``; return them, and the bad ones."""
    good, bad = [], []
    copier.make_folders(entries)
    for one in results_in_groups(copier.copied, entries, "import images", _GROUP):
        if isinstance(one, LabelIssue):
            bad.append(one)
        else:
            good.append(one)
            writer.add(one.file_name, one.session, one.width, one.height, one.boxes)
    return good, bad


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
