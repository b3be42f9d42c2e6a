"""Names JSON that is not COCO labels for what it is, with the export that can be imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class JsonKind:
    """A kind of JSON that annotation tools write.

    Attributes:
        title: What it is, for people, such as "Label Studio's own JSON".
        fix: The export to choose instead.
        fits: Whether parsed JSON is of this kind.
    """

    title: str
    fix: str
    fits: Callable[[Any], bool]


def kind_of(loaded: Any) -> JsonKind | None:
    """The known kind of parsed JSON that is not COCO labels; None when it is unknown."""
    return next((kind for kind in _KINDS if kind.fits(loaded)), None)


def _first(loaded: Any) -> Mapping[str, Any]:
    """The first object of a list; empty when there is none."""
    first = loaded[0] if isinstance(loaded, list) and loaded else None
    return first if isinstance(first, dict) else {}


def _has(loaded: Any, *keys: str) -> bool:
    return isinstance(loaded, dict) and all(key in loaded for key in keys)


def _annotations_have(key: str) -> Callable[[Any], bool]:
    return lambda loaded: isinstance(loaded, dict) and key in _first(loaded.get("annotations"))


def _is_label_studio(loaded: Any) -> bool:
    one = _first(loaded) or (loaded if isinstance(loaded, dict) else {})
    tasks = "data" in one and any(key in one for key in ("annotations", "completions", "predictions"))
    return tasks or "annotation_id" in one


def _is_via(loaded: Any) -> bool:
    if not isinstance(loaded, dict):
        return False
    first = next(iter(loaded.values()), None)
    return "_via_settings" in loaded or "_via_img_metadata" in loaded or _has(first, "filename", "regions")


_KINDS = (
    JsonKind(
        "COCO results (predictions without images and categories)",
        "export the annotations as COCO JSON; predictions are no labels",
        lambda loaded: _has(_first(loaded), "image_id", "category_id"),
    ),
    JsonKind(
        "COCO captions",
        "use the instances_*.json beside it",
        _annotations_have("caption"),
    ),
    JsonKind(
        "COCO panoptic segmentation",
        "use the instances_*.json beside it, or export object detection",
        _annotations_have("segments_info"),
    ),
    JsonKind(
        "a list of COCO images without annotations (image_info)",
        "use the instances_*.json beside it",
        lambda loaded: _has(loaded, "images", "categories") and "annotations" not in loaded,
    ),
    JsonKind(
        "Label Studio's own JSON",
        'in Label Studio choose Export > "COCO with images", and import that folder',
        _is_label_studio,
    ),
    JsonKind(
        "LabelMe JSON, one file an image",
        "convert it to COCO (labelme2coco), or export YOLO or COCO",
        lambda loaded: _has(loaded, "shapes") and ("imagePath" in loaded or "imageData" in loaded),
    ),
    JsonKind(
        "VIA JSON (VGG Image Annotator)",
        "in VIA choose Annotation > Export Annotations (COCO format)",
        _is_via,
    ),
    JsonKind(
        "a FiftyOne dataset",
        "export it with dataset_type=fiftyone.types.COCODetectionDataset",
        lambda loaded: _has(loaded, "samples"),
    ),
    JsonKind(
        "Datumaro JSON",
        "export it as COCO (datum convert -f coco)",
        lambda loaded: _has(loaded, "items", "categories"),
    ),
    JsonKind(
        "Create ML JSON",
        "export COCO JSON instead",
        lambda loaded: _has(_first(loaded), "image", "annotations"),
    ),
    JsonKind(
        "Labelbox JSON",
        "export COCO JSON instead",
        lambda loaded: _has(_first(loaded), "data_row") or _has(_first(loaded), "Labeled Data"),
    ),
)
