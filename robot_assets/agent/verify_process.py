"""Verifies a release in a process of its own: ``python -m robot_assets.agent.verify_process``.

That probes the device, for which it imports the runtimes of engines; the agent stays small.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from robot_assets.agent.light_imports import import_signers
from robot_assets.agent.spec import RobotSpec
from robot_assets.core.spec import Spec
from robot_assets.fleet.errors import AgentError

_MODULE = "robot_assets.agent.verify_process"
_LONGEST_S = 600


class _Request(Spec):
    """What to verify, and by what."""

    release: str
    trusted_keys: tuple[str, ...]
    budgets: dict[str, float]
    group: str


class _Refusal(Spec):
    """Why a release does not verify."""

    found: str
    needed: str
    fix: str


class _Answer(Spec):
    """The result; without a refusal, it verifies."""

    refusal: _Refusal | None = None


def verify(release: Path, robot: RobotSpec) -> None:
    """Verify a release against the keys and budgets of the robot and against this device.

    Raises:
        AgentError: It does not verify.
        ChildProcessError: The verification did not end by itself, and says nothing of the release.
    """
    request = _Request(
        release=str(release),
        trusted_keys=robot.trusted_keys,
        budgets=robot.budgets.model_dump(exclude_none=True),
        group=robot.group,
    )
    command = [sys.executable, "-m", _MODULE]
    try:
        done = subprocess.run(
            command, input=request.model_dump_json(), capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
        answer = _Answer.model_validate_json(done.stdout.splitlines()[-1] if done.stdout else "")
    except (subprocess.TimeoutExpired, ValidationError) as error:
        lines = done.stderr.strip().splitlines() if isinstance(error, ValidationError) else []
        raise ChildProcessError(f"the verification of a release ended early: {lines[-1] if lines else error}") from None
    if (refusal := answer.refusal) is not None:
        raise AgentError(refusal.found, needed=refusal.needed, fix=refusal.fix)


def main() -> None:
    """Read a request from standard input; write the answer as the last line of standard output."""
    import_signers()
    from robot_assets.core.errors import RobotAssetsError
    from robot_assets.platforms.probe import probe
    from robot_assets.provenance.public_key import Trust, parse_public_key
    from robot_assets.release.verifying import verify_release

    request = _Request.model_validate_json(sys.stdin.read())
    try:
        verify_release(
            Path(request.release),
            Trust(tuple(parse_public_key(line) for line in request.trusted_keys)),
            platform=probe(require_runtime=False),
            demanded=request.budgets,
            group=request.group,
        ).require()
    except RobotAssetsError as error:
        refusal = {"found": error.found, "needed": error.needed, "fix": error.fix}
        print(json.dumps({"refusal": refusal}))
    else:
        print(json.dumps({"refusal": None}))


if __name__ == "__main__":
    main()
