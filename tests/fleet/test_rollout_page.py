"""docs/rollout.md: its parameters are valid, every key is described with its default, and its figures are computed."""

import re
from math import floor
from pathlib import Path

import pytest
import yaml

from robot_assets.fleet.rollout import Status, baked_needed, batch_sizes
from robot_assets.fleet.spec import GroupSpec, RolloutSpec
from robot_assets.pipeline.params import parse_params
from tests.sample_params import sample_document


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/rollout.md").read_text()


def test_its_parameters_are_valid(page):
    (block,) = re.findall(r"```yaml params\n(.*?)```", page, re.DOTALL)
    group = parse_params(sample_document() | yaml.safe_load(block)).fleet.groups["delivery"]
    defaults = RolloutSpec()
    assert group.rollout.model_copy(update={"window": None}) == defaults


def test_every_key_and_every_status_is_described(page):
    rows = dict(re.findall(r"^\| `?([a-z_ ]+)`? \| (.*)$", page, re.MULTILINE))
    assert {*RolloutSpec.model_fields, *GroupSpec.model_fields} - {"rollout"} <= rows.keys()
    assert set(Status) <= rows.keys()


@pytest.mark.parametrize("key", [key for key in RolloutSpec.model_fields if key != "batches"])
def test_defaults_are_those_of_the_code(page, key):
    (shown,) = re.findall(rf"^\| `{key}` \| ([^|]*) \|", page, re.MULTILINE)
    default = RolloutSpec.model_fields[key].default
    assert yaml.safe_load(shown.strip("`")) == ("none" if default is None else default)


def test_the_table_of_sizes_is_computed(page):
    rows = re.findall(r"^\| ([0-9,]+) \| ([0-9, ]+) \| ([0-9, ]*)\| ([0-9, ]+) \|$", page, re.MULTILINE)
    assert len(rows) == 7
    for robots, *columns in rows:
        sizes = batch_sizes(RolloutSpec().batches, int(robots.replace(",", "")))
        needed = [baked_needed(0.9, size) for size in sizes[:-1]]
        stopping = [floor(size / 10) + 1 for size in sizes]
        assert [_numbers(column) for column in columns] == [list(sizes), needed, stopping]


def _numbers(column: str) -> list[int]:
    return [int(number.replace(",", "")) for number in column.split(", ") if number.strip()]
