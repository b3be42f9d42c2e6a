"""Arbitrary input bytes give an import or a ``DataError``, never another exception."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem
from robot_assets.data.images import decode_rgb, inspect_image
from robot_assets.data.importing.importer import import_dataset
from robot_assets.tasks.labels import RawImage
from robot_assets.tasks.segmentation.labels import MASKS
from tests.data.image_sources import HEIGHT, WIDTH, encoded_image, read_labels, write_coco, write_yolo
from tests.data.mask_sources import GROUND, chunk, mask, palette_png, png

JPEG, PNG = encoded_image("any"), encoded_image("any", format="PNG")
# All examples share the folder of the test: each overwrites what it reads.
shared_folder = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("good", [JPEG, PNG], ids=["jpeg", "png"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_image_is_decoded_or_refused(good: bytes, data: st.DataObject) -> None:
    mutated = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        mutated = mutated or bytearray(b"x")
    try:
        facts = inspect_image(bytes(mutated), "mutated")
    except BadItem:
        return
    assert decode_rgb(bytes(mutated)).shape == (facts.height, facts.width, 3)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_mask_is_read_or_refused(data: st.DataObject) -> None:
    mutated = bytearray(data.draw(st.sampled_from([png(mask("any")), palette_png(mask("any"))])))
    kind = data.draw(st.sampled_from([b"", b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"acTL", b"eXIf", b"zTXt"]))
    if kind:
        mutated[33:33] = chunk(kind, data.draw(st.binary(max_size=13)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        mutated = mutated or bytearray(b"x")
    image = RawImage("a.jpg", WIDTH, HEIGHT, (), {1: 0}, GROUND, "masks/a.png", bytes(mutated))
    try:
        labels = MASKS.read(image)
    except BadItem:
        return
    assert MASKS.shown(labels, image.side).shape == (HEIGHT, WIDTH)


@shared_folder
@given(content=st.binary(max_size=60) | st.text("0123456789.-+e nainf\n\t", max_size=60).map(str.encode))
def test_any_label_text_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if not source.exists():
        write_yolo(source, {"day": 1})
    (source / "day" / "000.txt").write_bytes(content)
    try:
        import_dataset("yolo", source, tmp_path / "raw")
    except DataError as error:
        str(error).encode("utf-8")


@shared_folder
@given(data=st.data())
def test_any_value_anywhere_in_coco_labels_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if not source.exists():
        write_coco(source, {"day": 2})
        (tmp_path / "good.json").write_bytes((source / "annotations.json").read_bytes())
    document = json.loads((tmp_path / "good.json").read_text())
    table = data.draw(st.sampled_from(["images", "annotations", "categories"]))
    row = data.draw(st.integers(0, len(document[table]) - 1))
    place = data.draw(st.sampled_from(["field", "row", "table"]))
    if place == "field":
        document[table][row][data.draw(st.sampled_from(sorted(document[table][row])))] = data.draw(junk)
    elif place == "row":
        document[table][row] = data.draw(junk)
    else:
        document[table] = data.draw(junk)
    (source / "annotations.json").write_text(json.dumps(document))
    try:
        import_dataset("coco", source, tmp_path / "raw")
    except DataError as error:
        str(error).encode("utf-8")
    else:
        assert read_labels(tmp_path / "raw")["images"]
