"""The forms of an audit: nothing is cut or executed, whatever was recorded; problems come first."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.lineage.audit import audit
from robot_assets.lineage.chain import Chain, Link
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.lineage.report.layout import Point, Sizes, lay_out
from robot_assets.lineage.report.page import page
from robot_assets.lineage.report.summary import summary
from robot_assets.lineage.report.terminal import COLUMNS, plain
from tests.lineage.past import (
    CHECKPOINT,
    DATA,
    ENGINE,
    ONNX,
    GivenStore,
    Past,
    built_yard,
    version_of,
    yard_graph,
    yard_traits,
)

HOSTILE = "<script>alert(1)</script>\x1b[31m|`**\"'&"


def audited(past: Past, asset: str = ENGINE) -> Chain:
    return audit(asset, past.latest[asset], yard_graph(), past, GivenStore(), yard_traits)


@pytest.fixture
def clean() -> Chain:
    return audited(built_yard())


@pytest.fixture
def dirty() -> Chain:
    past = built_yard()
    past.records[2] = past.records[2].model_copy(update={"git_dirty": True})
    past.build(ENGINE, [ONNX])
    past.judge(ENGINE, "latency", passed=False)
    return audited(past)


@pytest.fixture
def hostile() -> Chain:
    """Every text that a person, a file or a machine can choose is hostile."""
    past = built_yard()
    past.build(
        ENGINE,
        [ONNX],
        node=HOSTILE,
        image=HOSTILE,
        run_id=HOSTILE,
        git_commit=HOSTILE,
        params={HOSTILE: {HOSTILE: [HOSTILE]}},
        libraries={HOSTILE: HOSTILE},
        code={HOSTILE: HOSTILE},
        modules={HOSTILE: HOSTILE},
    )
    past.judge(ENGINE, "latency", passed=False, **{HOSTILE: HOSTILE})
    chain = audited(past)
    strange = Link(asset=HOSTILE, version=HOSTILE, role=HOSTILE, problems=(HOSTILE,), expected_gates=(HOSTILE,))
    return Chain(links=(*chain.links, strange))


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_text_has_the_problems_before_the_steps_and_fits_a_terminal(dirty):
    lines = plain(dirty).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    first_step = next(number for number, line in enumerate(lines) if line.startswith("1  "))
    head = " ".join(" ".join(lines[:first_step]).split())
    assert lines[1].startswith("✘ 3 problems in 2 of 5 steps")
    for problem in dirty.problems:
        assert problem.partition(": ")[2] in head


def test_the_text_gives_every_hash_in_full(clean):
    text = plain(clean)
    for link in clean.links:
        assert link.version in text
        if link.record:
            assert link.record.code_version in text
            assert link.record.git_commit in text
            assert link.record.run_id in text


def test_the_text_shows_the_inputs_of_each_step_once(clean):
    tree = plain(clean).split("\n\n")[1]
    assert tree.count(f"{DATA}  ") == 1
    assert tree.count(", above") == 1


def test_no_escape_sequence_of_a_record_reaches_a_terminal(hostile):
    assert "\x1b" not in plain(hostile)
    assert "\\x1b[31m" in plain(hostile)


def test_a_page_runs_no_script_and_makes_no_request(hostile):
    found = Page(page(hostile))
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert {link["href"][0] for link in found.all("a")} == {"#"}
    assert "alert(1)" in found.text
    assert not re.search(r"https?://|url\((?!#)", page(hostile))


def test_every_node_and_every_problem_of_a_page_links_to_a_step(dirty):
    found = Page(page(dirty))
    steps = {attributes["id"] for attributes in found.all("section") if "id" in attributes}
    targets = [link["href"][1:] for link in found.all("a")]
    assert len(steps) == len(dirty.links)
    assert set(targets) == steps
    nodes = [link for link in found.all("a") if link.get("class", "").startswith("node")]
    assert len(nodes) == len(dirty.links)


def test_a_page_begins_with_the_verdict(clean, dirty):
    assert "Complete and clean" in Page(page(clean)).text[: Page(page(clean)).text.index("What it was made of")]
    head = Page(page(dirty)).text.partition("What it was made of")[0]
    assert "3 problems in 2 of 5 steps" in head
    for problem in dirty.problems:
        assert problem.partition(": ")[2] in head


def test_a_page_gives_every_hash_parameter_and_library(clean):
    text = Page(page(clean)).text
    for link in clean.links:
        assert link.version in text
    assert "training.epochs" in text
    assert "numpy" in text


def test_a_page_lists_the_definitions_of_a_new_record_and_the_modules_of_an_old_one():
    for fields in ({"code": {"pkg.mod:train": "0a1b"}, "code_rule": 2}, {"modules": {"pkg.mod:train": "0a1b"}}):
        past = built_yard()
        past.records[2] = past.records[2].model_copy(update=fields)
        text = Page(page(audited(past))).text
        assert ("Definitions of its code (1)" in text) == ("code" in fields)
        assert ("Modules of its code (1)" in text) == ("modules" in fields)
        assert "pkg.mod:train" in text


def test_a_page_names_the_role_of_each_step(clean):
    text = Page(page(clean)).text
    assert "Audit of an Engine" in text
    assert all(role in text for role in ("Checkpoint", "Data set", "Raw data", "Device"))


def test_a_page_of_a_chain_without_any_record_is_drawn():
    alone = Chain(links=(Link(asset=ENGINE, version=version_of("x"), problems=("has no record",)),))
    assert "1 problem in 1 of 1 step" in Page(page(alone)).text


def test_json_parses_back_to_the_same_chain(dirty):
    assert Chain.model_validate(json.loads(dirty.model_dump_json())) == dirty


def test_a_summary_is_one_table_whatever_the_names(hostile):
    lines = summary(hostile).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(hostile.links)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert "<script" not in summary(hostile)


def test_a_summary_lists_the_problems(dirty):
    for problem in dirty.problems:
        assert f"- {problem}" in summary(dirty)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    count = draw(st.integers(1, 9))
    past, graph = Past(), {}
    for number in range(count):
        inputs = sorted(draw(st.sets(st.integers(0, number - 1), max_size=4))) if number else []
        names = tuple(f"s/{one}" for one in inputs)
        graph[f"s/{number}"] = Stage(f"s/{number}", "toy", ("robot_assets.core.verdict:Verdict",), inputs=names)
        past.build(f"s/{number}", names)
    head = f"s/{count - 1}"
    return audit(head, past.latest[head], graph, past, GivenStore(), lambda _: AssetTraits())


@given(chains())
def test_no_node_covers_another_or_an_edge_and_every_edge_goes_from_left_to_right(chain):
    sizes = Sizes()
    layout = lay_out(chain, sizes)
    assert len(layout.nodes) == len(chain.links)
    assert len(layout.edges) == sum(len(link.record.inputs) for link in chain.links if link.record)
    for number, one in enumerate(layout.nodes):
        assert sizes.margin <= one.x - sizes.node_width / 2 < layout.width
        assert sizes.margin <= one.y - sizes.node_height / 2 + 1e-6 < layout.height
        for other in layout.nodes[number + 1 :]:
            assert one.x != other.x or abs(one.y - other.y) >= sizes.node_height + sizes.gap_y - 1e-6
    for edge in layout.edges:
        xs = [point.x for point in edge]
        assert xs == sorted(set(xs))
        for bend in edge[1:-1]:
            assert not [node for node in layout.nodes if _covers(node, bend, sizes)]


def _covers(node: Point, bend: Point, sizes: Sizes) -> bool:
    return node.x == bend.x and abs(node.y - bend.y) < sizes.node_height / 2


def test_a_graph_has_data_on_the_left_and_the_engine_on_the_right(clean):
    nodes = dict(zip([link.asset for link in clean.links], lay_out(clean).nodes, strict=True))
    assert nodes[DATA].x < nodes[CHECKPOINT].x < nodes[ONNX].x < nodes[ENGINE].x
    assert nodes["platform/cpu"].x == nodes[ONNX].x
