"""docs/decoders.md: its examples are valid and read the outputs that they name, and its tables have all options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from robot_assets.tasks.detection.task import TASK
from robot_assets.tasks.interface import Input

PAGE = Path(__file__).parents[4].joinpath("docs", "decoders.md").read_text(encoding="utf-8")
EXAMPLES = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if re.search(r"\w \(1, ", block)]
DECODERS = TASK.decoders[1:]


def size_of(outputs: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    return (300, 300) if any(8732 in shape for shape in outputs.values()) else (640, 640)


def classes_of(options: dict[str, Any]) -> tuple[str, ...]:
    labels = options.get("labels")
    return tuple(labels) if isinstance(labels, list) else ("person", "bicycle", "car")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: re.findall(r"decoder: (\w+)", example)[0])
def test_an_example_reads_the_outputs_that_it_names(example: str) -> None:
    document = yaml.safe_load(example)
    source = document["source"]
    outputs = {
        name: tuple(int(size) for size in shape.split(", "))
        for name, shape in re.findall(r"(\w+) \((1, [\d, ]+)\)", example)
    }
    height, width = size_of(outputs)
    input = Input(height=height, width=width, **document.get("input", {}))
    decoder = TASK.decoder(source["decoder"])
    options = decoder.options.model_validate(source["options"])

    heads = decoder.heads(input, options, classes_of(source["options"]), outputs)

    assert {head.name for head in heads} == set(outputs)


def test_every_decoder_has_an_example() -> None:
    used = [yaml.safe_load(example)["source"]["decoder"] for example in EXAMPLES]
    assert set(used) == {decoder.name for decoder in DECODERS}


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_the_tables_have_all_options_with_their_defaults(decoder: Any) -> None:
    common = PAGE.partition("## Options of all decoders")[2].partition("\n## ")[0]
    own = PAGE.partition(f"\n## {decoder.name}\n")[2].partition("\n## ")[0]
    for name, field in decoder.options.model_fields.items():
        rows = re.findall(rf"^\| `{name}` \| (.*?) \|", common + own, re.MULTILINE)
        assert len(rows) == 1, (decoder.name, name)
        default = rows[0].strip("`").strip("[]").replace(" ", "")
        given = field.get_default(call_default_factory=True)
        if isinstance(given, bool | int | float | str):
            assert default == (str(given).lower() if isinstance(given, bool) else str(given))
        elif given:
            assert default.split(",") == [str(one) for one in given]
