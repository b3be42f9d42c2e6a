"""Takes one release from the repository to a complete, verified folder on the robot."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

from robot_assets.agent.device import DeviceWatch
from robot_assets.agent.download import Damaged, Download, Throttle
from robot_assets.agent.journal import Journal
from robot_assets.agent.parts import Parts
from robot_assets.agent.sets import Sets
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.transport import TooLong, Transport
from robot_assets.agent.trusted import Known, TrustedRepository
from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.layout import RELEASES_ROLE
from robot_assets.fleet.reports import State
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, parse_bundle

MIB = 1 << 20
ROUND_S = 60.0
"""Time after which a download stops, to look at what is assigned, and goes on."""

BACKOFF_FROM = 3
BACKOFF_S = (60.0, 3600.0)
"""First and longest wait before a file that has arrived damaged several times is read again."""


class Refused(AgentError):
    """A release does not verify: it has failed on this robot."""


class Preparation:
    """The release that is being prepared.

    Args:
        robot: The robot.
        parts: What the agent calls.
        sets: The releases on the robot.
        repository: The trusted metadata.
        transport: Where the files are.
        journal: The state.
        device: This device.

    Attributes:
        is_interrupted: Whether a download has stopped after some time, and goes on at once.
        is_stopping: Whether the agent is to end: a download stops at its next chunk.
    """

    def __init__(
        self,
        robot: RobotSpec,
        parts: Parts,
        sets: Sets,
        repository: TrustedRepository,
        transport: Transport,
        journal: Journal,
        device: DeviceWatch,
    ) -> None:
        self._robot = robot
        self._parts = parts
        self._sets = sets
        self._repository = repository
        self._transport = transport
        self._journal = journal
        self._device = device
        self.is_interrupted = False
        self.is_stopping = False
        self._download: tuple[str, Download] | None = None
        self._ready: str | None = None
        self._authorized: tuple[int, str, bytes] | None = None
        self._failures = 0
        self._not_before = -math.inf

    @property
    def is_waiting(self) -> bool:
        """Whether files arrived damaged so often that the next attempt waits."""
        return self._parts.monotonic() < self._not_before

    def drop(self) -> None:
        """Forget the release; what is on the disk of it is used again, or evicted."""
        self._download = self._ready = None

    def prepare(self, release: str, assigned: Assignments, look: int) -> bool:
        """Download and verify a release; whether it is ready.

        Args:
            release: Its data version.
            assigned: The assignments that name it.
            look: Number of the look that they are from.

        Raises:
            Refused: It does not verify.
            AgentError: It is for another device, does not fit on the disk, or cannot be read.
            OSError: The disk refuses.
        """
        if self._ready == release and self._sets.has(release):
            return True
        content = self.authorize(release, assigned, look)
        bundle = parse_bundle(content)
        if misfit := self._device.misfit(bundle, release):
            self._journal.save(next=release)
            raise AgentError(misfit, needed="a release for this device", fix="robot-assets build   # in the project")
        if not self._sets.has(release) and not self._fetch(release, bundle, content):
            return False
        self._verify(release)
        if not self._sets.has(release):
            self._sets.add(release)
        self._download, self._ready = None, release
        return True

    def authorize(self, release: str, assigned: Assignments, look: int) -> bytes:
        """``bundle.json`` of a release, which both roles name now: nothing was published since they were asked.

        Raises:
            Untrusted: The role ``releases`` does not name it.
            AgentError: The repository cannot be read.
        """
        if self._authorized is None or self._authorized[:2] != (look, release):
            content = self._ask(release, str(assigned.bundle_sha256))
            self._authorized = (look, release, content)
        return self._authorized[2]

    def folder(self, release: str) -> Path:
        """Where the files of a release are, complete or not."""
        return self._sets.folder(release) if self._sets.has(release) else self._sets.download(release)

    def _ask(self, release: str, sha256: str) -> bytes:
        state = self._journal.state
        kept = _bytes_of(self.folder(release) / BUNDLE_FILE)
        known = Known(state.versions, state.known_time)
        content, version = self._repository.bundle(release, sha256, known, self._parts.now(), kept)
        self._journal.save(versions={**state.versions, RELEASES_ROLE: version})
        if self._sets.has(release) and hashlib.sha256(kept).hexdigest() != sha256:
            self._sets.demote(release)
        return content

    def _fetch(self, release: str, bundle: Bundle, content: bytes) -> bool:
        """Download what is missing; whether the release is complete."""
        self._journal.save(state=State.DOWNLOADING, next=release, why=self._journal.joined())
        download = self._download_of(release, bundle, content)
        state = self._journal.state
        self._sets.evict([one for one in (state.current, state.last_good, release) if one])
        reusable = self._sets.reusable(but=release)
        download.reserve(reusable, int(self._robot.reserve_mib * MIB))
        try:
            done = download.run(self._transport, reusable, self._end_of_round())
        except (Damaged, TooLong):
            self._back_off()
            raise
        self.is_interrupted, self._failures = not done, 0
        return done

    def _download_of(self, release: str, bundle: Bundle, content: bytes) -> Download:
        if self._download is None or self._download[0] != release or self._download[1].content != content:
            limit = self._robot.bandwidth_mib_s
            throttle = Throttle(limit * MIB if limit else None)
            self._download = (release, Download(bundle, content, self._sets.download(release), throttle))
        return self._download[1]

    def _end_of_round(self) -> Callable[[], bool]:
        until = self._parts.monotonic() + max(self._robot.poll_s, min(self._robot.report_s, ROUND_S))
        return lambda: self.is_stopping or self._parts.monotonic() > until

    def _back_off(self) -> None:
        """Read what arrives damaged less and less often."""
        first, longest = BACKOFF_S
        self._failures += 1
        over = self._failures - BACKOFF_FROM
        if over >= 0:
            self._not_before = self._parts.monotonic() + min(first * 2.0 ** min(over, 20), longest)

    def _verify(self, release: str) -> None:
        self._journal.save(state=State.VERIFYING, next=release, why=self._journal.joined())
        try:
            self._parts.verify(self.folder(release), self._robot)
        except RobotAssetsError as error:
            raise Refused(error.found, needed=error.needed, fix=error.fix) from None


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
