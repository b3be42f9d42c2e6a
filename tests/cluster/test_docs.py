"""docs/placement.md has every key of params.yaml with its default, and every trouble of a pod with its consequence."""

import re

import pytest
import yaml

from robot_assets.cluster.diagnosis import LOST, REFUSED, WAITING, Trouble
from robot_assets.cluster.spec import ExecutionSpec, PoolSpec
from robot_assets.pipeline.params import parse_params


@pytest.fixture(scope="module")
def page(repository) -> str:
    return (repository / "docs" / "placement.md").read_text()


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Rows of the table below a heading: first cell -> other cells."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"
    ]
    return {first.strip("`"): rest for first, *rest in cells}


@pytest.mark.parametrize(("heading", "spec"), [("pools", PoolSpec), ("execution", ExecutionSpec)])
def test_every_key_is_described_with_its_default(page, heading, spec):
    table = rows(page, heading)
    assert list(table) == list(spec.model_fields)
    for name, (default, _) in table.items():
        value = spec.model_fields[name].default
        if default.startswith("`") and not default.startswith("`execution."):
            assert default.strip("`") == yaml.safe_dump(value).split()[0]
        else:
            assert not value


def test_every_trouble_is_described_with_its_consequence(page):
    table = rows(page, "What becomes of a pod")
    assert set(table) == set(Trouble)
    for trouble, (_, follows) in table.items():
        assert ("lost_retries" in follows) == (trouble in LOST)
        assert ("refused_max_s" in follows) == (trouble in REFUSED)
        assert ("pending_max_s" in follows) == (trouble in WAITING)


def test_the_example_is_valid(page, document):
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    given = yaml.safe_load(example)
    document["pools"] = {**given["pools"], "cpu": document["pools"]["cpu"]}
    params = parse_params({**document, "execution": given["execution"]})
    assert params.pools["orin_agx"].jetson
