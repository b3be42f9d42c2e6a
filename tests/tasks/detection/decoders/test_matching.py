"""Which outputs of a graph a decoder reads, and what is said where it cannot read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from robot_assets.core.errors import ParamsError
from robot_assets.core.validation import mistakes
from robot_assets.tasks.detection.decoders.coco import COCO
from robot_assets.tasks.detection.decoders.labels import class_channels
from robot_assets.tasks.detection.task import TASK
from robot_assets.tasks.interface import Interface
from tests.tasks.detection.decoders.reference import CLASSES, decoded, interface_of, shapes_of

DECODERS = ("yolov5", "yolov8", "yolox", "detr", "ssd", "nms")


def refusal(decoder: str, shapes: dict[str, tuple[int, ...]], **arguments: Any) -> str:
    with pytest.raises(ValueError, match=r"needed|needs") as refused:
        interface_of(decoder, shapes, **{"size": (640, 640), **arguments})
    assert not isinstance(refused.value, ValidationError)
    return str(refused.value)


def test_an_export_of_other_classes_needs_labels() -> None:
    assert refusal("yolov8", {"output0": (1, 84, 8400)}) == (
        "the graph gives output0 (1, 84, 8400); decoder yolov8 needs one output with 4 + 3 classes = 7 channels for "
        "each anchor; the output has 80 classes, but the data set has 3 (person, bicycle, car); needed labels with the "
        "names of the 80 classes of the export, such as labels: coco80"
    )


@pytest.mark.parametrize(
    ("decoder", "shapes", "better"),
    [
        ("yolov5", {"output0": (1, 7, 8400)}, "yolov8"),
        ("yolov8", {"output": (1, 25200, 8)}, "yolov5"),
        ("detr", {"output0": (1, 7, 8400)}, "yolov8"),
        ("yolox", {"logits": (1, 100, 4), "pred_boxes": (1, 100, 4)}, "detr"),
        ("yolov8", {"boxes": (1, 4420, 4), "scores": (1, 4420, 4)}, "ssd"),
        ("ssd", {"output0": (1, 300, 6)}, "nms"),
        ("yolov5", {"dets": (1, 100, 5), "labels": (1, 100)}, "nms"),
        ("nms", {"boxes": (1, 4420, 4), "scores": (1, 4420, 4)}, "ssd"),
        ("yolov5", {f"{kind}_s{s}": (1, c, 8, 8) for s in (8, 16) for kind, c in (("cls", 3), ("box", 4))}, "grid"),
    ],
)
def test_a_decoder_that_does_not_fit_names_the_one_that_does(
    decoder: str, shapes: dict[str, tuple[int, ...]], better: str
) -> None:
    assert f"; they look like those of decoder {better}: " in refusal(decoder, shapes)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({}, "the graph gives no outputs;"),
        ({"output0": (4, 84, 8400)}, "needed outputs of fixed shapes for a batch of one"),
        ({"output0": (1, 84, -1)}, "needed outputs of fixed shapes for a batch of one"),
        ({"output0": (1, 7, -1), "output1": (1, -1, 8)}, "needed outputs of fixed shapes for a batch of one"),
        ({"boxes": (1, -1, 4), "scores": (1, -1, 3), "classes": (1, -1)}, "needed outputs of fixed shapes for a batch"),
        ({f"p{s}": (1, 3, 640 // s, 640 // s, 85) for s in (8, 16, 32)}, "raw heads of YOLOv5 or YOLOv7; export"),
        ({"boxes": (1, 10, 4), "selected_indices": (9, 3)}, "end the graph at its inputs, for decoder ssd"),
    ],
)
@pytest.mark.parametrize("decoder", DECODERS)
def test_outputs_that_nothing_can_read_are_refused_with_the_reason(
    decoder: str, shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    assert said in refusal(decoder, shapes)


@pytest.mark.parametrize("decoder", DECODERS)
def test_names_from_the_graph_are_shown_without_control_characters(decoder: str) -> None:
    shown = refusal(decoder, {"\x1b[31mred\x07": (1, 9, 9, 9)})
    assert "\x1b" not in shown
    assert r"\x1b[31mred\x07 (1, 9, 9, 9)" in shown


def test_the_grid_of_yolox_has_to_cover_the_input() -> None:
    said = refusal("yolox", {"o": (1, 3549, 8)})
    assert said.startswith("output o has 3549 cells; decoder yolox needs 8400 for an input of 640 x 640 pixels")
    assert refusal("yolox", {"o": (1, 25200, 8)}).endswith("; three boxes a cell are those of decoder yolov5")
    for size in ((416, 420), (420, 416)):
        assert "no multiple of the stride 32" in refusal("yolox", {"output": (1, 3549, 8)}, size=size)


def test_objectness_alone_is_the_score_of_one_class_only() -> None:
    said = refusal("yolov5", {"output": (1, 25200, 8)}, scores="objectness")
    assert said == "scores is objectness, but there are 3 classes; needed scores: product"


def test_mask_coefficients_are_suspected_where_the_graph_gives_masks() -> None:
    said = refusal("yolov8", {"output0": (1, 39, 8400), "output1": (1, 32, 160, 160)})
    assert "the output has 35 classes, but the data set has 3" in said
    assert said.endswith("mask coefficients after the classes are extra: 32")


def test_logits_without_a_last_class_need_another_activation() -> None:
    shapes = {"logits": (1, 300, 3), "boxes": (1, 300, 4)}
    assert refusal("detr", shapes).endswith(
        "decoder detr needs 3 + 1 channels of logits, the last one for no object; where there is none, activation is "
        "sigmoid, or none"
    )
    assert interface_of("detr", shapes, activation="sigmoid").head_names == ("logits", "boxes")


def test_one_class_more_may_be_the_background() -> None:
    shapes = {"boxes": (1, 4420, 4), "scores": (1, 4420, 4)}
    assert "; one channel more is the background: first, or last" in refusal("ssd", shapes)
    assert interface_of("ssd", shapes, background="first").head_names == ("boxes", "scores")


@pytest.mark.parametrize("decoder", ["detr", "ssd", "nms"])
def test_roles_have_to_be_known_and_outputs_those_of_the_graph(decoder: str) -> None:
    shapes = {"boxes": (1, 300, 4), "scores": (1, 300, 4), "class": (1, 300)}
    assert "outputs has 'box'; needed" in refusal(decoder, shapes, outputs={"box": "boxes"})
    said = refusal(decoder, shapes, outputs={"boxes": "boxs"})
    assert "outputs.boxes is 'boxs', which the graph does not give; did you mean 'boxes'?" in said


@pytest.mark.parametrize("decoder", ["detr", "ssd", "nms"])
@pytest.mark.parametrize("shape", [(1,), (1, 300), (1, 299, 4), (2, 300, 4), (1, -1, 4), (1, 300, 4, 1), (1, 1, 1, 1)])
def test_an_output_with_a_role_and_another_shape_is_refused(decoder: str, shape: tuple[int, ...]) -> None:
    shapes = {"given": shape, "b": (1, 300, 4), "s": (1, 300, 4), "f": (1, 300), "g": (1, 300)}
    other = {"detr": {"logits": "s"}, "ssd": {"scores": "s"}, "nms": {"scores": "f", "classes": "g"}}[decoder]
    assert f"decoder {decoder} needs" in refusal(decoder, shapes, outputs={"boxes": "given", **other})


def test_other_outputs_of_the_graph_are_left_out() -> None:
    shapes = {"output0": (1, 7, 8400), "p3": (1, 64, 80, 80), "feature": (1, 512)}
    assert interface_of("yolov8", shapes, size=(640, 640)).head_names == ("output0",)
    shapes = {"boxes": (1, 300, 4), "logits": (1, 300, 4), "last_hidden_state": (1, 300, 256), "encoder": (1, 400, 256)}
    assert interface_of("detr", shapes).head_names == ("logits", "boxes")


def test_classes_of_the_export_are_found_by_name() -> None:
    rows = np.zeros((1, 84, 100), np.float32)
    rows[0, :4] = [[20], [20], [10], [10]]
    rows[0, 4 + 2, 0] = 0.9  # car
    rows[0, 4 + 16, 0] = 0.8  # dog, which the data set does not have
    rows[0, 4 + 0, 0] = 0.7  # person
    interface = interface_of("yolov8", shapes_of(o=rows), classes=["person", "car"], labels="coco80")
    (found,) = decoded(interface, rows)
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize("decoder", DECODERS)
def test_classes_of_the_export_with_one_name_are_one_class(decoder: str) -> None:
    """A car of 0.6 that is a truck of 0.9 too is one vehicle of 0.9."""
    labels, classes = ["vehicle", None, "vehicle"], ["vehicle"]
    box, scores = [20, 20, 10, 10], [0.6, 0.95, 0.9]
    outputs = {
        "yolov5": {"o": [[[*box, 1, *scores]]]},
        "yolov8": {"o": [[[value] for value in (*box, *scores)]]},
        "yolox": {"o": [[[2, 2, 0, 0, 1, *scores]] + [[0] * 8] * 125]},
        "detr": {"logits": [[scores]], "boxes": [[[0.2, 0.3, 0.1, 0.1]]]},
        "ssd": {"boxes": [[[0.1, 0.1, 0.2, 0.2]]], "scores": [[scores]]},
        "nms": {"o": [[[1, 2, 9, 9, 0.95, 1], [1, 2, 9, 9, 0.9, 2]]]},
    }[decoder]
    arrays = {name: np.array(values, np.float32) for name, values in outputs.items()}
    options = {"activation": "sigmoid"} if decoder == "detr" else {}
    interface = interface_of(decoder, shapes_of(**arrays), classes=classes, labels=labels, **options)
    (found,) = decoded(interface, *(arrays[name] for name in interface.head_names))
    assert found.labels.tolist() == [0]
    expected = 1 / (1 + np.exp(-0.9)) if decoder == "detr" else 0.9
    assert found.scores.tolist() == pytest.approx([expected])


OUTPUTS: dict[str, dict[str, Any]] = {
    "yolov5": {"o": [[[20, 20, 10, 10, 0.25, 1, 0, 0.5]]]},
    "yolov8": {"o": [[[20], [20], [10], [10], [0.25], [0], [0.125]]]},
    "yolox": {"o": [[[2, 2, 0, 0, 0.25, 1, 0, 0.5]] + [[0] * 8] * 125]},
    "detr": {"logits": [[[0.25, 0, 0.125]]], "boxes": [[[0.2, 0.3, 0.1, 0.1]]]},
    "ssd": {"boxes": [[[0.1, 0.1, 0.2, 0.2]]], "scores": [[[0.25, 0, 0.125]]]},
    "nms": {"o": [[[1, 2, 9, 9, 0.125, 2], [1, 2, 9, 9, 0.25, 0]]]},
}
"""One box, with a score of 0.25 for the first class and of 0.125 for the third."""


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("score_min", "labels"), [(0.01, [0, 2]), (0.125, [0, 2]), (0.2, [0]), (0.25, [0]), (0.3, [])])
def test_a_detection_has_at_least_the_lowest_score(decoder: str, score_min: float, labels: list[int]) -> None:
    arrays = {name: np.array(values, np.float32) for name, values in OUTPUTS[decoder].items()}
    options = {"activation": "none"} if decoder == "detr" else {}
    interface = interface_of(decoder, shapes_of(**arrays), score_min=score_min, **options)
    (found,) = decoded(interface, *(arrays[name] for name in interface.head_names))
    assert found.labels.tolist() == labels


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_more_detections_than_the_limit_and_those_of_the_highest_scores(decoder: str) -> None:
    arrays = {name: np.array(values, np.float32) for name, values in OUTPUTS[decoder].items()}
    options = {"activation": "none"} if decoder == "detr" else {}
    interface = interface_of(decoder, shapes_of(**arrays), detections_max=1, **options)
    (found,) = decoded(interface, *(arrays[name] for name in interface.head_names))
    assert found.labels.tolist() == [0]


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_class_that_no_label_names_is_an_error_with_the_near_miss(decoder: str) -> None:
    said = refusal(decoder, {"o": (1, 7, 8400)}, labels=["persn", "bicycle", "car", "dog"])
    assert said == (
        "labels has no 'person' (near: 'persn'), a class of the data set; needed one label for each class of the data "
        "set. Labels that are no class of it: persn, dog"
    )


def test_several_classes_without_a_label_are_all_named() -> None:
    with pytest.raises(ValueError, match=r"labels has no 'b', 'c', 'd', 'e', 'f' and 2 more, classes of the data set"):
        class_channels(["a"], list("abcdefgh"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("coco8", "labels: unknown list of labels 'coco8'; did you mean 'coco80'?"),
        ([], "labels: needed at least one name"),
        ([None], "labels: needed at least one name"),
        ([1, "car"], "labels.0: needed a string"),
        ({"car": 1}, "labels: needed a list"),
    ],
)
@pytest.mark.parametrize("decoder", DECODERS)
def test_labels_are_a_list_of_names(decoder: str, labels: Any, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TASK.decoder(decoder).options.model_validate({"labels": labels})
    assert any(line.startswith(said) for line in mistakes(refused.value)), mistakes(refused.value)


@pytest.mark.parametrize(
    ("decoder", "options", "said"),
    [
        ("yolov8", {"score_min": 0}, "score_min: needed a number greater than 0"),
        ("yolov8", {"iou": 0.5}, "iou: unknown key"),
        ("detr", {"iou_max": 0.5}, "iou_max: unknown key"),
        ("yolox", {"strides": [16, 8]}, "strides: needed positive numbers of pixels, each larger than the one before"),
        ("ssd", {"coordinates": "offsets"}, "priors: needed with coordinates: offsets, and only then"),
        ("ssd", {"priors": [{"stride": 8, "boxes": [[1, 1]]}]}, "priors: needed with coordinates: offsets, and only"),
        ("ssd", {"priors": [{"boxes": [[1, 1]]}]}, "priors.0: needed either stride or grid"),
        ("ssd", {"priors": [{"stride": 8, "boxes": [[1, 0]]}]}, "priors.0: boxes: needed positive numbers of pixels"),
        ("ssd", {"priors": [{"grid": [0, 1], "boxes": [[1, 1]]}]}, "priors.0: grid: needed positive numbers"),
        ("ssd", {"variance": [0, 0.2]}, "variance: needed positive numbers"),
        ("nms", {"columns": ["x1", "y1", "x2", "y2", "score"]}, "columns: needed each of x1, y1, x2, y2, score, class"),
        ("nms", {"first_class": 2}, "first_class: needed 0 or 1"),
    ],
)
def test_options_that_contradict_are_refused_by_key(decoder: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TASK.decoder(decoder).options.model_validate(options)
    assert mistakes(refused.value)[0].startswith(said), mistakes(refused.value)


def test_an_interface_is_the_same_after_it_was_written_and_read() -> None:
    interface = interface_of(
        "ssd",
        {"boxes": (1, 6, 4), "scores": (1, 6, 4)},
        coordinates="offsets",
        priors=[{"grid": [2, 3], "boxes": [[10, 10]]}],
        background="first",
        labels=["person", "bicycle", "car"],
    )
    read = Interface.model_validate_json(interface.model_dump_json())
    assert read == interface
    random = np.random.default_rng(0)
    outputs = random.normal(0, 1, (1, 6, 4)).astype(np.float32), random.uniform(0, 1, (1, 6, 4)).astype(np.float32)
    assert (decoded(read, *outputs)[0].boxes == decoded(interface, *outputs)[0].boxes).all()


def test_names_of_coco_are_in_both_orders() -> None:
    by_position, by_category = COCO["coco80"], COCO["coco91"]
    assert (len(by_position), len(by_category)) == (80, 91)
    assert [name for name in by_category if name] == list(by_position)
    assert (by_category[1], by_category[18], by_category[44], by_category[90]) == (
        "person",
        "dog",
        "bottle",
        "toothbrush",
    )
    assert set(CLASSES) < set(by_position)


def test_a_decoder_that_the_task_does_not_have_is_an_error_with_the_near_miss() -> None:
    with pytest.raises(ParamsError, match=r"unknown decoder 'yolo8'; did you mean 'yolov8'\?"):
        TASK.decoder("yolo8")
