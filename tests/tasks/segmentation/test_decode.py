"""Class maps in pixels of the image, against torch's interpolation and argmax."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from robot_assets.runtime.preprocess import fitted
from robot_assets.tasks.interface import Head, Input, Interface
from robot_assets.tasks.registry import task_of
from robot_assets.tasks.segmentation.decode import decode_binary, decode_labels, decode_map

CLASSES = ("road", "sidewalk", "kerb", "sky")


def interface(decoder: str, shape: tuple[int, ...], classes: tuple[str, ...] = CLASSES, **options: object) -> Interface:
    """Of a graph with one output, for an input of 64 x 96 pixels; ``fit`` is an option of the input."""
    input = Input(height=64, width=96, fit=str(options.pop("fit", "letterbox")))
    found = task_of("segmentation").decoder(decoder)
    chosen = found.options(**options)
    heads = found.heads(input, chosen, classes, {"out": shape})
    values = chosen.model_dump(mode="json")
    return Interface(task="segmentation", classes=classes, input=input, heads=heads, decoder=decoder, options=values)


def smooth_logits(rows: int, columns: int, channels: int = len(CLASSES)) -> np.ndarray:
    torch.manual_seed(0)
    coarse = torch.randn(1, channels, 5, 6)
    return functional.interpolate(coarse, size=(rows, columns), mode="bicubic").numpy()


def image(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def by_torch(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    upsampled = functional.interpolate(torch.from_numpy(logits), size=(height, width), mode="bilinear")
    return upsampled[0].argmax(dim=0).numpy()


@pytest.mark.parametrize(("rows", "columns"), [(16, 24), (8, 12), (64, 96), (7, 11), (1, 1)])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (240, 360), (101, 57), (17, 23)])
def test_a_stretched_image_gets_the_argmax_of_interpolated_logits(
    rows: int, columns: int, height: int, width: int
) -> None:
    logits = smooth_logits(rows, columns)
    network = interface("map", logits.shape, fit="stretch")

    (found,) = decode_map([logits], network)
    labels = found.in_image(fitted(image(height, width), network.input)).labels

    assert labels.dtype == np.uint8
    assert labels.shape == (height, width)
    assert (labels == by_torch(logits, height, width)).mean() > 0.999  # the sums are in another order


@pytest.mark.parametrize("fit", ["letterbox", "letterbox_top_left"])
def test_the_border_of_a_letterboxed_image_is_cut_off_before_interpolation(fit: str) -> None:
    logits = smooth_logits(16, 24)
    network = interface("map", logits.shape, fit=fit)
    left = 4 if fit == "letterbox" else 0  # 128 x 128 pixels become 64 x 64 of 64 x 96: 16 columns of cells

    (found,) = decode_map([logits], network)
    labels = found.in_image(fitted(image(128, 128), network.input)).labels

    assert (labels == by_torch(np.ascontiguousarray(logits[..., left : left + 16]), 128, 128)).mean() > 0.999


def test_values_of_the_border_change_nothing() -> None:
    logits = smooth_logits(16, 24)
    network = interface("map", logits.shape)
    box = fitted(image(130, 128), network.input)
    other = logits.copy()
    other[..., :4], other[..., 20:] = 100, -100

    one, two = (decode_map([values], network)[0].in_image(box).labels for values in (logits, other))

    assert np.array_equal(one, two)


def test_a_thin_image_is_decoded_too() -> None:
    logits = smooth_logits(16, 24)
    network = interface("map", logits.shape)
    box = fitted(image(2, 300), network.input)
    assert box.inner_height == 1

    assert decode_map([logits], network)[0].in_image(box).labels.shape == (2, 300)


def test_pixels_of_the_input_are_those_before_they_are_mapped() -> None:
    logits = smooth_logits(16, 24)
    (found,) = decode_map([logits], interface("map", logits.shape))
    assert (found.labels == by_torch(logits, 64, 96)).mean() > 0.999


def test_each_image_of_a_batch_has_its_map() -> None:
    logits = np.concatenate([smooth_logits(16, 24), -smooth_logits(16, 24)])
    found = decode_map([logits], interface("map", (1, 4, 16, 24)))
    assert [one.labels.shape for one in found] == [(64, 96)] * 2
    assert not np.array_equal(found[0].labels, found[1].labels)


def test_logits_with_the_classes_last_are_the_same_map() -> None:
    logits = smooth_logits(16, 24)
    last = np.ascontiguousarray(logits.transpose(0, 2, 3, 1))

    (one,) = decode_map([logits], interface("map", logits.shape))
    (other,) = decode_map([last], interface("map", last.shape))

    assert np.array_equal(one.labels, other.labels)


def test_of_equal_logits_the_first_class_is_taken() -> None:
    (found,) = decode_map([np.ones((1, 4, 16, 24), np.float32)], interface("map", (1, 4, 16, 24)))
    assert not found.labels.any()


def test_half_precision_is_decoded_as_float() -> None:
    logits = smooth_logits(16, 24).astype(np.float16)
    (found,) = decode_map([logits], interface("map", logits.shape))
    assert (found.labels == by_torch(logits.astype(np.float32), 64, 96)).mean() > 0.999


@pytest.mark.parametrize("shape", [(1, 64, 96), (1, 1, 64, 96), (1, 64, 96, 1), (1, 16, 24)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32, np.uint8])
def test_class_indices_are_repeated_over_their_pixels(shape: tuple[int, ...], dtype: type) -> None:
    indices = np.random.default_rng(0).integers(0, len(CLASSES), shape)
    network = interface("labels", shape, fit="stretch")

    (found,) = decode_labels([indices.astype(dtype)], network)
    labels = found.in_image(fitted(image(128, 192), network.input)).labels

    plane = indices.squeeze()
    factor = 128 // plane.shape[0]
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, plane.repeat(factor, axis=0).repeat(factor, axis=1))


@pytest.mark.parametrize("value", [4, -1, 255, np.nan])
def test_a_class_index_of_no_class_is_refused(value: float) -> None:
    indices = np.full((1, 16, 24), value, np.float32)
    with pytest.raises(ValueError, match="needed 0 to 3"):
        decode_labels([indices], interface("labels", indices.shape))


@pytest.mark.parametrize("values", ["scores", "logits"])
def test_one_score_is_compared_with_the_threshold(values: str) -> None:
    scores = np.linspace(0.02, 0.98, 64 * 96, dtype=np.float32).reshape(1, 1, 64, 96)
    head = scores if values == "scores" else np.log(scores / (1 - scores))
    network = interface("binary", head.shape, ("other", "text"), values=values, threshold=0.7)

    (found,) = decode_binary([head], network)

    near = np.abs(scores[0, 0] - 0.7) < 1e-4
    assert np.array_equal(found.labels[~near], (scores[0, 0] >= 0.7)[~near])


def test_a_score_at_the_threshold_is_of_the_second_class() -> None:
    head = np.full((1, 16, 24), 0.5, np.float32)
    (found,) = decode_binary([head], interface("binary", head.shape, ("other", "text")))
    assert found.labels.all()


def test_an_output_of_another_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"out has shape \(1, 4, 8, 24\); needed \(N, 4, 16, 24\)"):
        decode_map([np.zeros((1, 4, 8, 24), np.float32)], interface("map", (1, 4, 16, 24)))
    with pytest.raises(ValueError, match="2 outputs; needed 1, out"):
        decode_map([np.zeros((1, 4, 16, 24), np.float32)] * 2, interface("map", (1, 4, 16, 24)))


def heads(decoder: str, outputs: dict[str, tuple[int, ...]], classes: tuple[str, ...] = CLASSES, **options: object):
    found = task_of("segmentation").decoder(decoder)
    return found.heads(Input(height=64, width=96), found.options(**options), classes, outputs)


def test_heads_of_a_foreign_graph_are_its_outputs() -> None:
    (head,) = heads("map", {"aux": (1, 9, 8, 12), "logits": (1, 4, 64, 96)}, output="logits")
    assert (head.name, head.shape, head.layout) == ("logits", (1, 4, 64, 96), "NCHW")
    (head,) = heads("map", {"logits": (1, 64, 96, 4)})
    assert (head.layout, head.parts[0].axis) == ("NHWC", 3)
    (head,) = heads("labels", {"argmax": (1, 1, 64, 96)})
    assert head.parts[0].meaning == "labels"
    (head,) = heads("binary", {"score": (1, 1, 64, 96)}, ("other", "text"))
    assert head.parts[0].meaning == "scores"


@pytest.mark.parametrize(
    ("decoder", "outputs", "classes", "needed"),
    [
        ("map", {"out": (1, 9, 16, 24)}, CLASSES, r"out has shape \(1, 9, 16, 24\); needed \(1, 4, rows, columns\)"),
        ("map", {"out": (1, 4, 384)}, CLASSES, r"needed \(1, 4, rows, columns\)"),
        ("map", {"out": (8, 4, 16, 24)}, CLASSES, r"needed \(1, 4, rows, columns\)"),
        ("map", {"a": (1, 4, 16, 24), "b": (1, 4, 16, 24)}, CLASSES, "output: .*a .*, b "),
        ("labels", {"out": (1, 4, 16, 24)}, CLASSES, "class indices .1, rows, columns."),
        ("labels", {}, CLASSES, "outputs of the graph: none"),
        ("binary", {"out": (1, 1, 16, 24)}, CLASSES, "4 classes for one score; needed 2"),
        ("binary", {"out": (1, 1, 16, 24)}, ("text",), "1 class for one score; needed 2"),
        (
            "map",
            {"out": (1, 256, 16, 24)},
            tuple(f"c{index}" for index in range(256)),
            "256 classes; needed at most 255",
        ),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    decoder: str, outputs: dict[str, tuple[int, ...]], classes: tuple[str, ...], needed: str
) -> None:
    with pytest.raises(ValueError, match=needed):
        heads(decoder, outputs, classes)


def test_an_input_that_is_no_multiple_of_the_stride_is_refused() -> None:
    found = task_of("segmentation").own_decoder
    with pytest.raises(ValueError, match="no multiple of the stride 16; needed multiples of 16"):
        found.heads(Input(height=64, width=90), found.options(stride=16), CLASSES, {})


def test_a_name_that_is_no_output_is_named() -> None:
    with pytest.raises(ValueError, match="found logit; needed one of the outputs of the graph: logits"):
        heads("map", {"logits": (1, 4, 16, 24)}, output="logit")


def test_the_head_of_our_network_is_at_its_stride() -> None:
    (head,) = heads("map", {})
    assert head == Head(name="logits", shape=(1, 4, 16, 24), parts=head.parts)
    assert head.parts[0].meaning == "exclusive_logits"
