"""Decoders proposed from the names and shapes of outputs alone."""

from __future__ import annotations

import pytest

from robot_assets.tasks.detection.decoders.recognize import labels_in, proposals
from robot_assets.tasks.detection.task import TASK
from robot_assets.tasks.interface import Input

Shape = tuple[int, ...]

EXPORTS: dict[str, tuple[dict[str, Shape], tuple[int, int], str, int | None]] = {
    "YOLOv5s": ({"output0": (1, 25200, 85)}, (640, 640), "yolov5", 80),
    "YOLOv5s6": ({"output0": (1, 102000, 85)}, (1280, 1280), "yolov5", 80),
    "YOLOv7, not square": ({"output": (1, 3 * (48 * 80 + 24 * 40 + 12 * 20), 6)}, (384, 640), "yolov5", 1),
    "YOLOv8n": ({"output0": (1, 84, 8400)}, (640, 640), "yolov8", 80),
    "YOLO11 with masks": ({"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)}, (640, 640), "yolov8", 112),
    "YOLOv8 of one class": ({"output0": (1, 5, 8400)}, (640, 640), "yolov8", 1),
    "YOLOv8 with a finer grid": ({"output0": (1, 84, 34000)}, (640, 640), "yolov8", 80),
    "PP-YOLOE": ({"boxes": (1, 8400, 4), "scores": (1, 80, 8400)}, (640, 640), "ssd", 80),
    "YOLOX-s": ({"output": (1, 8400, 85)}, (640, 640), "yolox", 80),
    "YOLOX-tiny": ({"output": (1, 3549, 85)}, (416, 416), "yolox", 80),
    "DETR": ({"logits": (1, 100, 92), "pred_boxes": (1, 100, 4)}, (800, 1066), "detr", 91),
    "DETR of three classes": ({"logits": (1, 100, 4), "pred_boxes": (1, 100, 4)}, (800, 1066), "detr", 3),
    "RT-DETR": ({"logits": (1, 300, 80), "pred_boxes": (1, 300, 4)}, (640, 640), "detr", 80),
    "RT-DETR in one output": ({"output0": (1, 300, 84)}, (640, 640), "detr", 80),
    "UltraFace": ({"scores": (1, 4420, 2), "boxes": (1, 4420, 4)}, (240, 320), "ssd", 2),
    "YOLOv4": ({"boxes": (1, 10647, 1, 4), "confs": (1, 10647, 80)}, (416, 416), "ssd", 80),
    "raw": ({"raw_detection_boxes": (1, 510, 4), "raw_detection_scores": (1, 510, 4)}, (96, 96), "ssd", 3),
    "torchvision": ({"bbox_regression": (1, 8732, 4), "cls_logits": (1, 8732, 91)}, (300, 300), "ssd", 91),
    "YOLOv10": ({"output0": (1, 300, 6)}, (640, 640), "nms", None),
    "key points end to end": ({"output0": (1, 300, 57)}, (640, 640), "nms", None),
    "EfficientNMS_TRT": (
        {"num_dets": (1, 1), "det_boxes": (1, 100, 4), "det_scores": (1, 100), "det_classes": (1, 100)},
        (640, 640),
        "nms",
        None,
    ),
    "MMDetection": ({"dets": (1, 100, 5), "labels": (1, 100)}, (800, 1088), "nms", None),
    "DetectionOutput": ({"detection_out": (1, 1, 200, 7)}, (300, 300), "nms", None),
    "ours": ({"cls_s8": (1, 3, 32, 42), "box_s8": (1, 4, 32, 42)}, (256, 336), "grid", 3),
}


@pytest.mark.parametrize(("shapes", "size", "decoder", "classes"), EXPORTS.values(), ids=EXPORTS)
def test_common_exports_are_recognized(
    shapes: dict[str, Shape], size: tuple[int, int], decoder: str, classes: int | None
) -> None:
    best = proposals(shapes, size)[0]
    assert best.decoder == decoder
    assert best.classes == classes
    assert decoder == "grid" or any(name in best.reason for name in shapes)


@pytest.mark.parametrize("decoder", ["yolov5", "yolov8", "yolox"])
def test_without_the_size_of_the_input_the_number_of_anchors_tells_the_yolos_apart(decoder: str) -> None:
    shape = {"yolov5": (1, 25200, 85), "yolov8": (1, 84, 8400), "yolox": (1, 8400, 85)}[decoder]
    assert proposals({"output": shape})[0].decoder == decoder


@pytest.mark.parametrize(("shapes", "size"), [row[:2] for row in EXPORTS.values()], ids=EXPORTS)
def test_the_first_proposal_reads_the_outputs(shapes: dict[str, Shape], size: tuple[int, int]) -> None:
    """With its options, and as many classes as it names."""
    best = proposals(shapes, size)[0]
    declared = TASK.decoder(best.decoder)
    classes = tuple(f"class {index}" for index in range(best.classes or 3))
    input = Input(height=size[0], width=size[1], **best.input)
    heads = declared.heads(input, declared.options.model_validate(dict(best.options)), classes, shapes)
    assert {head.name for head in heads} <= set(shapes)
    for head in heads:
        axis = head.parts[0].axis
        parts = [(part.start, part.stop or head.shape[axis]) for part in head.parts if part.axis == axis]
        assert len(parts) == len(head.parts)
        assert [channel for start, stop in sorted(parts) for channel in range(start, stop)] == [
            *range(head.shape[axis])
        ]


def test_a_detection_model_of_tensorflow_is_recognized_with_its_options() -> None:
    shapes = {
        "detection_anchor_indices": (1, 100),
        "detection_boxes": (1, 100, 4),
        "detection_classes": (1, 100),
        "detection_multiclass_scores": (1, 100, 91),
        "detection_scores": (1, 100),
        "num_detections": (1,),
        "raw_detection_boxes": (1, 1917, 4),
        "raw_detection_scores": (1, 1917, 91),
    }
    found = proposals(shapes, (320, 320))
    assert [one.decoder for one in found] == ["nms", "ssd"]
    assert found[0].options == {"coordinates": "fractions", "order": "yx", "first_class": 1}
    assert found[1].options == {"order": "yx", "background": "first"}


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"logits": (1, 19, 128, 128)},
        {"features": (1, 512)},
        {"characters": (1, 40, 6625)},
        {"last_hidden_state": (1, 197, 768)},
        {"output0": (4, 84, 8400)},
        {"output0": (1, -1, 85)},
        {"scalar": ()},
        {"box": (1, 4)},
        {f"p{s}": (1, 3, 80, 80, 85) for s in range(3)},
    ],
)
def test_other_outputs_are_not_recognized(shapes: dict[str, Shape]) -> None:
    assert proposals(shapes, (640, 640)) == ()


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("{0: 'person', 1: 'traffic light'}", ("person", "traffic light")),
        ("{1: 'b', 0: 'a'}", ("a", "b")),
        ("['person', \"car's\"]", ("person", "car's")),
        ("{0: 'a', 2: 'c'}", None),
        ("{'0': 'a'}", None),
        ("{0: 1}", None),
        ("[]", None),
        ("{}", None),
        ("7", None),
        ("", None),
        ("__import__('os').getcwd()", None),
        ("[" * 5000, None),
        ("{0: 'a'", None),
    ],
)
def test_names_of_classes_are_read_from_the_metadata_of_an_export(names: str, labels: tuple[str, ...] | None) -> None:
    assert labels_in({"names": names, "stride": "32"}) == labels
    assert labels_in({}) is None
