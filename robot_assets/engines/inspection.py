"""What an engine is, in plain data: its manifest, its layers, whether it runs here, and what was signed about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import RobotAssetsError
from robot_assets.platforms.probe import probe
from robot_assets.runtime.engine import refuse_other_bytes
from robot_assets.runtime.manifest import OnnxRuntimeManifest, load_manifest

if TYPE_CHECKING:
    from robot_assets.pipeline.project import Project


def describe_engine(engine: Path, project: Project | None = None, *, with_layers: bool = False) -> dict[str, Any]:
    """Look at an engine without running it; it may be one for another device.

    Args:
        engine: Directory of the engine.
        project: Where its signed statements are, and whose keys count; None on a robot.
        with_layers: Whether to list every layer. For an engine of ONNX Runtime it has to be loaded for that.

    Raises:
        EngineError: There is no whole engine.
    """
    manifest = load_manifest(engine)
    refuse_other_bytes(engine / manifest.engine_file, manifest.engine_md5)
    here = probe()
    files = {path.name: path.stat().st_size for path in sorted(engine.iterdir()) if path.is_file()}
    found: dict[str, Any] = {
        "directory": str(engine),
        "files": files,
        "runs_here": here.fingerprint == manifest.platform_fingerprint,
        "here": here.as_json(),
        "manifest": manifest.model_dump(mode="json", exclude={"layers"}),
    }
    if with_layers:
        from robot_assets.engines.comparison import layers_of

        found["layers"] = [layer.model_dump(mode="json") for layer in layers_of(engine, manifest)]
    if project is not None and (lineage := _lineage(engine, project)):
        found["lineage"] = lineage
    if isinstance(manifest, OnnxRuntimeManifest):
        found["threads"] = manifest.threads
    return found


def _lineage(engine: Path, project: Project) -> dict[str, Any] | None:
    """What trusted keys say about exactly these files; None where nothing is said."""
    from robot_assets.provenance.evidence import gather
    from robot_assets.provenance.keys import trust_of
    from robot_assets.provenance.subjects import differences, read_subjects
    from robot_assets.provenance.verify import read_envelopes

    try:
        subjects = read_subjects(engine)
        evidence = gather(read_envelopes(engine, project.store), subjects, trust_of(project))
    except RobotAssetsError:  # no key, no store: an engine can be looked at all the same
        return None
    made, gates = evidence.provenance, evidence.gates
    if made is None or differences(subjects, made.subjects):
        return None
    return {
        "asset": made.asset,
        "version": made.version,
        "built_at": made.made_at.isoformat(),
        "run_id": made.run_id,
        "gates_passed": list(gates.passed_gates) if gates else [],
        "gates_failed": list(gates.failed_gates) if gates else [],
        "gates_open": list(gates.open_gates) if gates else [],
    }
