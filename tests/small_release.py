"""A small real release without training: engines of a tiny Q/DQ graph for this machine, signed by a key of the test.

The engines run on this machine, reproduce their reference answers, and have signed statements. Options make a release
that a robot has to refuse; ``bundle.json`` is consistent in all of them, as the cluster would have built it.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_assets.core.documents import write_json
from robot_assets.engines.load import load_manifest
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.code import CODE_RULE
from robot_assets.lineage.record import Record, desired_state
from robot_assets.provenance.envelope import sign
from robot_assets.provenance.public_key import PublicKey, Trust
from robot_assets.provenance.statements import gates_statement, provenance_statement
from robot_assets.provenance.subjects import read_subjects, version_of
from robot_assets.release.building import Ingredients, build_release
from robot_assets.release.bundle import BUNDLE_FILE, Bundle
from robot_assets.release.reference import Reference
from robot_assets.runtime.manifest import save_manifest
from robot_assets.runtime.preprocess import to_input
from robot_assets.store.tree import tree_of

IMAGES = 2
SIZE = 16
BUDGETS: Mapping[str, Mapping[str, float]] = {
    "accuracy": {"accuracy_drop_points_max": 1.0},
    "parity": {"parity_differing_share_max": 0.01},
    "latency": {"latency_ms_p95_max": 10_000.0},
    "resources": {"memory_mib_max": 2_000.0},
}
OTHER_FINGERPRINT = "0123456789abcdef" * 2
_SEED = bytes(range(1, 33))


@dataclass(frozen=True)
class SmallRelease:
    """A release on disk.

    Attributes:
        path: Its directory.
        version: Its data version, as a store would give it, with ``.dir``.
        bundle: The content of its bundle.json.
        bundle_sha256: sha256 of its bundle.json.
        key: Whose signatures the engines have.
    """

    path: Path
    version: str
    bundle: Bundle
    bundle_sha256: str
    key: PublicKey

    @property
    def trust(self) -> Trust:
        """Trust in the key of the engines."""
        return Trust((self.key,))

    @property
    def key_line(self) -> str:
        """The key as ``trusted_keys`` has it."""
        return str(self.key)


def small_release(
    folder: Path,
    *,
    group: str = "robots",
    target: str = "cpu",
    seed: int = 0,
    models: Sequence[str] = ("small",),
    gates_passed: bool = True,
    wrong_reference: bool = False,
    wrong_fingerprint: bool = False,
    too_slow: bool = False,
    budgets: Mapping[str, float | None] | None = None,
    differing_share: float = 0.0,
    key_seed: bytes = _SEED,
    made_at: str = "2026-03-01T08:00:00+00:00",
    dataset_version: str | None = None,
    git_dirty: bool = False,
    padding_bytes: int = 0,
    decoder_code: str | None = None,
) -> SmallRelease:
    """Write a release to ``folder``, which may not exist yet. Equal options give equal bytes.

    Args:
        folder: Where to write it.
        group: Its group of robots.
        target: Its target.
        seed: Other seeds give other engines, so other versions.
        models: Names of its models.
        gates_passed: False: the signed statement says that the gate ``accuracy`` has failed.
        wrong_reference: Whether the reference answers are those of another network.
        wrong_fingerprint: Whether the engines are for another device than this machine.
        too_slow: Whether the budget of latency is one that no machine keeps.
        budgets: Budgets that replace those of :data:`BUDGETS`, by name; None: there is no such budget.
        differing_share: Share of the values that the gate ``parity`` has measured.
        key_seed: 32 bytes, of the key that signs.
        made_at: When the engines were built, ISO 8601 with a time zone.
        dataset_version: Version of ``datasets/drawn`` in the signed lineage; by default one that follows from ``seed``.
        git_dirty: Whether the signed lineage says that the code was not committed.
        padding_bytes: Size of one more file of each engine, for downloads that take a while.
        decoder_code: Code version of the decoder that the engines were built with; None: the one of the installed code.
    """
    options = _Options(
        target=target,
        seed=seed,
        gates_passed=gates_passed,
        wrong_fingerprint=wrong_fingerprint,
        budgets={**(budgets or {}), **({"latency_ms_p95_max": 1e-6} if too_slow else {})},
        differing_share=differing_share,
        key_seed=key_seed,
        made_at=made_at,
        git_dirty=git_dirty,
        padding_bytes=padding_bytes,
        decoder_code=decoder_code,
    )
    dataset = dataset_version or hashlib.md5(f"dataset {seed}".encode()).hexdigest() + ".dir"
    key = public_key(key_seed)
    with tempfile.TemporaryDirectory() as scratch:
        ingredients = [_ingredients(name, options, dataset, wrong_reference, Path(scratch, name)) for name in models]
        build_release(group, target, ingredients, Trust((key,)), folder)
    return opened(folder, key)


def opened(folder: Path, key: PublicKey) -> SmallRelease:
    """The release that is in ``folder``."""
    content = (folder / BUNDLE_FILE).read_bytes()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    version = tree_of((path.relative_to(folder).as_posix(), _md5(path)) for path in files).digest
    bundle = Bundle.model_validate_json(content)
    return SmallRelease(folder, version, bundle, hashlib.sha256(content).hexdigest(), key)


def with_new_hashes(release: SmallRelease) -> SmallRelease:
    """The release after its files were changed: with a bundle.json that lists what is there now."""
    files = [path for path in sorted(release.path.rglob("*")) if path.is_file() and path.name != BUNDLE_FILE]
    listed = [
        {
            "path": path.relative_to(release.path).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in files
    ]
    write_json(release.path / BUNDLE_FILE, {**release.bundle.model_dump(mode="json"), "files": listed})
    return opened(release.path, release.key)


def public_key(seed: bytes = _SEED) -> PublicKey:
    """The public half of a key of the test."""
    return PublicKey(_private(seed).public_key().public_bytes_raw())


@dataclass(frozen=True)
class _Options:
    target: str
    seed: int
    gates_passed: bool
    wrong_fingerprint: bool
    budgets: Mapping[str, float | None]
    differing_share: float
    key_seed: bytes
    made_at: str
    git_dirty: bool
    padding_bytes: int
    decoder_code: str | None


def _ingredients(model: str, options: _Options, dataset: str, wrong_reference: bool, engine: Path) -> Ingredients:
    built, images, heads = _built(f"{model} {options.seed}")
    if wrong_reference:
        heads = tuple(head + 1 for head in heads)
    shutil.copytree(built, engine)
    if changes := _manifest_changes(options, engine):
        save_manifest(engine, load_manifest(engine).model_copy(update=changes))
    if options.padding_bytes:
        (engine / "padding.bin").write_bytes(np.random.default_rng(options.seed).bytes(options.padding_bytes))
    asset = f"{model}/engine/{options.target}"
    chain = _chain(asset, engine, options, dataset)
    return Ingredients(
        model, asset, engine, _envelopes(chain, engine, options.key_seed), Reference(images, heads), IMAGES
    )


def _manifest_changes(options: _Options, engine: Path) -> dict[str, object]:
    """Fields of the manifest that are other than what was built here."""
    changes: dict[str, object] = {}
    if options.decoder_code is not None:
        changes["decoder_code"] = options.decoder_code
    if options.wrong_fingerprint:
        platform = {**load_manifest(engine).platform, "onnxruntime": "1.0.0"}
        changes |= {"platform_fingerprint": OTHER_FINGERPRINT, "platform": platform}
    return changes


def _chain(asset: str, engine: Path, options: _Options, dataset: str) -> Chain:
    version, onnx = version_of(read_subjects(engine)), f"{asset.split('/')[0]}/onnx"
    fingerprint, onnx_version = load_manifest(engine).platform_fingerprint, load_manifest(engine).onnx_md5 + ".dir"
    gates = tuple(_gate(name, stated, options) for name, stated in BUDGETS.items())
    inputs = {onnx: onnx_version, f"platform/{options.target}": fingerprint}
    built = _record(asset, version, inputs, options)
    exported = _record(onnx, onnx_version, {"datasets/drawn": dataset}, options)
    head = Link(
        asset=asset, version=version, record=built, gates=gates, expected_gates=tuple(gate.name for gate in gates)
    )
    links = (
        head,
        Link(asset=onnx, version=onnx_version, record=exported),
        Link(asset="datasets/drawn", version=dataset, observed_at=options.made_at),
        Link(asset=f"platform/{options.target}", version=fingerprint, holds_bytes=False, observed_at=options.made_at),
    )
    return Chain(links=links)


def _gate(name: str, stated: Mapping[str, float], options: _Options) -> GateRecord:
    given = {key: value for key, value in options.budgets.items() if key in _names_like(stated)}
    facts = {key: value for key, value in {**stated, **given}.items() if value is not None}
    parity = {"differing_share": options.differing_share, "images": IMAGES}
    figures = {"parity": parity, "latency": {"latency_ms_p95": 1.0}}.get(name, {})
    passed = options.gates_passed or name != "accuracy"
    return GateRecord(
        name=name,
        passed=passed,
        summary=f"{name} {'passed' if passed else 'failed'}",
        facts={**figures, **facts},
        run_id="5b1d2c33-0b7e-4f0e-9f5a-2d8a51f1c0aa",
        evaluated_at=options.made_at,
    )


def _names_like(stated: Mapping[str, float]) -> set[str]:
    """The budgets of the gate whose budgets ``stated`` has some of."""
    from robot_assets.engines.budgets import BUDGETS as GATES

    return {name for names in GATES.values() if set(names) & set(stated) for name in names}


def _record(asset: str, version: str, inputs: Mapping[str, str], options: _Options) -> Record:
    code = hashlib.md5(f"code of {asset}".encode()).hexdigest()
    return Record(
        asset=asset,
        data_version=version,
        code_version=code,
        desired_state=desired_state(asset, code, dict(inputs)),
        inputs=dict(inputs),
        params={},
        code={"robot_assets.engines.onnxruntime.build:build_engine": "d" * 12},
        code_rule=CODE_RULE,
        git_commit="0123456789abcdef0123456789abcdef01234567",
        git_dirty=options.git_dirty,
        image=None,
        node="orin-07",
        libraries={"onnxruntime": "1.32.0"},
        size_bytes=1,
        files=1,
        started_at=options.made_at,
        duration_s=1.25,
        run_id="5b1d2c33-0b7e-4f0e-9f5a-2d8a51f1c0aa",
    )


def _envelopes(chain: Chain, engine: Path, key_seed: bytes) -> list[bytes]:
    from securesystemslib.signer import CryptoSigner

    signer, subjects = CryptoSigner(_private(key_seed)), read_subjects(engine)
    alone = [
        Chain(links=(chain.head.model_copy(update={"gates": (gate,)}), *chain.links[1:])) for gate in chain.head.gates
    ]
    payloads = [provenance_statement(chain, subjects), *(gates_statement(one, subjects) for one in alone)]
    return [sign(payload, signer) for payload in payloads]


def _private(seed: bytes):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed)


@functools.cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="small_release_")


@functools.cache
def _built(name: str) -> tuple[Path, np.ndarray, tuple[np.ndarray, ...]]:
    """An engine, images, and its answers on them; built once a process."""
    from robot_assets.engines.load import load_engine
    from robot_assets.engines.onnxruntime.build import build_engine
    from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget
    from tests.engines.qdq_graphs import Graph, write_artifact

    seed = int.from_bytes(hashlib.md5(name.encode()).digest()[:4])
    folder = Path(_root().name, hashlib.md5(name.encode()).hexdigest())
    graph = Graph((1, 3, SIZE, SIZE))
    graph.rng = np.random.default_rng(seed)
    inner = graph.node("Relu", graph.convolution(graph.quantized("images", 1.0), 3, 8))
    output = graph.convolution(graph.quantized(inner), 8, 2)
    folder.mkdir()
    write_artifact(folder / "onnx", graph.model(output))
    build_engine(folder / "onnx", OnnxRuntimeTarget(threads=1), folder / "engine")
    images = graph.rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    with load_engine(folder / "engine") as engine:
        each = [engine.infer(to_input(images[row : row + 1], engine.manifest.input)) for row in range(IMAGES)]
    return folder / "engine", images, tuple(np.concatenate(heads) for heads in zip(*each, strict=True))


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
