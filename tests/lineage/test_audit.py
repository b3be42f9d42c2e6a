"""An audit follows the inputs that builds read, names every ancestor once, and lists the problems of each."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.core.errors import StoreError
from robot_assets.lineage.audit import audit
from robot_assets.lineage.chain import Chain
from robot_assets.lineage.graph import AssetTraits, Stage
from tests.lineage.past import (
    CHECKPOINT,
    DATA,
    DEVICE,
    ENGINE,
    ONNX,
    RAW,
    GivenStore,
    Past,
    built_yard,
    version_of,
    yard_graph,
    yard_traits,
)

CODE = ("robot_assets.core.verdict:Verdict",)


def audited(past: Past, asset: str = ENGINE, store: GivenStore | None = None) -> Chain:
    return audit(asset, past.latest[asset], yard_graph(), past, store or GivenStore(), yard_traits)


def problems(chain: Chain, asset: str) -> tuple[str, ...]:
    return tuple(problem for link in chain.links if link.asset == asset for problem in link.problems)


def test_a_clean_history_gives_a_chain_without_problems_the_artifact_first():
    chain = audited(built_yard())
    assert [link.asset for link in chain.links] == [ENGINE, ONNX, CHECKPOINT, DATA, RAW, DEVICE]
    assert chain.problems == ()
    assert [gate.name for gate in chain.head.gates] == ["accuracy", "latency"]
    assert chain.links[-1].observed_at is not None


def test_each_link_has_the_role_of_its_kind_and_an_unknown_name_is_an_asset():
    assert [(link.role, link.holds_bytes) for link in audited(built_yard()).links] == [
        ("Engine", True),
        ("Asset", True),
        ("Checkpoint", True),
        ("Data set", True),
        ("Raw data", True),
        ("Device", False),
    ]


def test_the_chain_has_the_versions_that_were_read_and_not_the_present_ones():
    past = built_yard()
    read = past.latest[DATA]
    past.build(DATA, [RAW])
    past.build(CHECKPOINT, [DATA])
    versions = {link.asset: link.version for link in audited(past).links}
    assert versions[DATA] == read != past.latest[DATA]


def test_of_several_materializations_of_a_version_the_newest_before_its_reader_counts():
    past = Past()
    past.observe(RAW, version_of("recordings"))
    same = past.build(DATA, [RAW], node="first")
    past.build(DATA, [RAW], version=same, node="second")
    past.build(CHECKPOINT, [DATA])
    past.build(DATA, [RAW], version=same, node="third")
    data = next(link for link in audited(past, CHECKPOINT).links if link.asset == DATA)
    assert data.record is not None
    assert data.record.node == "second"


def test_a_materialization_that_ended_after_its_reader_began_does_not_count():
    past = Past()
    past.observe(RAW, version_of("recordings"))
    same = past.build(DATA, [RAW], node="done")
    past.build(CHECKPOINT, [DATA])
    past.now -= timedelta(seconds=12)
    past.build(DATA, [RAW], version=same, node="under way")
    data = next(link for link in audited(past, CHECKPOINT).links if link.asset == DATA)
    assert data.record is not None
    assert data.record.node == "done"


def test_the_first_of_several_readers_decides_which_materialization_counts():
    past = Past()
    past.observe(RAW, version_of("recordings"))
    same = past.build(DATA, [RAW], node="before")
    past.build(CHECKPOINT, [DATA])
    past.build(DATA, [RAW], version=same, node="between")
    past.build(ONNX, [CHECKPOINT, DATA])
    data = next(link for link in audited(past, ONNX).links if link.asset == DATA)
    assert data.record is not None
    assert data.record.node == "before"


@pytest.mark.parametrize(("older", "younger"), [("a", "b"), ("b", "a")])
def test_of_two_versions_of_a_reader_the_earlier_one_decides_whatever_their_hashes(older, younger):
    past = Past()
    same = past.build(RAW, node="before")
    past.build(DATA, [RAW], version=32 * older)
    past.build(CHECKPOINT, [DATA])
    past.build(RAW, version=same, node="between")
    past.build(DATA, [RAW], version=32 * younger)
    past.build(ONNX, [CHECKPOINT, DATA])
    [raw] = [link for link in audited(past, ONNX).links if link.asset == RAW]
    assert raw.record is not None
    assert raw.record.node == "before"


def test_a_version_that_was_recorded_after_it_was_read_is_a_problem():
    past = Past()
    past.observe(RAW, version_of("recordings"))
    later = version_of("later")
    past.build(CHECKPOINT, {DATA: later})
    past.build(DATA, [RAW], version=later)
    past.judge(DATA, "no_leakage")
    [problem] = problems(audited(past, CHECKPOINT), DATA)
    assert f"after {CHECKPOINT} had read it" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"git_dirty": True}, "uncommitted changes on top of commit 4f0c2d9e"),
        ({"git_commit": None, "git_dirty": None}, "no git commit"),
        ({"git_dirty": None}, "not known"),
        ({"code_version": ""}, "no code version"),
        ({"desired_state": "d" * 32}, "contradicts itself"),
        ({"data_version": version_of("other")}, "its record is about"),
        ({"asset": "mower/other"}, "its record is about mower/other"),
    ],
)
def test_a_damaged_or_unaccountable_record_is_a_problem(changes, words):
    past = built_yard()
    past.records[2] = past.records[2].model_copy(update=changes)
    found = problems(audited(past), CHECKPOINT)
    assert any(words in problem for problem in found)


def test_a_materialization_without_a_record_ends_the_chain_with_a_problem():
    past = built_yard()
    past.records[2] = None
    chain = audited(past)
    assert problems(chain, CHECKPOINT) == ("has no record",)


def test_an_input_that_no_history_knows_is_a_problem_that_names_its_reader():
    past = built_yard()
    past.build(ENGINE, {ONNX: version_of("from elsewhere"), DEVICE: past.latest[DEVICE]})
    [problem] = problems(audited(past), ONNX)
    assert problem == f"no materialization of this version is in the history, though {ENGINE} read it"


def test_an_observed_version_that_nobody_observed_is_a_problem():
    past = built_yard()
    past.build(ENGINE, {ONNX: past.latest[ONNX], DEVICE: "e" * 32})
    past.judge(ENGINE, "accuracy")
    past.judge(ENGINE, "latency")
    assert audited(past).problems == (
        f"{DEVICE}: no observation of this version is in the history, though {ENGINE} read it",
    )


def test_a_produced_asset_that_was_only_observed_is_a_problem():
    past = built_yard()
    past.build(ENGINE, {ONNX: past.observe(ONNX, version_of("seen")), DEVICE: past.latest[DEVICE]})
    [problem] = problems(audited(past), ONNX)
    assert "only ever observed" in problem


def test_bytes_that_the_store_has_lost_are_a_problem_and_a_device_has_none():
    past = built_yard()
    lost = GivenStore({past.latest[DATA], past.latest[RAW], past.latest[DEVICE]})
    assert audited(past, store=lost).problems == (
        f"{DATA}: its bytes are no longer in the store",
        f"{RAW}: the store does not have the bytes that its pointer named",
    )


def test_a_store_that_cannot_be_reached_is_a_problem_and_the_audit_goes_on():
    class Unreachable(GivenStore):
        def has(self, digest: str) -> bool:
            raise StoreError("s3://bucket cannot be reached", needed="a connection", fix="connect")

    chain = audited(built_yard(), store=Unreachable())
    assert "s3://bucket cannot be reached" in problems(chain, ENGINE)[0]
    assert len(chain.links) == 6


def test_a_gate_that_failed_and_one_that_never_ran_are_problems():
    past = built_yard()
    past.build(ENGINE, [ONNX, DEVICE])
    past.judge(ENGINE, "latency", passed=False)
    assert problems(audited(past), ENGINE) == (
        "latency failed: p95 41 ms (budget 40 ms)",
        "accuracy has not been evaluated on this version",
    )


def test_a_gate_that_read_another_version_than_the_chain_has_is_a_problem():
    past = built_yard()
    past.judge(ENGINE, "accuracy", read={ENGINE: past.latest[ENGINE], DATA: "0" * 32})
    [problem] = problems(audited(past), ENGINE)
    assert problem.startswith(f"accuracy was judged with {DATA} 000000000000, and this chain has ")


def test_two_versions_of_one_asset_in_one_chain_are_a_problem():
    past = built_yard()
    old = past.latest[DATA]
    past.build(DATA, [RAW])
    past.judge(DATA, "no_leakage")
    past.build(ONNX, [CHECKPOINT, DATA])
    chain = audited(past, ONNX)
    assert [link.version for link in chain.links if link.asset == DATA] in (
        [old, past.latest[DATA]],
        [past.latest[DATA], old],
    )
    [problem] = chain.problems
    assert "two versions of one asset in one chain" in problem


def test_an_asset_that_params_yaml_no_longer_has_is_still_followed():
    past = Past()
    past.observe("platform/gone", "a" * 32)
    past.build("old/engine/gone", ["platform/gone"])
    chain = audit("old/engine/gone", past.latest["old/engine/gone"], {}, past, GivenStore(), yard_traits)
    assert chain.problems == ()
    assert [link.asset for link in chain.links] == ["old/engine/gone", "platform/gone"]


def test_an_audit_of_a_circular_history_terminates():
    past = Past()
    one, other = version_of("one"), version_of("other")
    past.build(ONNX, {CHECKPOINT: other}, version=one)
    past.build(CHECKPOINT, {ONNX: one}, version=other)
    chain = audited(past, CHECKPOINT)
    assert sorted(link.asset for link in chain.links) == [CHECKPOINT, ONNX]


def test_a_chain_of_thousands_of_steps_is_followed_to_its_end():
    past, graph = Past(), {}
    for number in range(3000):
        inputs = (f"step/{number - 1}",) if number else ()
        graph[f"step/{number}"] = Stage(f"step/{number}", "toy", CODE, inputs=inputs)
        past.build(f"step/{number}", inputs)
    chain = audit("step/2999", past.latest["step/2999"], graph, past, GivenStore(), plain)
    assert [link.asset for link in chain.links] == [f"step/{number}" for number in reversed(range(3000))]


def plain(_asset: str) -> AssetTraits:
    """Traits where no name is known."""
    return AssetTraits()


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Stage], Past]:
    """Random assets, inputs before their readers, and random builds of them: old inputs and equal bytes included."""
    count = draw(st.integers(1, 7))
    names = [f"asset/{number}" for number in range(count)]
    inputs = [
        draw(st.sets(st.sampled_from(names[:number]), max_size=3)) if number else set() for number in range(count)
    ]
    graph = {
        name: Stage(name, "toy", CODE, inputs=tuple(sorted(read))) for name, read in zip(names, inputs, strict=True)
    }
    past = Past()
    versions: dict[str, list[str]] = {}
    for name in [*names, *draw(st.lists(st.sampled_from(names), max_size=15))]:
        read = {one: draw(st.sampled_from(versions[one])) for one in graph[name].inputs}
        again = draw(st.none() | st.sampled_from(versions[name])) if name in versions else None
        versions.setdefault(name, []).append(past.build(name, read, version=again))
    return graph, past


@given(histories())
def test_each_ancestor_is_in_the_chain_once_at_exactly_the_version_that_was_read(history):
    graph, past = history
    for asset in graph:
        past.asked.clear()
        chain = audit(asset, past.latest[asset], graph, past, GivenStore(), plain)
        place = {(link.asset, link.version): number for number, link in enumerate(chain.links)}
        assert len(place) == len(chain.links) == past.asked["record"]
        read = {key: number for number, link in enumerate(chain.links) for key in link.record.inputs.items()}
        assert set(place) == {(asset, past.latest[asset]), *read}
        assert all(place[key] > reader for key, reader in read.items())


@given(histories())
def test_every_record_is_that_of_the_newest_materialization_before_the_first_reader(history):
    graph, past = history
    for asset in graph:
        chain = audit(asset, past.latest[asset], graph, past, GivenStore(), plain)
        for link in chain.links:
            key = (link.asset, link.version)
            began = [one.record.started_at for one in chain.links if key in one.record.inputs.items()]
            made = [
                past.records[number]
                for number, ended_at in past.made[key]
                if not began or ended_at <= datetime.fromisoformat(min(began))
            ]
            assert link.record == made[0]
