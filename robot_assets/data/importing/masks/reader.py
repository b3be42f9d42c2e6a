"""Reads images with masks: recognizes the layout, then finds the mask and the classes of each image.

Masks are decoded when an image is imported, as they have to be checked against its size; a few of them before, to name
what all of them lack in one error.
"""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem, LabelIssue, printable
from robot_assets.data.images import read_bytes
from robot_assets.data.importing.coco.layouts import LAYOUTS as COCO_LAYOUTS
from robot_assets.data.importing.layout import recognize
from robot_assets.data.importing.masks.classes import about_palettes, legend_of, refuse_binary, rules_of
from robot_assets.data.importing.masks.layouts import LAYOUTS, is_brush_export
from robot_assets.data.importing.masks.matching import Matching
from robot_assets.data.importing.masks.pixels import PixelRules, Raster, decoded_raster, require_size
from robot_assets.data.importing.segmentation.labels import MaskEntry, MaskLabels, SegmentationOptions, filled, no_box
from robot_assets.data.importing.source_folder import no_image, require_folder
from robot_assets.data.importing.unlabelled import BACKGROUND, about_background
from robot_assets.data.importing.yolo.layouts import LAYOUTS as YOLO_LAYOUTS
from robot_assets.data.source import Entry, Source
from robot_assets.data.tree import EMPTY_FOLDER, Tree, walk


def read_masks(
    source: Path,
    layout: str | None = None,
    polygons: str | None = None,
    unlabelled: str | None = None,
    options: SegmentationOptions | None = None,
) -> Source:
    """Find the images of a source with masks; masks are decoded later, one image at a time.

    Args:
        source: The folder.
        layout: Name of the layout that it has to have; recognized when None.
        polygons: Has to be None: there are none.
        unlabelled: "background" reads images without a mask as images of the class ``options.background``.
        options: Classes, what is ignored, and the background.

    Raises:
        DataError: No folder, an unknown layout, no image, no or contradictory classes.
    """
    options = options or SegmentationOptions()
    _refuse_background(unlabelled, options)
    require_folder(source)
    tree = walk(source)
    if not tree.images():
        raise no_image(tree, 0)
    _refuse_brush(tree)
    recognized, files = recognize(tree, (*LAYOUTS, *YOLO_LAYOUTS, *COCO_LAYOUTS), layout)
    if not files.labels:
        raise _no_images(tree)
    match = Matching(tree, files)
    sample = [raster for name in match.sample() if (raster := _raster(tree, name)) is not None]
    legend = legend_of(tree, recognized.name, options, sample)
    rules = rules_of(legend, options)
    refuse_binary(sample, rules, source)
    matched = list(match.matched())
    fill = None if unlabelled is None else rules.classes.rest
    absent = [image for image, _, mask in matched if mask is None]
    entries = [_entry(tree, *one, rules, fill) for one in matched]
    return Source(
        categories=rules.classes.names,
        entries=tuple(entries),
        issues=(*filter(_is_loss, tree.issues), *match.issues, *match.orphans()),
        unlisted=tuple(match.strays()),
        layout=recognized.title,
        splits=files.splits,
        notes=(
            f"classes as in {legend.place}" + ("; its other ids are ignored" if legend.ignored else ""),
            *about_palettes(sample, legend),
            *rules.classes.notes,
            *(about_background(absent, options.background) if unlabelled else ()),
            *match.notes(),
        ),
    )


def _refuse_background(unlabelled: str | None, options: SegmentationOptions) -> None:
    if options.background is not None and unlabelled is None:
        raise DataError(
            f"--background {options.background!r}, and masks have a value for every pixel",
            needed="--background with polygons, or with --unlabelled background for images without a mask",
            fix="leave out --background, or run the same command with --unlabelled background",
        )


def _is_loss(issue: LabelIssue) -> bool:
    return issue.found != EMPTY_FOLDER


def _refuse_brush(tree: Tree) -> None:
    if is_brush_export(tree):
        raise DataError(
            f"{printable(str(tree.root))} has masks of Label Studio's brush, one file a label, not named as its image",
            needed="one mask for each image, with the name of the image",
            fix="in Label Studio choose Export > COCO with images, and run: "
            f"robot-assets data import coco {shlex.quote(str(tree.root))} --name NAME --task segmentation",
        )


def _no_images(tree: Tree) -> DataError:
    return DataError(
        f"{printable(str(tree.root))} has masks and no images",
        needed="the images beside the masks, as in JPEGImages/ or images/",
        fix="export the masks with their images (CVAT: 'Save images'), or copy the images there",
    )


def _raster(tree: Tree, name: str) -> Raster | None:
    """A mask of the sample; None for a faulty one, which is named when its image is imported."""
    try:
        return decoded_raster(_bytes(tree.files[name], name), name)
    except BadItem:
        return None


def _entry(tree: Tree, image: str, name: str, mask: str | None, rules: PixelRules, fill: int | None) -> Entry:
    path = tree.files[image]
    if mask is not None:
        return MaskEntry(name, path, no_box, place=mask, read_mask=partial(_read, tree.files[mask], mask, rules))
    if fill is not None:
        return MaskEntry(name, path, no_box, read_mask=partial(filled, fill))
    return MaskEntry(name, path, no_box, read_mask=partial(_refuse_missing, image))


def _read(path: Path, place: str, rules: PixelRules, width: int, height: int) -> MaskLabels:
    raster = decoded_raster(_bytes(path, place), place)
    require_size(raster, place, width, height)
    return MaskLabels(rules.mask(raster, place))


def _bytes(path: Path, place: str) -> bytes:
    try:
        return read_bytes(path, place)
    except BadItem as bad:
        issue = bad.issue
        raise BadItem(issue.place, issue.found.replace("the image", "the mask"), issue.fix) from None


def _refuse_missing(image: str, width: int, height: int) -> MaskLabels:
    raise BadItem(image, "missing mask", f"restore it; for images of background only: {BACKGROUND} --background NAME")
