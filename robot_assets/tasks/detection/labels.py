"""The labels of detections: boxes, as COCO's ``bbox`` and ``iscrowd``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robot_assets.core.label_issues import BadItem
from robot_assets.tasks.detection.boxes import ROUNDING_PX, SMALLEST_PX, Box, fault_of, make_box
from robot_assets.tasks.labels import AnnotationFormat, Counted, Inspected, LabelGate, RawImage

if TYPE_CHECKING:
    from robot_assets.tasks.task import Split

_CORRECT = "correct or remove it"


class BoxFormat(AnnotationFormat):
    """Labels are a tuple of :class:`Box`, crowd regions included; see :class:`LabelFormat`."""

    counted = Counted(noun="box", plural="boxes", amount="boxes", removal="remove these boxes from the source")
    gate = LabelGate(
        name="boxes_sane",
        description="Every box is finite, inside its image, and there once.",
        inspect="robot_assets.tasks.detection.labels:inspect_boxes",
        valid="finite, inside the image, distinct and large enough",
    )

    def read(self, image: RawImage) -> tuple[Box, ...]:
        """The boxes of an image, each clipped to it and there once."""
        boxes = tuple(_box(image, place, annotation) for place, annotation in image.annotations)
        refuse_duplicates(boxes, image.file_name)
        return boxes

    def counts(self, labels: tuple[Box, ...]) -> Counter[int]:
        """Number of boxes by class index."""
        return Counter([box.category for box in labels])

    def scored_counts(self, labels: tuple[Box, ...]) -> Counter[int]:
        """The same without crowd regions, which the metric ignores."""
        return Counter([box.category for box in labels if not box.crowd])

    def renumbered(self, labels: tuple[Box, ...], numbers: Mapping[int, int]) -> tuple[Box, ...]:
        """The boxes of the classes in ``numbers``."""
        return tuple(box._replace(category=numbers[box.category]) for box in labels if box.category in numbers)

    def annotations(self, labels: tuple[Box, ...]) -> list[dict[str, Any]]:
        """The boxes as COCO annotations."""
        return [_annotation(box) for box in labels]

    def unpacked(self, split: Split, index: int) -> tuple[Box, ...]:
        """The boxes of image ``index``."""
        rows = [(one["category_id"] - 1, *one["bbox"], bool(one["iscrowd"])) for one in split.annotations(index)]
        return tuple(Box(*row) for row in rows)


BOXES = BoxFormat()


def refuse_duplicates(boxes: Sequence[Box], place: str) -> None:
    """Refuse two boxes of one class in one place.

    Raises:
        BadItem: A box is there twice.
    """
    seen = set()
    for box in boxes:
        key = (box.category, box.x, box.y, box.width, box.height)
        if key in seen:
            where = f"{box.x:g}, {box.y:g}, {box.width:g}, {box.height:g}"
            raise BadItem(place, f"duplicate box: {where} px", "remove one of the two labels")
        seen.add(key)


def inspect_boxes(split: Split, classes: int) -> Inspected:
    """The boxes of a packed split that are not finite, degenerate, outside their image or duplicates."""
    document = split.coco()
    return Inspected(len(document["annotations"]), [*_faults(document, classes)])


def _box(image: RawImage, place: str, annotation: Mapping[str, Any]) -> Box:
    category = image.category(place, annotation)
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise BadItem(f"{place}.bbox", f"{bbox!r} is not [x, y, width, height] in pixels", _CORRECT)
    fault = fault_of(bbox[0], bbox[1], bbox[2], bbox[3], image.width, image.height)
    if fault:
        raise BadItem(f"{place}.bbox", fault, _CORRECT)
    crowd = annotation.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise BadItem(f"{place}.iscrowd", f"{crowd!r}, needed 0 or 1", "set it to 0 or 1")
    rectangle = (bbox[0], bbox[1], bbox[2], bbox[3])
    return make_box(category, rectangle, (image.width, image.height), crowd=bool(crowd))


def _is_number(value: object) -> bool:
    """Whether a JSON value is a number that a float represents exactly."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)


def _annotation(box: Box) -> dict[str, Any]:
    return {
        "area": round(box.width * box.height, 4),
        "bbox": [box.x, box.y, box.width, box.height],
        "category_id": box.category + 1,
        "iscrowd": int(box.crowd),
    }


def _faults(document: Mapping[str, Any], classes: int) -> Iterator[str]:
    sizes = {image["id"]: (image["width"], image["height"], image["file_name"]) for image in document["images"]}
    seen: set[tuple[object, ...]] = set()
    for annotation in document["annotations"]:
        width, height, file_name = sizes[annotation["image_id"]]
        key = (annotation["image_id"], annotation["category_id"], *annotation["bbox"])
        fault = "duplicate box" if key in seen else _fault(annotation, width, height, classes)
        seen.add(key)
        if fault:
            yield f"annotations.json: annotation {annotation['id']} of {file_name}: {fault}"


def _fault(annotation: Mapping[str, Any], width: int, height: int, classes: int) -> str:
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
