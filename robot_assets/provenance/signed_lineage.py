"""The lineage of an engine as trusted keys have signed it: where it comes from, and which gates passed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robot_assets.provenance.evidence import gather
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.subjects import differences, read_subjects
from robot_assets.provenance.verify import read_envelopes
from robot_assets.store import Store


@dataclass(frozen=True)
class SignedLineage:
    """Verified statements about exactly the files of one engine directory.

    Attributes:
        asset: Name of the engine.
        version: Its data version.
        built_at: When the build had finished, ISO 8601.
        run_id: The run that built it.
        gates_passed: Gates that passed.
        gates_failed: Gates that failed.
        gates_open: Expected gates that were not evaluated.
    """

    asset: str
    version: str
    built_at: str
    run_id: str
    gates_passed: tuple[str, ...] = ()
    gates_failed: tuple[str, ...] = ()
    gates_open: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data for a machine."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def signed_lineage(engine: Path, trusted: Trust, store: Store | None = None) -> SignedLineage | None:
    """What trusted keys have signed about exactly the files of ``engine``; None where they have signed nothing.

    Args:
        engine: Directory of the engine.
        trusted: Whose signatures count.
        store: Has the envelopes when none are beside the engine.

    Raises:
        ProvenanceError: The files or the envelopes cannot be read.
        StoreError: The store cannot be read.
    """
    subjects = read_subjects(engine)
    evidence = gather(read_envelopes(engine, store), subjects, trusted)
    made, gates = evidence.provenance, evidence.gates
    if made is None or differences(subjects, made.subjects):
        return None
    return SignedLineage(
        asset=made.asset,
        version=made.version,
        built_at=made.made_at.isoformat(),
        run_id=made.run_id,
        gates_passed=gates.passed_gates if gates else (),
        gates_failed=gates.failed_gates if gates else (),
        gates_open=gates.open_gates if gates else (),
    )
