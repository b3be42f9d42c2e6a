"""Proposes decoders for the outputs of a graph from their names and shapes alone; the values are not looked at."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]
Outputs = Mapping[str, Shape]

QUERIES_MAX = 1000
"""Most rows of a detector that gives a fixed number of queries or detections; grids of anchors have more."""

PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Strides of the grids of detectors."""

METADATA_MAX = 100_000
"""Characters of a list of names that are read."""

YOLOX: Mapping[str, Any] = {"channels": "bgr", "std": (1 / 255,) * 3, "fit": "letterbox_top_left"}
"""A value is the pixel itself."""

IMAGENET: Mapping[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "fit": "stretch"}

STRETCHED: Mapping[str, Any] = {"fit": "stretch"}

EXTRA_COLUMNS: Mapping[int, int] = {6: 0, 6 + 32: 32, 6 + 51: 51}
"""Columns of a row with its suppression in the graph -> those after the class: 32 mask coefficients, 17 key points."""


@dataclass(frozen=True)
class Proposal:
    """A decoder that may read the outputs.

    Attributes:
        decoder: Its name.
        reason: What in the outputs speaks for it.
        options: Options that have to differ from their defaults.
        classes: Number of classes that the export then has; None: the shapes do not show it.
        input: Keys of ``input`` in params.yaml, as such exports usually need them; empty: the defaults.
    """

    decoder: str
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: int | None = None
    input: Mapping[str, Any] = field(default_factory=dict)


def proposals(outputs: Outputs, size: tuple[int, int] | None = None) -> tuple[Proposal, ...]:
    """Decoders of detection that the outputs may be read by, best first; none: no known export has such outputs.

    Args:
        outputs: Shape of each output, for one image.
        size: Height and width of the input in pixels, which tell grids from each other.
    """
    known = {name: tuple(shape) for name, shape in outputs.items() if _is_of_one_image(shape)}
    found = [*_grid(known), *_in_graph(known), *_two_heads(known)]
    found += [] if any(_is_boxes(shape) for shape in known.values()) else _one_head(known, size)
    first: dict[str, Proposal] = {}
    for one in found:
        first.setdefault(one.decoder, one)
    return tuple(first.values())


def remark(outputs: Outputs) -> str:
    """What is wrong with outputs that no decoder reads; empty where nothing is known of them."""
    shapes = [tuple(shape) for shape in outputs.values()]
    if any(not _is_of_one_image(shape) for shape in shapes) and not any(map(_is_of_one_image, shapes)):
        return "needed outputs of fixed shapes for a batch of one; export the network with a batch of one"
    if sum(len(shape) == 5 for shape in shapes) >= 2:
        return "they look like raw heads of YOLOv5 or YOLOv7; export the network with its boxes decoded"
    if any(re.search("indices", name, re.IGNORECASE) for name in outputs):
        return "they look like an ONNX NonMaxSuppression; end the graph at its inputs, for decoder ssd"
    return ""


def _is_of_one_image(shape: Shape) -> bool:
    return bool(shape) and shape[0] == 1 and all(isinstance(size, int) and size > 0 for size in shape)


def _grid(outputs: Outputs) -> Iterator[Proposal]:
    strides = sorted(int(found[1]) for name in outputs if (found := re.fullmatch(r"cls_s(\d+)", name)))
    heads = {f"{kind}_s{stride}" for stride in strides for kind in ("cls", "box")}
    if strides and heads <= set(outputs):
        classes = outputs[f"cls_s{strides[0]}"][1]
        yield Proposal("grid", "cls_s* and box_s*: heads of this package", {"strides": strides}, classes)


def _in_graph(outputs: Outputs) -> Iterator[Proposal]:
    for name, shape in outputs.items():
        if len(shape) == 3 and shape[2] in (4, 5) and (flat := _flat(outputs, shape)):
            is_of_tensorflow = any(other.startswith(("detection_", "num_detections")) for other in outputs)
            options = {"coordinates": "fractions", "order": "yx", "first_class": 1} if is_of_tensorflow else {}
            text = f"{name} with {', '.join(flat)}: boxes after suppression in the graph"
            yield Proposal("nms", text, options, input=STRETCHED if is_of_tensorflow else {})
        elif len(shape) == 4 and shape[1] == 1 and shape[3] == 7:
            columns = ["image", "class", "score", "x1", "y1", "x2", "y2"]
            options = {"columns": columns, "coordinates": "fractions", "first_class": 1}
            text = f"{name} (1, 1, {shape[2]}, 7): rows of image, class, score and box"
            yield Proposal("nms", text, options, input=STRETCHED)
        elif len(shape) == 3 and shape[2] in EXTRA_COLUMNS and shape[1] <= QUERIES_MAX:
            extra = EXTRA_COLUMNS[shape[2]]
            text = f"{name} (1, {shape[1]}, {shape[2]}): rows of x1, y1, x2, y2, score, class"
            yield Proposal("nms", text, {"extra": extra} if extra else {})


def _flat(outputs: Outputs, boxes: Shape) -> list[str]:
    """The outputs with one number for each box: scores and classes, or classes alone beside boxes with scores."""
    flat = [name for name, shape in outputs.items() if shape == boxes[:2]]
    has_classes = any(re.search("class|label|cls", name, re.IGNORECASE) for name in flat)
    return flat if (boxes[2] == 4 and len(flat) >= 2) or (boxes[2] == 5 and has_classes) else []


def _two_heads(outputs: Outputs) -> Iterator[Proposal]:
    for boxes, shape in outputs.items():
        if not _is_boxes(shape) or _flat(outputs, (*shape[:2], 4)):
            continue
        for scores, sizes in outputs.items():
            if scores != boxes and len(sizes) == 3 and shape[1] in sizes[1:] and _are_boxes_of(boxes, scores, sizes):
                classes = sizes[2] if sizes[1] == shape[1] else sizes[1]
                yield from _boxes_and_scores(boxes, scores, shape[1], classes)


def _is_boxes(shape: Shape) -> bool:
    return shape[2:] in ((4,), (1, 4))


def _are_boxes_of(boxes: str, scores: str, sizes: Shape) -> bool:
    """Whether ``boxes`` are the boxes of the two; scores of four classes have the shape of boxes."""
    has_name = [re.search("box|loc|reg|coord", name, re.IGNORECASE) is not None for name in (boxes, scores)]
    return not _is_boxes(sizes) or has_name == [True, False]


def _boxes_and_scores(boxes: str, scores: str, rows: int, classes: int) -> Iterator[Proposal]:
    pair = f"{boxes} (1, {rows}, 4) with {scores} of {classes} channels"
    if rows <= QUERIES_MAX and not re.search("raw|conf|anchor|prior", f"{boxes} {scores}", re.IGNORECASE):
        # COCO has 80 classes, or 91 category ids; DETR has another one for no object.
        has_sigmoid = classes in (80, 91)
        options = {"activation": "sigmoid"} if has_sigmoid else {}
        count = classes if has_sigmoid else classes - 1
        # RT-DETR and D-FINE, with 80 classes, take values in [0, 1].
        usual = STRETCHED if classes == 80 else IMAGENET
        yield Proposal("detr", f"{pair}, one row a query", options, count, usual)
    is_of_tensorflow = boxes.startswith("raw_detection")
    options = {"order": "yx", "background": "first"} if is_of_tensorflow else {}
    count = classes - 1 if is_of_tensorflow else classes
    yield Proposal("ssd", f"{pair}, one row an anchor", options, count, STRETCHED)


def _one_head(outputs: Outputs, size: tuple[int, int] | None) -> Iterator[Proposal]:
    for name, shape in outputs.items():
        if len(shape) != 3 or min(shape[1:]) < 5:
            continue
        _, first, second = shape
        if first >= second:
            yield from _rows(name, first, second, size)
        elif size is None or _is_pyramid(second, size, 1):
            yield Proposal("yolov8", f"{name} (1, {first}, {second}): 4 + classes for each anchor", {}, first - 4)


def _rows(name: str, rows: int, channels: int, size: tuple[int, int] | None) -> Iterator[Proposal]:
    text = f"{name} (1, {rows}, {channels})"
    yolov5 = Proposal("yolov5", f"{text}: 4 + objectness + classes for each anchor", {}, channels - 5)
    yolov8 = Proposal("yolov8", f"{text}: 4 + classes for each anchor, transposed", {}, channels - 4)
    yolox = Proposal(
        "yolox", f"{text}: 4 + objectness + classes for each cell of strides 8, 16, 32", {}, channels - 5, input=YOLOX
    )
    has_objectness = channels > 5
    if has_objectness and _is_pyramid(rows, size, 3):
        yield yolov5
    elif _is_pyramid(rows, size, 1):
        yield from (yolox, yolov8, yolov5) if has_objectness else (yolov8,)
    elif rows <= QUERIES_MAX:
        # The scores of a network that has both in one output are in the graph.
        options = {"activation": "none"}
        yield Proposal("detr", f"{text}: box and scores of each query", options, channels - 4, input=STRETCHED)


def _is_pyramid(rows: int, size: tuple[int, int] | None, anchors: int) -> bool:
    """Whether there are as many rows as cells of the usual strides; 32 x 32 pixels have 16 + 4 + 1 from stride 8."""
    if size is None:
        return rows % (21 * anchors) == 0
    counts = [sum((size[0] // stride) * (size[1] // stride) for stride in strides) for strides in PYRAMIDS]
    return rows in [anchors * count for count in counts]


def labels_in(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Names of the classes in the metadata of an export, for the option ``labels``; None: it has none.

    Args:
        metadata: ``metadata_props`` of an ONNX file. Exports of the YOLO family have ``names``, a Python literal
            such as ``{0: 'person', 1: 'car'}`` or ``['person', 'car']``.
    """
    try:
        names = ast.literal_eval(metadata.get("names", "")[:METADATA_MAX])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[index] for index in range(len(names))]
    is_list = isinstance(names, list | tuple) and len(names) > 0 and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list else None
