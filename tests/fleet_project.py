"""A project with a distribution repository, enrolled robots, releases and signed reports, without any training."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.desired import ROBOTS_FILE, open_repository
from robot_assets.fleet.layout import report as report_path
from robot_assets.fleet.reports import Report, State, sign_report
from robot_assets.fleet.repository import Repository
from robot_assets.pipeline.project import Project
from robot_assets.provenance.public_key import PublicKey
from tests.cli.commands import Finished
from tests.sample_params import sample_document
from tests.small_release import SmallRelease, small_release

GROUP = "outdoor"
ROBOTS = ("canary", "delivery_1", "delivery_2", "delivery_3")


@dataclass
class FleetProject:
    """A project folder with one group of robots.

    Attributes:
        root: The folder.
        releases: What was published, by name.
        sequence: Of the last report.
    """

    root: Path
    releases: dict[str, SmallRelease] = field(default_factory=dict)
    sequence: int = 0

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def repository(self) -> Repository:
        return open_repository(self.root, self.project.params.fleet)

    @property
    def text(self) -> str:
        return (self.root / "params.yaml").read_text()

    def release(self, name: str, **options: Any) -> SmallRelease:
        """Build a release and publish it; others have other engines."""
        folder = self.root / "built" / name
        made = small_release(folder, group=GROUP, seed=len(self.releases), **options)
        self.repository.publish_release(GROUP, made.version, folder)
        self.releases[name] = made
        return made

    def assign(self, name: str, *install: str) -> None:
        """Publish who may have a release."""
        made, now = self.releases[name], datetime.now(UTC)
        given = {"release": made.version, "bundle_sha256": made.bundle_sha256, "issued_at": now.isoformat()}
        self.repository.publish_assignments(Assignments(group=GROUP, install=install, **given), now)

    def report(self, robot: str, running: str | None, **given: Any) -> None:
        """The robot sends a report; ``running`` is the name of a release, or a version."""
        self.sequence += 1
        made = self.releases.get(running or "")
        fields = {"state": State.COMMITTED if running else State.IDLE, "healthy_s": 30.0, "fingerprint": "f" * 32}
        report = Report(
            robot=robot,
            group=GROUP,
            sequence=self.sequence,
            at=datetime.now(UTC).isoformat(),
            running=made.version if made else running,
            **{**fields, **given},
        )
        self.repository.files.write(report_path(GROUP, robot), sign_report(report, CryptoSigner(_private(robot))))


def fleet_project(root: Path, **group: Any) -> FleetProject:
    """A project without releases and reports, whose robots are enrolled; ``group`` replaces keys of its group."""
    document = sample_document()
    spec = {"robots": ["canary", "delivery_*"], "target": "cpu", "models": ["sidewalk_detector"], **group}
    document["fleet"] = {"groups": {GROUP: spec}}
    (root / "data" / "fleet").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (root / ROBOTS_FILE).write_text("".join(f"{robot}: {public(robot)}\n" for robot in ROBOTS))
    made = FleetProject(root)
    place = made.repository
    Repository.create(place.files, place.keys, place.place.root)
    return made


def run_here(*arguments: str, code: int = 0, home: Path | None = None) -> Finished:
    """Run one command line in this process and folder; its exit code has to be ``code``.

    As its entry point does, but with the present standard streams.
    """
    from robot_assets.cli.edge import readable_errors
    from robot_assets.cli.main import _invoke

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    environment = {"COLUMNS": "160", **({"DAGSTER_HOME": str(home)} if home else {})}
    with mock.patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(err):
        try:
            with readable_errors(arguments):
                found = _invoke(list(arguments))
        except SystemExit as done:
            found = int(done.code or 0)
    finished = Finished(*(_text(stream) for stream in (out, err)))
    assert found == code, finished
    assert "Traceback" not in finished.err
    return finished


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    content: bytes = stream.buffer.getvalue()  # type: ignore[attr-defined]
    return content.decode()


def public(robot: str) -> PublicKey:
    """The public key of a robot."""
    return PublicKey(_private(robot).public_key().public_bytes_raw())


def _private(robot: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(robot.encode()).digest())
