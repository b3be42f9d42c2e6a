"""The sensitivity asset exists when params.yaml has the section; engines with mixed precision read it."""

import base64
import io
import re

from PIL import Image

from tests.dagster_project.conftest import Checkout

SENSITIVITY = "small_detector/sensitivity"
ENGINE = "small_detector/engine/cpu"


def version(checkout: Checkout, name: str) -> str:
    return checkout.latest(name).tags["dagster/data_version"]


def test_the_section_adds_one_asset_and_mixed_precision_makes_engines_read_it(copy_of_built):
    project, before = copy_of_built, version(copy_of_built, ENGINE)
    quantization = lambda document: document["models"]["small_detector"]["quantization"]  # noqa: E731

    project.change(lambda document: quantization(document).update(sensitivity={"images": 8}))
    assert list(project.build()["built"]) == [SENSITIVITY]

    project.change(lambda document: quantization(document).update(mixed_precision=True))
    assert list(project.build()["built"]) == [ENGINE]
    record = project.latest(ENGINE).metadata["record"].value
    assert set(record["inputs"]) == {SENSITIVITY, "platform/cpu"}
    assert record["inputs"][SENSITIVITY] == version(project, SENSITIVITY)

    assert project.latest(SENSITIVITY).metadata["float_layers"].value == "none", "an untrained network loses nothing"
    assert version(project, ENGINE) == before, "no layer had to stay in float: the engine has the same bytes"

    page = project.page(SENSITIVITY)
    assert page["headline"] == "no layer alone loses accuracy; all int8 loses 0.0 points, at most 5 allowed"
    [drawn] = re.findall(r"data:image/png;base64,([^)]+)", page["report"])
    assert Image.open(io.BytesIO(base64.b64decode(drawn))).width == 840
