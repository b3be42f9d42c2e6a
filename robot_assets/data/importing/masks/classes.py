"""Finds out what the values or colours of the masks of a source mean, before its images are imported."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, plural
from robot_assets.data.coco_document import NotCoco, NotJson, document_of, load_json
from robot_assets.data.importing.coco.categories import read_categories
from robot_assets.data.importing.masks import legend as legends
from robot_assets.data.importing.masks import published
from robot_assets.data.importing.masks.layouts import has_train_ids
from robot_assets.data.importing.masks.legend import Key, Legend, key_of
from robot_assets.data.importing.masks.pixels import PixelRules, Raster, colour_fix
from robot_assets.data.importing.segmentation.labels import SegmentationOptions, classes_of
from robot_assets.data.tree import Tree
from robot_assets.tasks.segmentation.classes import IGNORED

_BINARY = {0, IGNORED}
_VOC_LAYOUTS = ("voc", "cvat-masks")


def legend_of(tree: Tree, layout: str, options: SegmentationOptions, sample: Sequence[Raster]) -> Legend:
    """The classes: as a person says, else of a file, else of the published data set.

    Args:
        tree: The source.
        layout: Name of its layout.
        options: What a person says.
        sample: Some masks.

    Raises:
        DataError: There are none, or none for colours.
    """
    if options.classes is not None:
        legend = legends.given(options.classes)
    elif layout == "raw-masks":
        legend = _of_raw(tree)
    elif layout == "cityscapes":
        legend = published.cityscapes(bool(has_train_ids(tree)))
    else:
        found = legends.of_tree(tree) or (published.voc() if layout in _VOC_LAYOUTS else None)
        if found is None:
            raise _no_classes(tree, sample)
        legend = found
    coloured = [raster for raster in sample if raster.colours is not None and not raster.is_grey]
    if len(coloured) > len(sample) / 2 and not legend.has_colours:  # of a few, each is named when it is imported
        colours = np.unique(np.concatenate([np.unique(raster.as_colours) for raster in coloured]))
        raise _no_colours(tree, legend.place, colours.tolist())
    return legend


def _of_raw(tree: Tree) -> Legend:
    """The categories of raw data of this project."""
    path = tree.files["annotations.json"]
    try:
        document = document_of(load_json(path))
    except (NotJson, NotCoco) as error:
        found = f"{printable(str(path))} is malformed: {error}"
        raise DataError(found, needed="annotations.json of an import", fix="import the data again") from None
    return legends.of_names(read_categories({"annotations.json": document}).names, "annotations.json")


def _no_classes(tree: Tree, sample: Sequence[Raster]) -> DataError:
    root = printable(str(tree.root))
    coloured = [raster for raster in sample if raster.values is None and not raster.is_grey]
    if coloured:
        found = np.unique(np.concatenate([np.unique(raster.as_colours) for raster in coloured]))
        return _no_colours(tree, "", found.tolist())
    values = _values(sample)
    ids = [value for value in values if value != IGNORED]
    pairs = [f"NAME_{value}" if ids == list(range(len(ids))) else f"NAME_{value}={value}" for value in ids]
    if set(values) == _BINARY:
        pairs = ["background=0", "OBJECT=255"]
    return DataError(
        f"{root} has no class names; its masks have the values {listed(map(str, values))}",
        needed="labelmap.txt, classes.txt, _classes.csv or data.yaml, or --classes",
        fix=f"run the same command with --classes {','.join(pairs)}   # your names; 255 is ignored unless a class",
    )


def _no_colours(tree: Tree, place: str, colours: Sequence[int]) -> DataError:
    shown = listed([legends.shown_key(colour, True) for colour in colours])
    why = f", and {place} has no colours" if place else " and no class names"
    return DataError(
        f"{printable(str(tree.root))} has RGB masks{why}; they have {plural(len(colours), 'colour')}: {shown}",
        needed="labelmap.txt with NAME:RED,GREEN,BLUE:: for each class, or --classes with the colours",
        fix=colour_fix(colours),
    )


def _values(sample: Sequence[Raster]) -> list[int]:
    grey = (raster.values if raster.values is not None else raster.as_colours & 0xFF for raster in sample)
    return sorted({int(value) for values in grey for value in np.unique(values)})


def refuse_binary(sample: Sequence[Raster], rules: PixelRules, source: Path) -> None:
    """Masks of 0 and 255 only are drawn by tools for one object; by default the object would be ignored.

    Raises:
        DataError: They are, and 255 is no class.
    """
    plain = [raster for raster in sample if raster.palette is None and (raster.values is not None or raster.is_grey)]
    legend = rules.legend
    if not plain or len(plain) < len(sample) or legend.has_colours or IGNORED in legend.keys:
        return
    if set(_values(plain)) == _BINARY and IGNORED not in rules.ignored_values:
        names = [*legend.names, "OBJECT"][:2]
        raise DataError(
            f"the masks of {printable(str(source))} have only the values 0 and 255, and 255 is ignored by default: are "
            "these masks of one object?",
            needed="what the two values mean",
            fix=f"run the same command with --classes {shlex.quote(f'{names[0]}=0,{names[1]}=255')}   # or with "
            "--ignore 255",
        )


def rules_of(legend: Legend, options: SegmentationOptions) -> PixelRules:
    """How pixels become classes; ``--ignore`` is divided into classes, and values or colours that are no class.

    Raises:
        DataError: An ignored class or colour is unknown, none is left, or there are too many.
    """
    ids = {_text_of(key, legend): index for key, index in legend.keys.items()}
    if legend.has_colours:
        ids |= {str(index): index for index in range(len(legend.names))}
    pixels = [one for one in options.ignore if one not in legend.names and one not in ids and key_of(one)]
    classes = classes_of(legend.names, replace(options, ignore=_without(options.ignore, pixels)), ids)
    found = [key for one in pixels if (key := key_of(one))]
    if not legend.has_colours and any(is_colour for _, is_colour in found):
        raise DataError(
            f"--ignore {next(one for one in pixels if one.startswith('#'))} is a colour, and {legend.place} has values",
            needed="a class, or a value from 0 to 255",
            fix="correct --ignore, or leave it out",
        )
    return PixelRules(
        legend,
        classes,
        frozenset(key for key, is_colour in found if not is_colour),
        frozenset(key for key, is_colour in found if is_colour),
    )


def _text_of(key: Key, legend: Legend) -> str:
    return legends.shown_key(key, legend.has_colours)


def _without(ignore: Sequence[str], pixels: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in ignore if one not in pixels)


def about_palettes(sample: Sequence[Raster], legend: Legend) -> Iterator[str]:
    """Palettes that are not looked at, since classes have values: some tools sort them anew."""
    if any(raster.palette is not None for raster in sample) and not legend.has_colours:
        yield "masks with a palette are read by its indices: the classes have values and no colours"
