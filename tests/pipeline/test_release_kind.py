"""``release/<group>``: from params.yaml and built engines to a release that robots may have, without Dagster."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from robot_assets.core.verdict import Verdict
from robot_assets.engines.gate import GATES, check_engine
from robot_assets.engines.load import load_engine, load_manifest
from robot_assets.fleet.desired import open_repository
from robot_assets.fleet.keys import key_file
from robot_assets.fleet.layout import RELEASES_ROLE
from robot_assets.fleet.repository import Repository
from robot_assets.lineage.chain import Chain
from robot_assets.lineage.code import Code, load, running_code
from robot_assets.lineage.graph import Stage
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import GateStep, Step
from robot_assets.pipeline.kinds.release import KIND, RELEASABLE, publish
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project
from robot_assets.profiling.result import save_profile
from robot_assets.provenance.keys import KEY_VARIABLE, create_key
from robot_assets.provenance.signing import sign_engine, sign_gates
from robot_assets.release.bundle import BUNDLE_FILE, REFERENCE
from robot_assets.release.errors import ReleaseError
from robot_assets.release.reference import compare, read_reference
from robot_assets.release.verifying import verify_release
from tests.alter import flip_bit
from tests.detector_chain import CLASSES, NETWORK, SPLIT, whole
from tests.lineage.code.tracing import called_during
from tests.profiling.sample_profiles import profile, run, stream
from tests.provenance.conftest import ENGINE, chain_in, gate, with_head
from tests.sample_params import sample_document

GATE = {"accuracy_drop_points_max": 50, "latency_ms_p95_max": 5_000, "parity_differing_share_max": 0.2}


def document(
    *,
    budgets: dict[str, float] | None = None,
    has_profile: bool = False,
    trusted_keys: Sequence[str] = (),
    **target: Any,
) -> dict[str, Any]:
    """params.yaml of the project with the small detector, and a group of robots that run it."""
    cpu: dict[str, Any] = {"kind": "onnxruntime", "threads": 1, "gate": GATE | target}
    if has_profile:
        cpu["profile"] = {"models": {"small_detector": {"rate_hz": 10}}}
    return {
        "store": {"url": ".robot_assets/store"},
        "datasets": {
            "drawn": {
                "source": {"kind": "dvc", "pointer": "data/raw/drawn.dvc"},
                "classes": list(CLASSES),
                "split": SPLIT,
                "calibration_images": 16,
            }
        },
        "models": {
            "small_detector": {
                "task": "detection",
                "dataset": "drawn",
                "targets": ["cpu"],
                "network": NETWORK.model_dump(mode="json", exclude={"kind", "heads", "weights"}),
                "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.004, "evaluate_every": 1},
                "quantization": {"ptq": {}, "qat": {"epochs": 1, "learning_rate": 1e-4}},
            }
        },
        "targets": {"cpu": cpu},
        "provenance": {"trusted_keys": list(trusted_keys)},
        "fleet": {
            "groups": {
                "yard": {
                    "robots": ["yard_*"],
                    "target": "cpu",
                    "models": ["small_detector"],
                    "budgets": budgets or {},
                }
            }
        },
    }


@dataclass(frozen=True)
class Built:
    """A project with a signed engine, and what the stage ``release/yard`` reads of it."""

    project: Project
    chain: Chain
    scratch: Path

    @property
    def stage(self) -> Stage:
        return build_graph(self.project.params)["release/yard"]

    def write_params(self, **changes: Any) -> Built:
        (self.project.root / "params.yaml").write_text(yaml.safe_dump(document(**changes)))
        return replace(self, project=Project(self.project.root))

    def sign(self, chain: Chain | None = None) -> None:
        sign_engine(self.project.store, self.project.key, chain or self.chain)
        sign_gates(self.project.store, self.project.key, chain or self.chain)

    def versions(self) -> dict[str, str]:
        return {link.asset: link.version for link in self.chain.links if link.asset in self.stage.inputs}

    def step(self, out: str = "release", note: Callable[[str], None] = print) -> Step:
        versions = self.versions()
        paths = {asset: self.project.store.open(version) for asset, version in versions.items()}
        return Step(
            stage=self.stage,
            name=KIND.pattern.name(group="yard"),
            inputs=paths | ({"profile/cpu": self.profile} if "profile/cpu" in self.stage.inputs else {}),
            versions=versions,
            output=self.scratch / out,
            scratch=self.scratch / "scratch",
            store=self.project.store,
            note=note,
            project=self.project,
        )

    def release(self, out: str = "release") -> tuple[Step, Any]:
        """Run the stage; its step and its summary."""
        notes: list[str] = []
        step = self.step(out, notes.append)
        made = KIND.production.run(step)
        assert notes
        return step, made

    def gate_step(self, out: str = "release") -> GateStep:
        inputs = {"profile/cpu": self.profile} if "profile/cpu" in self.stage.inputs else {}
        name, gates = KIND.pattern.name(group="yard"), self.stage.gates
        return GateStep(self.stage, name, gates, self.scratch / out, inputs, self.project)

    def judge(self, out: str = "release") -> Verdict:
        return KIND.production.judge(self.gate_step(out))[RELEASABLE]

    @property
    def profile(self) -> Path:
        return self.scratch / "profile"


@pytest.fixture(autouse=True)
def no_key_from_outside(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv("ROBOT_ASSETS_FLEET_KEYS", raising=False)


@pytest.fixture(scope="module")
def measured() -> tuple:
    """The gates of the engine, evaluated once on this machine."""
    chain, spec = whole(), parse_params(document()).targets["cpu"].gate
    found = check_engine(chain.engine, spec, GATES, dataset=chain.dataset, baseline=chain.checkpoint, onnx=chain.onnx)
    return tuple(
        gate(name).model_copy(update={"passed": one.passed, "summary": one.summary, "facts": one.facts})
        for name, one in found.items()
    )


@pytest.fixture
def built(tmp_path, measured) -> Built:
    """A project whose engine is built, and not signed."""
    project = Project(tmp_path / "project")
    project.root.mkdir()
    made = Built(project, Chain(links=()), tmp_path).write_params()
    chain = chain_in(made.project)
    head = chain.head.model_copy(update={"gates": measured, "expected_gates": GATES})
    return replace(made, chain=Chain(links=(head, *chain.links[1:])))


@pytest.fixture
def signed(built) -> Built:
    built.sign()
    return built


def test_without_groups_the_graph_has_no_release():
    assert not [asset for asset in build_graph(parse_params(sample_document())) if asset.startswith("release/")]


def test_the_stage_reads_the_engine_its_answers_and_its_images():
    stage = build_graph(parse_params(document()))["release/yard"]
    assert stage.inputs == (ENGINE, "small_detector/onnx", "datasets/drawn")
    assert stage.policy == "auto"
    assert stage.pool == "general"
    with_profile = build_graph(parse_params(document(has_profile=True)))["release/yard"]
    assert with_profile.inputs == (*stage.inputs, "profile/cpu")
    assert with_profile.gates[0].inputs == ("profile/cpu",)


def test_only_what_decides_makes_a_release_stale():
    def params_of(**changes: Any) -> tuple[Any, Any]:
        stage = build_graph(parse_params(document(**changes)))["release/yard"]
        return stage.params, stage.gates[0].params

    stage, releasable = params_of()
    assert params_of(latency_ms_p95_max=4_000)[0] != stage  # its engines are judged again: newer statements
    tighter = params_of(budgets={"latency_ms_p95_max": 4_000})
    assert tighter[0] == stage
    assert tighter[1] != releasable
    paused = document()
    paused["fleet"]["groups"]["yard"] |= {"paused": True, "release": "0123456789", "rollout": {"bake_s": 5}}
    assert build_graph(parse_params(paused))["release/yard"].params == stage


def test_a_release_of_a_real_detector_verifies_and_is_releasable(signed):
    step, made = signed.release()
    verdict = signed.judge()
    assert verdict.passed, verdict.summary
    assert json.dumps(verdict.facts)
    demanded = {"latency_ms_p95_max": 5_000.0, "accuracy_drop_points_max": 50.0}
    found = verify_release(step.output, signed.project.trust(), demanded=demanded, group="yard")
    assert found.passed, found.why
    assert found.bundle == made.bundle
    assert made.bundle.models["small_detector"].asset == ENGINE


def test_an_engine_of_a_release_repeats_its_reference_answers(signed):
    step, made = signed.release()
    folder = step.output / "small_detector"
    with load_engine(folder) as engine:
        reference = read_reference(folder / REFERENCE, engine.manifest.interface)
        found = compare(engine.infer, reference, engine.manifest.interface)
    assert 1 <= len(reference.images) <= 4
    assert reference.images.std() > 10
    assert found.differing_share <= made.bundle.models["small_detector"].tolerance_share


def test_building_again_gives_the_same_bytes(signed):
    first, _ = signed.release("first")
    signed.sign()
    second, _ = signed.release("second")
    digests = [signed.project.store.digest_of(step.output).digest for step in (first, second)]
    assert digests[0] == digests[1]


def test_its_page_has_budgets_and_measured_figures(signed):
    step, made = signed.release()
    [table] = KIND.production.page(step, made).blocks
    row = table.rows["small_detector"]
    assert row["p95, ms"].endswith("(budget 5000)")
    assert float(row["accuracy lost, points"].split()[0]) < 50
    facts = KIND.production.facts(made)
    assert facts.headline.startswith("1 engine for cpu, ")
    assert facts.headline.endswith(" MiB")
    assert facts.values["engines"] == {ENGINE: signed.chain.head.version}


def test_a_notice_of_the_licence_comes_with_the_release(signed):
    licensed = Path(shutil.copytree(whole().dataset, signed.scratch / "licensed", copy_function=shutil.copyfile))
    (licensed / "NOTICE").write_text("Images by the team, CC BY 4.0\n")
    version = signed.project.store.add(licensed).digest
    step, made = replace(signed, chain=changed(signed.chain, "datasets/drawn", version=version)).release()
    assert (step.output / "NOTICE").read_text() == "Images by the team, CC BY 4.0\n"
    assert "NOTICE" in {file.path for file in made.bundle.files}
    assert verify_release(step.output, signed.project.trust()).passed


@pytest.mark.parametrize(("sign", "missing"), [(sign_gates, "provenance"), (sign_engine, "results of its gates")])
def test_an_engine_without_signed_provenance_or_gates_is_not_released(built, sign, missing):
    sign(built.project.store, built.project.key, built.chain)
    with pytest.raises(ReleaseError, match=f"no trusted key has signed the {missing} of {ENGINE}"):
        built.release()


def changed(chain: Chain, asset: str, **changes: Any) -> Chain:
    """``chain`` with another link of ``asset``."""
    return Chain(links=tuple(one.model_copy(update=changes) if one.asset == asset else one for one in chain.links))


def changed_record(chain: Chain, asset: str, **changes: Any) -> Chain:
    [link] = [link for link in chain.links if link.asset == asset]
    return changed(chain, asset, record=link.record.model_copy(update=changes))


def faults_of(built: Built) -> list[str]:
    """What the gate finds wrong, with a fix for it."""
    verdict = built.judge()
    assert verdict.passed == (not verdict.facts["faults"])
    assert bool(verdict.fix) == (not verdict.passed)
    return verdict.facts["faults"]


def test_a_failed_gate_blocks(built):
    failed = tuple(one.model_copy(update={"passed": one.name != "latency"}) for one in built.chain.head.gates)
    built.sign(with_head(built.chain, gates=failed))
    built.release()
    [fault] = faults_of(built)
    assert fault.startswith(f"{ENGINE}: latency failed")


def test_a_gate_that_was_not_evaluated_blocks(built):
    built.sign(with_head(built.chain, gates=tuple(one for one in built.chain.head.gates if one.name != "resources")))
    built.release()
    [fault] = faults_of(built)
    assert fault.startswith(f"{ENGINE}: resources was not evaluated")


def test_a_gate_that_has_failed_since_blocks(signed):
    signed.release()
    later = gate("accuracy", passed=False, run_id="9" * 36, at="2026-06-01T08:00:00+00:00")
    signed.sign(with_head(signed.chain, gates=(later,)))
    assert faults_of(signed) == [f"{ENGINE}: accuracy failed since the release was built"]


@pytest.mark.parametrize("asset", [ENGINE, "small_detector/ptq"])
def test_code_that_was_not_committed_blocks(built, asset):
    built.sign(changed_record(built.chain, asset, git_dirty=True))
    built.release()
    assert faults_of(built) == [f"{asset}: its code was not committed"]


def test_an_ancestor_that_the_store_has_lost_blocks(built):
    built.sign(changed(built.chain, "raw/drawn", version="0" * 32 + ".dir"))
    built.release()
    assert faults_of(built) == [f"raw/drawn: {'0' * 32}.dir is no longer in the store"]


def test_an_ancestor_without_a_record_blocks(built):
    built.sign(changed(built.chain, "small_detector/qat", record=None))
    built.release()
    [fault] = faults_of(built)
    assert fault.startswith("small_detector/qat: there is no record of how ")


def test_a_failed_gate_of_an_ancestor_blocks(built):
    built.sign(changed(built.chain, "small_detector/onnx", gates=(gate("parity", passed=False),)))
    built.release()
    assert faults_of(built) == ["small_detector/onnx: parity failed"]


def test_a_key_that_is_not_trusted_any_more_blocks(signed):
    signed.release()
    other = create_key(signed.scratch / "other.pem")
    distrusting = signed.write_params(trusted_keys=[str(other)])
    assert any("not trusted here" in fault for fault in faults_of(distrusting))


def test_budgets_that_are_looser_than_those_of_the_group_block(signed):
    signed.release()
    strict = signed.write_params(budgets={"latency_ms_p95_max": 4.5, "memory_mib_max": 100})
    assert faults_of(strict) == [
        f"{ENGINE}: latency_ms_p95_max was 5000 (demanded: 4.5 or less); "
        "it was judged without memory_mib_max (demanded: 100)"
    ]


def test_gates_that_were_judged_by_older_budgets_block(signed):
    signed.release()
    [fault] = faults_of(signed.write_params(latency_ms_p95_max=4_000))
    assert fault == f"{ENGINE}: its gates were judged by other budgets than those of params.yaml now"


def test_a_file_that_was_altered_blocks(signed):
    step, _ = signed.release()
    flip_bit(step.output / "small_detector" / REFERENCE)
    verdict = signed.judge()
    assert not verdict.passed
    assert f"small_detector/{REFERENCE} has sha256 " in verdict.summary
    assert verdict.fix == "robot-assets build release/yard"


def save(built: Built, *streams: Any, **changes: Any) -> None:
    built.profile.mkdir(exist_ok=True)
    here = load_manifest(whole().engine).platform_fingerprint
    save_profile(built.profile, profile(*streams, **{"platform_fingerprint": here} | changes))


def test_the_profile_of_the_target_has_to_fit_these_engines(signed):
    profiled = signed.write_params(has_profile=True)
    md5 = load_manifest(whole().engine).engine_md5
    measured = stream("small_detector", run(), engine_md5=md5)
    save(profiled, measured)
    profiled.release()
    assert faults_of(profiled) == []
    save(profiled, stream("small_detector", run(late=200), engine_md5=md5))
    assert [fault.split(":")[0] for fault in faults_of(profiled)] == ["profile/cpu"]
    save(profiled, measured, platform_fingerprint="0" * 32)
    assert faults_of(profiled) == ["profile/cpu was measured on another device"]
    save(profiled, stream("small_detector 2", run()))
    assert faults_of(profiled) == ["profile/cpu was measured with another engine of small_detector"]
    save(profiled, stream("small_detector_large", run()))
    assert faults_of(profiled) == ["profile/cpu has no measurement of small_detector"]


def test_every_function_that_runs_is_covered_by_the_code_version(signed):
    outside = (
        "robot_assets.core.plugins",
        "robot_assets.lineage.code",
        "robot_assets.pipeline.kind",
        "robot_assets.tasks.task",
        "robot_assets.store",
        "robot_assets.pipeline.project",  # handed in by the caller
        "robot_assets.fleet",  # publishes a release, and decides no byte of it
    )
    profiled = signed.write_params(has_profile=True)
    save(profiled, stream("small_detector", run(), engine_md5=load_manifest(whole().engine).engine_md5))
    code, step, gate_step = Code(), profiled.step(), profiled.gate_step()
    runs = {step.stage.code: lambda: KIND.production.run(step)}
    runs |= {gate_step.gates[0].code: lambda: KIND.production.judge(gate_step)}
    for entries, action in runs.items():
        load(entries)
        called = called_during(action, outside)
        assert called
        assert [f"{module}:{name}" for module, name in called if not code.covers(entries, module, name)] == []


def test_how_a_release_is_published_is_no_part_of_its_code_version():
    stage = build_graph(parse_params(document()))["release/yard"]
    assert not [name for name in running_code().definitions(stage.code) if name.startswith("robot_assets.fleet.repo")]


def test_a_release_is_published_where_there_is_a_repository_and_its_key(signed):
    fleet = signed.project.params.fleet
    repository = open_repository(signed.project.root, fleet)
    Repository.create(repository.files, repository.keys, repository.place.root)
    step, made = signed.release()
    version = signed.project.store.digest_of(step.output).digest
    sha256 = hashlib.sha256((step.output / BUNDLE_FILE).read_bytes()).hexdigest()
    assert made.is_published
    assert repository.bundle_sha256("yard", version) == sha256
    notes: list[str] = []
    assert publish(signed.project, "yard", version, step.output, notes.append)
    assert "already published at" in notes[0]


def test_without_the_key_of_releases_it_says_so_and_publishes_nothing(signed):
    repository = open_repository(signed.project.root, signed.project.params.fleet)
    Repository.create(repository.files, repository.keys, repository.place.root)
    key_file(repository.keys, RELEASES_ROLE).unlink()
    step, made = signed.release()
    assert not made.is_published
    notes: list[str] = []
    assert not publish(signed.project, "yard", "0" * 32 + ".dir", step.output, notes.append)
    assert f"{repository.keys} has no key of the role releases" in notes[0]
