"""Orders are lines of params.yaml: the right one changes, every other byte stays, and an undo restores all of them."""

import os
import stat
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.core.errors import ParamsError
from robot_assets.core.yaml_documents import load_yaml
from robot_assets.core.yaml_edits import CannotEdit
from robot_assets.fleet import orders
from robot_assets.pipeline.params_file import give
from robot_assets.pipeline.project import Project
from tests.sample_params import sample_document

VERSION = "0f3c5a7d9e1b2c4d6f8091a2b3c4d5e6.dir"
OTHER = "1e105a7d9e1b2c4d6f8091a2b3c4d5e6.dir"
GROUP = {"robots": ["canary", "delivery_*"], "target": "cpu", "models": ["sidewalk_detector"]}

scalars = st.sampled_from([True, False, 3, 0.5, "a", "it's", "x: y", "# no comment", "true", "22:00", "", None, "ü😀"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=5,
)
others = st.dictionaries(st.sampled_from(["robots", "target", "rollout", "models", "z"]), values, min_size=1)
present = st.fixed_dictionaries(
    {},
    optional={
        "paused": st.booleans(),
        "release": st.sampled_from(["latest", OTHER]),
        "approved": st.just({"release": OTHER, "batch": 1}),
    },
)
recalls = st.none() | st.lists(
    st.fixed_dictionaries({"hash": st.sampled_from(["deadbeef", "12345678"]), "reason": scalars}), max_size=3
)


@st.composite
def texts(draw):
    """A document with the group ``outdoor``, in some style, with comments between its lines and behind them."""
    group = list({**draw(others), **draw(present)}.items())
    fleet = {"url": "fleet", "groups": {"indoor": draw(others), "outdoor": dict(draw(st.permutations(group)))}}
    found = draw(recalls)
    if found is not None:
        fleet["recalls"] = found
    whole = {"store": {"url": "s"}, "fleet": fleet, "datasets": draw(values)}
    keys = draw(st.permutations(list(whole)))
    text = "".join(_section(draw, key, whole[key]) for key in keys)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from(["", "\ufeff", "# top\n", "---\n"])) + text


def _section(draw, key, value):
    depth = draw(st.integers(0, 5))  # levels in block style; flow style below
    indent = draw(st.sampled_from([2, 4]))
    lines = list(_block(key, value, depth, indent))
    commented = []
    for line in lines:
        if draw(st.integers(0, 5)) == 0:
            commented.append(" " * draw(st.integers(0, 4)) + "# a comment: {x")
        commented.append(line + ("   # why" if draw(st.integers(0, 5)) == 0 else ""))
        if draw(st.integers(0, 9)) == 0:
            commented.append("")
    return "".join(f"{line}\n" for line in commented)


def _block(key, value, depth, indent):
    pad = " " * indent
    if isinstance(value, dict) and value and depth:
        yield f"{key}:"
        for inner, one in value.items():
            yield from (pad + line for line in _block(inner, one, depth - 1, indent))
    elif isinstance(value, list) and value and depth:
        yield f"{key}:"
        yield from (f"{pad}- {_flow(one)}" for one in value)
    else:
        yield f"{key}: {_flow(value)}"


def _flow(value):
    dumped = yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return dumped.strip()[1:-1]


def read(text):
    return load_yaml(text.encode())


def applied(order, text):
    """The text with an order, which has to be right; None where it is refused for a comment or an odd form."""
    try:
        after = order.edit(text)
    except CannotEdit:
        return None
    assert order.is_all(read(text), read(after)), after
    return after


def present_recalls(text):
    return read(text)["fleet"].get("recalls") or []


def comments(text):
    return text.count("# a comment"), text.count("# why"), text.count("# top")


@settings(max_examples=50, deadline=None)
@given(texts())
def test_orders_change_their_key_alone_and_an_undo_restores_the_bytes(text):
    fleet = read(text)["fleet"]
    group = fleet["groups"]["outdoor"]
    entry = {"hash": "cafecafe00", "reason": "mislabeled: cones"}
    for order, undo, is_new in (
        (orders.pause("outdoor"), lambda _: orders.resume("outdoor"), "paused" not in group),
        (orders.pin("outdoor", VERSION), lambda _: orders.pin("outdoor", "latest"), "release" not in group),
        (
            orders.recall(**{"digest": entry["hash"], "reason": entry["reason"], "present": present_recalls(text)}),
            lambda after: orders.withdraw(len(present_recalls(after)) - 1, present_recalls(after)),
            "recalls" not in fleet or bool(fleet["recalls"]),
        ),
    ):
        if order.is_given(read(text)):
            continue
        after = applied(order, text)
        assert after is not None
        assert comments(after) == comments(text)
        undone = applied(undo(after), after)
        assert undone == text or not is_new, (text, after, undone)


@settings(max_examples=30, deadline=None)
@given(texts())
def test_an_approval_is_replaced_and_restored(text):
    before = read(text)["fleet"]["groups"]["outdoor"].get("approved")
    after = applied(orders.approve("outdoor", VERSION, 2), text)
    assert after is not None
    assert comments(after) == comments(text)
    if before:
        assert applied(orders.approve("outdoor", before["release"], before["batch"]), after) == text


@settings(max_examples=30, deadline=None)
@given(texts(), st.integers(0, 2))
def test_any_recall_can_be_withdrawn(text, index):
    entries = present_recalls(text)
    if index < len(entries):
        after = applied(orders.withdraw(index, entries), text)
        assert after is None or comments(after) == comments(text)


HEAD = "fleet:\n  groups:\n    outdoor:\n      robots: [a]\n"
FORMS = {
    "flow over several lines": """\
fleet:
  groups:
    outdoor: {robots: [a],   # the first
              target: cpu,   # here
             }
""",
    "flow with a comma at the end": "fleet: {groups: {outdoor: {robots: [a], target: cpu, }, }, }\n",
    "a tab before a comment": "fleet:\n  groups:\n    outdoor:\n      robots: [a]\t# x\n",
    "a list at the end, not indented": "fleet:\n  groups:\n    outdoor:\n      robots:\n      - a\n      - b  # y\n",
    "a block of text at the end": HEAD + "      note: |\n        x\n\n        y\n\n",
    "an alias at the end": "base: &b {x: 1}\nfleet:\n  groups:\n    outdoor:\n      robots: [a]\n      rollout: *b\n",
    "an alias at the end of a flow": "base: &b {x: 1}\nfleet: {groups: {outdoor: {robots: [a], rollout: *b}}}\n",
    "a key without a value at the end": HEAD + "      approved:   # none\n",
    "quoted keys": '"fleet":\n  "groups":\n    "outdoor":\n      "robots": [a]\n',
    "explicit end": "---\nfleet:\n  groups:\n    outdoor:\n      robots: [a]\n...\n",
    "recalls of which all are comments": "fleet:\n  groups: {outdoor: {robots: [a]}}\n  recalls:\n  # - x\nstore: 1\n",
    "another group after it": HEAD + "    # the second\n    in: {robots: [b]}\n",
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_forms_that_people_write_are_edited(text):
    paused = applied(orders.pause("outdoor"), text)
    assert paused is not None
    assert applied(orders.resume("outdoor"), paused) == text
    pinned = applied(orders.pin("outdoor", VERSION), text)
    assert pinned is not None
    assert applied(orders.pin("outdoor", "latest"), pinned) == text
    first = applied(orders.recall("deadbeef", "x: y", present_recalls(text)), text)
    second = applied(orders.recall("cafecafe", "# z # 'no' comment", present_recalls(first)), first)
    third = applied(orders.recall("12345678", "w", present_recalls(second)), second)
    without = applied(orders.withdraw(1, present_recalls(third)), third)
    assert [entry["hash"] for entry in present_recalls(without)] == ["deadbeef", "12345678"]
    for index in (1, 0):
        without = applied(orders.withdraw(index, present_recalls(without)), without)
    assert without == text or "recalls" in text


def test_an_edit_of_somebody_else_at_the_same_time_is_not_lost(tmp_path):
    here, path = project(tmp_path), tmp_path / "params.yaml"
    order = orders.pause("outdoor")

    def edit(text):
        path.write_text(path.read_text() + "# more\n")
        return order.edit(text)

    with pytest.raises(ParamsError, match="changed by somebody else"):
        give(here, replace(order, edit=edit))
    assert path.read_text().endswith("# more\n")
    assert "paused" not in path.read_text()


def project(root, text=None, **group):
    whole = sample_document()
    whole["fleet"] = {"groups": {"outdoor": {**GROUP, **group}}}
    (root / "params.yaml").write_text(text or yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return Project(root)


def test_an_order_is_one_line(tmp_path):
    here = project(tmp_path)
    before = (tmp_path / "params.yaml").read_bytes()
    [line] = give(here, orders.pause("outdoor"))
    assert (line.sign, line.text) == ("+", "      paused: true")
    assert (tmp_path / "params.yaml").read_text().splitlines()[line.number - 1] == line.text
    assert here.params.fleet.groups["outdoor"].paused
    assert give(here, orders.pause("outdoor")) == []
    assert [one.sign for one in give(here, orders.resume("outdoor"))] == ["-"]
    assert (tmp_path / "params.yaml").read_bytes() == before


def test_a_line_that_a_person_wrote_is_kept(tmp_path):
    here = project(tmp_path)
    path = tmp_path / "params.yaml"
    text = path.read_text().replace("      target: cpu\n", '      target: cpu\n      release: "latest"   # for now\n')
    path.write_text(text)
    assert [one.text for one in give(here, orders.pin("outdoor", VERSION))] == [
        '      release: "latest"   # for now',
        f'      release: "{VERSION}"   # for now',
    ]
    give(here, orders.pin("outdoor", "latest"))
    assert path.read_text() == text


def test_permissions_stay_and_a_link_is_followed(tmp_path):
    (tmp_path / "shared").mkdir()
    project(tmp_path / "shared")
    (tmp_path / "shared" / "params.yaml").chmod(0o640)
    (tmp_path / "params.yaml").symlink_to("shared/params.yaml")
    give(Project(tmp_path), orders.pause("outdoor"))
    assert (tmp_path / "params.yaml").is_symlink()
    assert stat.S_IMODE(os.stat(tmp_path / "shared" / "params.yaml").st_mode) == 0o640
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["params.yaml"]


ALIASED = """\
fleet:
  groups:
    indoor: {robots: [a], target: cpu, models: [sidewalk_detector], release: &r latest}
    outdoor: {robots: [b], target: cpu, models: [sidewalk_detector], release: *r}
"""


def test_what_cannot_be_edited_names_the_line_to_write(tmp_path):
    whole = sample_document()
    text = yaml.safe_dump(whole, sort_keys=False) + ALIASED
    with pytest.raises(ParamsError) as caught:
        give(project(tmp_path, text), orders.pin("outdoor", VERSION))
    assert "the value of release is an alias" in caught.value.found
    assert caught.value.fix.endswith(f"params.yaml: write in fleet.groups.outdoor: release: {VERSION}")
    assert (tmp_path / "params.yaml").read_text() == text


def test_an_anchor_that_others_read_is_not_edited(tmp_path):
    """The order is for one group, and the alias makes it one for two."""
    whole = sample_document()
    text = yaml.safe_dump(whole, sort_keys=False) + ALIASED
    with pytest.raises(ParamsError) as caught:
        give(project(tmp_path, text), orders.pin("indoor", VERSION))
    assert "more than this key" in caught.value.found
    assert (tmp_path / "params.yaml").read_text() == text


def test_a_recall_that_would_be_invalid_is_not_written(tmp_path):
    here = project(tmp_path)
    before = (tmp_path / "params.yaml").read_bytes()
    with pytest.raises(ParamsError) as caught:
        give(here, orders.recall("short", "x", []))
    assert "fleet.recalls.0.hash" in caught.value.found
    assert (tmp_path / "params.yaml").read_bytes() == before


@pytest.mark.parametrize("typed", ["DEADBEEF00", " deadbeef00.dir ", "sha256:deadbeef00"])
def test_a_hash_is_written_in_one_form(typed):
    assert orders.normalized_hash(typed) == "deadbeef00"


@pytest.mark.parametrize("typed", ["", "dead", "zzzzzzzzz", "ed25518:abc", "dead beef", "raw/sidewalk"])
def test_what_is_no_hash_is_refused(typed):
    with pytest.raises(ValueError, match="8 hexadecimal digits"):
        orders.normalized_hash(typed)
