"""The agent of a robot: one look at what is assigned, and all that can be done about it now.

Every step is idempotent. What a step is about to do is in ``state.json`` before it has an effect, so after a kill at
any point the next :meth:`Agent.once` goes on, or goes back. Nothing that the network, the disk or the repository does
ends the agent: it is held, says why, and what serves goes on serving.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import re
from dataclasses import dataclass
from datetime import datetime

from robot_assets.agent import recovery
from robot_assets.agent.device import Device, differences
from robot_assets.agent.download import Damaged, Download, Throttle
from robot_assets.agent.parts import Parts
from robot_assets.agent.reporting import compose, next_sequence, should_send
from robot_assets.agent.sets import Sets, sha256_of
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.state import ASSIGNMENTS_FILE, AgentState, note_look, replace_file, write_state
from robot_assets.agent.transport import Missing, TooLong, Transport, Unreachable, transport_of
from robot_assets.agent.trusted import Known, Look, TrustedRepository, parse_assignments, window_of
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.os_errors import system_error
from robot_assets.core.text import escaped
from robot_assets.fleet.assignments import Assignments, Recall
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import IN_PROGRESS, Failure, Report, State
from robot_assets.lineage.spec import QuietSpec
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, parse_bundle

MIB = 1 << 20
FAILURES_KEPT = 50
DEVICE_AGE_MAX_S = 3600.0
MISFIT_AGE_MAX_S = 600.0
BACKOFF_S = (60.0, 3600.0)
"""First and longest wait before a file that has arrived damaged several times is read again."""

BACKOFF_FROM = 3
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

VERIFIED_AGE_MAX_S = 86_400.0
PROVE_DEFAULT_S = 60.0


@dataclass
class Health:
    """Health of what serves, as this process has seen it.

    Attributes:
        seen_at: The last look, monotonic seconds; None: none yet.
        healthy_from: Since when it is healthy without a break; None: it is not.
        unhealthy_from: Since when it is not; None: it is.
        why: Why it is not.
    """

    seen_at: float | None = None
    healthy_from: float | None = None
    unhealthy_from: float | None = None
    why: str = ""

    def see(self, why: str | None, now: float) -> float:
        """Note a look; the seconds of health since the last one."""
        was = self.healthy_from is not None
        passed = now - self.seen_at if was and why is None and self.seen_at is not None else 0.0
        self.seen_at, self.why = now, why or ""
        if why is None:
            self.unhealthy_from = None
            self.healthy_from = self.healthy_from if was else now
        else:
            self.healthy_from = None
            self.unhealthy_from = self.unhealthy_from if self.unhealthy_from is not None else now
        return passed


class Agent:
    """The agent.

    Args:
        robot: The robot.
        parts: What the agent calls.
        transport: Where the repository is; by default the URL of robot.yaml.
    """

    def __init__(self, robot: RobotSpec, parts: Parts | None = None, transport: Transport | None = None) -> None:
        self.robot = robot
        self.parts = parts or Parts()
        self.sets = Sets(robot.state)
        self.transport = transport or transport_of(robot.url)
        self.repository = TrustedRepository(robot, self.transport)
        self.assignments: Assignments | None = None
        self._kept = b""
        self.is_stopping = False
        """Set by a signal: a download stops at its next chunk."""
        self._state: AgentState | None = None
        self._unread = AgentState()
        self._trouble: RobotAssetsError | None = None
        self._health = Health()
        self._healthy_s = 0.0
        self._is_proven = False
        self._download: tuple[str, Download] | None = None
        self._is_download_open = False
        self._prepared: str | None = None
        self._look_count = 0
        self._looked: Look | None = None
        self._authorized: tuple[int, str, bytes] | None = None
        self._failures = 0
        self._not_before = -math.inf
        self._device: tuple[float, Device] | None = None
        self._verified_at = 0.0
        self._recalled: dict[tuple[str, tuple[Recall, ...]], Recall | None] = {}
        self._notes: list[str] = []
        self._is_held = False
        self._last_report: Report | None = None
        self._reported_at = 0.0
        self._is_report_delivered = True
        self._logged: dict[str, str] = {}

    @property
    def state(self) -> AgentState:
        """The present state."""
        return self._state or self._unread

    @property
    def trouble(self) -> RobotAssetsError | None:
        """Why the repository could not be read or trusted at the last look; None: it was."""
        return self._trouble

    @property
    def is_downloading(self) -> bool:
        """Whether a download was interrupted after some time, to look at what is assigned, and goes on at once."""
        return self._is_download_open

    def once(self) -> AgentState:
        """Look at what is assigned, and do what can be done about it now."""
        if self.recover():
            self._look()
        return self.step(is_poll=True)

    def step(self, *, is_poll: bool = False) -> AgentState:
        """Go on without a new look; used while a release is proven."""
        self._notes, self._is_held, self._is_download_open = [], False, False
        if self._state is not None:
            try:
                self._go_on()
            except (RobotAssetsError, OSError) as error:
                self._hold(error)
        self._tell(is_poll)
        return self.state

    # ---- start ----------------------------------------------------------------------------------------------------

    def recover(self) -> bool:
        """Take up the state of the last process, once; whether that was possible."""
        if self._state is not None:
            return True
        try:
            self._start()
        except (RobotAssetsError, OSError) as error:
            self._state = None  # read again at the next poll; a state that was not read is not replaced
            self._unread = AgentState(state=State.HELD, why=_in_three_parts(error).found)
            return False
        return True

    def _start(self) -> None:
        boot_id = self.parts.boot_id()
        loaded = recovery.load(self.robot.state, self.sets, boot_id)
        found = recovery.recovered(loaded.state, self.sets, boot_id)
        self._kept = self._kept_assignments()
        self.assignments = parse_assignments(self._kept, self.robot.group) if self._kept else None
        if loaded.note:
            self.parts.log(loaded.note)
        if loaded.note or found.state != loaded.state:
            write_state(self.robot.state, found.state)
        self._state, self._healthy_s = found.state, found.state.healthy_s
        if found.roll_back:
            self._roll_back(found.roll_back)
        else:
            self._check_set()

    def _kept_assignments(self) -> bytes:
        path = self.robot.state / ASSIGNMENTS_FILE
        try:
            content = path.read_bytes()
            parse_assignments(content, self.robot.group)
        except (OSError, RobotAssetsError):
            return b""
        return content

    def _check_set(self) -> None:
        """Compare the files of ``current`` with its release, at the start and once a day: disks lose bits."""
        self._verified_at = self.parts.monotonic()
        current = self.state.current
        if current is None:
            return
        why = self.sets.damage(current) if self.sets.has(current) else "it is missing"
        if why is None:
            return
        self.parts.log(f"release {current} is damaged: {why}")
        self._go_back(None, f"release {current} is damaged: {why}", but={current})
        if self.sets.has(current):
            self.sets.demote(current)

    # ---- look -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read what is assigned; what cannot be read or trusted changes nothing."""
        self._trouble = None
        known = Known(self.state.versions, self.state.known_time)
        try:
            look = self.repository.look(known, self.parts.now(), self._kept)
            if look.content and look.content != self._kept:
                replace_file(self.robot.state / ASSIGNMENTS_FILE, look.content)
                self._kept = look.content
            self._save(versions=dict(look.versions), known_time=look.known_time)
            if look is not self._looked:
                self._looked, self._look_count = look, self._look_count + 1
            self.assignments = look.assignments
            note_look(self.robot.state)
        except (RobotAssetsError, OSError) as error:
            self._trouble = _in_three_parts(error)
            if isinstance(error, OSError) and error.errno in _FULL:
                self._make_room()

    def _make_room(self) -> None:
        """Remove what is not needed to serve: on a full disk, no look can withdraw a release that fills it."""
        self._download = self._prepared = None
        with contextlib.suppress(OSError):
            self.sets.evict([one for one in (self.state.current, self.state.last_good) if one])

    # ---- what to do -----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """One round."""
        if self.state.state is State.ROLLING_BACK:
            self._finish_going_back()
        elif self.state.state in IN_PROGRESS and not self._is_given_up():
            self._continue_proof()
        if self.state.state in IN_PROGRESS:
            return
        if self.parts.monotonic() - self._verified_at > VERIFIED_AGE_MAX_S:
            self._check_set()
        if self._obey_recalls():
            return
        if self._is_sick():
            self._roll_back(f"what serves is not healthy: {self._health.why}")
        self._check_conditions()
        self._advance()

    def _advance(self) -> None:
        """Go towards the release that is assigned, as far as that is possible now."""
        if self._trouble is not None:
            self._wait_for_repository(self._trouble)
            return
        if self.parts.monotonic() < self._not_before and self.state.state is State.HELD:
            return
        reason = self._why_rest()
        if reason is not None:
            self._rest(reason)
            return
        release = str(self._assigned.release)
        if not self._prepare(release):
            return
        waits = self._why_wait()
        if waits:
            self._save(state=State.PREPARED, next=release, why=self._joined(waits))
            return
        self._authorize(release)
        if self.sets.has(release):
            self._switch(release)

    @property
    def _assigned(self) -> Assignments:
        if self.assignments is None:
            raise AgentError("nothing is assigned", needed="assignments", fix="robot-assets agent status")
        return self.assignments

    def _wait_for_repository(self, trouble: RobotAssetsError) -> None:
        """Without a trusted look nothing new begins. What is being downloaded or prepared stays."""
        is_refused = not isinstance(trouble, Unreachable | Missing)
        resting = self._resting() if self.state.state is State.HELD else self.state.state
        self._save(state=State.HELD if is_refused else resting, why=self._joined(trouble.found))

    def _why_rest(self) -> str | None:
        """Why there is nothing to go towards, maybe empty; None: there is a release."""
        assigned = self.assignments
        if assigned is None:
            return f"nothing is assigned to the group {self.robot.group}"
        if assigned.release is None or assigned.release == self.state.current:
            return ""
        if (failure := self.state.has_failed(assigned.release)) is not None:
            return f"release {assigned.release} has failed here: {failure}"
        if (recall := self._recalled.get((assigned.release, assigned.recalls))) is not None:
            self._is_held = True
            return _recalled_words(assigned.release, recall)
        if not self._is_listed and not assigned.download_ahead:
            return f"release {assigned.release} is not this robot's turn yet"
        return None

    @property
    def _is_listed(self) -> bool:
        return self.robot.robot in self._assigned.install

    def _why_wait(self) -> str:
        """Why the prepared release is not switched to now; empty: it is."""
        assigned = self._assigned
        if not self._is_listed:
            return "prepared; not this robot's turn yet"
        window = window_of(assigned)
        if window is not None and not is_within(window, self.parts.now()):
            return f"prepared; waits for the window {window.start:%H:%M} to {window.end:%H:%M} {window.timezone}"
        busy = self.parts.why_busy(self.robot)
        return f"prepared; the robot is busy: {busy}" if busy else ""

    def _rest(self, why: str) -> None:
        """Nothing to go towards: what is no longer assigned is dropped."""
        self._download = self._prepared = None
        misfit = self._misfit()
        is_held = self._is_held or bool(misfit)
        self._save(state=State.HELD if is_held else self._resting(), next=None, why=self._joined(misfit, why))
        self._evict()

    def _resting(self) -> State:
        return State.COMMITTED if self.state.current else State.IDLE

    def _misfit(self) -> str:
        """Why the engines of ``current`` are not for this device any more; empty: they are."""
        current = self.state.current
        if current is None or not self.sets.has(current):
            return ""
        return self._unfit(self.sets.bundle(current), current)

    def _unfit(self, bundle: Bundle, release: str) -> str:
        here = self._probed()
        if bundle.platform_fingerprint == here.fingerprint:
            return ""
        here = self._probed(again=True)
        if bundle.platform_fingerprint == here.fingerprint:
            return ""
        return f"release {release} is for another device: {differences(bundle.platform, here.platform)}"

    def _probed(self, *, again: bool = False) -> Device:
        """This device; probed again once an hour, and more often where it does not fit."""
        now = self.parts.monotonic()
        if self._device is None or now - self._device[0] > (MISFIT_AGE_MAX_S if again else DEVICE_AGE_MAX_S):
            self._device = (now, self.parts.device())
        return self._device[1]

    # ---- preparing ------------------------------------------------------------------------------------------------

    def _prepare(self, release: str) -> bool:
        """Download and verify a release; whether it is ready."""
        if self._prepared == release and self.sets.has(release):
            return True
        content = self._authorize(release)
        bundle = parse_bundle(content)
        misfit = self._unfit(bundle, release)
        if misfit:
            self._save(state=State.HELD, next=release, why=self._joined(misfit))
            return False
        if not self.sets.has(release) and not self._downloaded(release, bundle, content):
            return False
        if not self._verified(release):
            return False
        if not self.sets.has(release):
            self.sets.add(release)
        self._download, self._prepared = None, release
        return True

    def _authorize(self, release: str) -> bytes:
        """``bundle.json`` of a release, which both roles name now: nothing is published since they were asked."""
        if self._authorized is None or self._authorized[:2] != (self._look_count, release):
            self._authorized = (self._look_count, release, self._authorized_content(release))
        return self._authorized[2]

    def _authorized_content(self, release: str) -> bytes:
        assigned = self._assigned
        folder = self.sets.folder(release) if self.sets.has(release) else self.sets.download(release)
        known = Known(self.state.versions, self.state.known_time)
        content, version = self.repository.bundle(
            release, str(assigned.bundle_sha256), known, self.parts.now(), _bytes_of(folder / BUNDLE_FILE)
        )
        self._save(versions={**self.state.versions, "releases": version})
        if self.sets.has(release) and sha256_of(self.sets.folder(release) / BUNDLE_FILE) != assigned.bundle_sha256:
            self.sets.demote(release)
        return content

    def _downloaded(self, release: str, bundle: Bundle, content: bytes) -> bool:
        self._save(state=State.DOWNLOADING, next=release, why=self._joined())
        self._evict()
        if self._download is None or self._download[0] != release or self._download[1].content != content:
            limit = self.robot.bandwidth_mib_s
            throttle = Throttle(limit * MIB if limit else None)
            self._download = (release, Download(bundle, content, self.sets.download(release), throttle))
        download = self._download[1]
        reusable = self.sets.reusable(but=release)
        download.reserve(reusable, int(self.robot.reserve_mib * MIB))
        until = self.parts.monotonic() + max(self.robot.poll_s, min(self.robot.report_s, 60.0))
        try:
            done = download.run(self.transport, reusable, lambda: self.is_stopping or self.parts.monotonic() > until)
        except (Damaged, TooLong):
            self._back_off()
            raise
        self._is_download_open, self._failures = not done, 0
        return done

    def _back_off(self) -> None:
        """Read what arrives damaged less and less often."""
        first, longest = BACKOFF_S
        self._failures += 1
        over = self._failures - BACKOFF_FROM
        if over >= 0:
            self._not_before = self.parts.monotonic() + min(first * 2.0 ** min(over, 20), longest)

    def _verified(self, release: str) -> bool:
        """Verify the files of a release; one that does not verify has failed."""
        self._save(state=State.VERIFYING, next=release, why=self._joined())
        folder = self.sets.folder(release) if self.sets.has(release) else self.sets.download(release)
        try:
            self.parts.verify(folder, self.robot)
        except RobotAssetsError as error:
            self._refuse(release, error.found)
            return False
        recalls = self._assigned.recalls
        recall = self.parts.recalled(folder, release, recalls) if recalls else None
        if recall is not None:
            self._recalled[release, recalls] = recall
            self._is_held = True
            self._rest(_recalled_words(release, recall))
        return recall is None

    def _refuse(self, release: str, why: str) -> None:
        """Note that a release has failed before it was switched to."""
        self._download = None
        self._save(failed=self._failed_with(release, why), next=None)
        self._rest(f"release {release} has failed here: {why}")

    def _failed_with(self, release: str, why: str) -> tuple[Failure, ...]:
        others = [one for one in self.state.failed if one.release != release]
        return (*others, Failure(release=release, reason=why[:1000]))[-FAILURES_KEPT:]

    # ---- switching and proving ------------------------------------------------------------------------------------

    def _switch(self, release: str) -> None:
        """Replace what serves. That it begins is on the disk before, and reported: silence from now on is a failure."""
        before = self.state.current
        is_good = before is not None and before in self.state.committed
        self._healthy_s, self._is_proven = 0.0, False
        self._save(
            state=State.SWITCHED,
            current=release,
            last_good=before if is_good else self.state.last_good,
            next=release,
            boot_id=self.parts.boot_id(),
            starts=1,
            why=self._joined(),
        )
        self._tell(is_poll=False)
        self._continue_proof()

    def _continue_proof(self) -> None:
        if self.state.state is State.SWITCHED:
            self.sets.switch(self.state.current)
            self._health, self._is_proven = Health(), False
            try:
                self.parts.on_switch(self.robot)
            except AgentError as error:
                self._roll_back(error.found)
                return
            self._save(state=State.PROVING)
        if not self._is_proven and not self._passes_gates():
            return
        self._await_health()

    def _is_given_up(self) -> bool:
        """Go back from a release that is still being proven and was recalled or withdrawn; it has not failed."""
        release = str(self.state.current)
        recall = self._recall_of(release)
        if recall is not None:
            self._go_back(None, _recalled_words(release, recall), but={release})
            return True
        is_withdrawn = self._trouble is None and self.assignments is not None and self.assignments.release != release
        if is_withdrawn and self.state.last_good is not None and self._looked is not None:
            self._go_back(None, f"release {release} was withdrawn while it was proven", but={release})
            return True
        return False

    def _passes_gates(self) -> bool:
        release = str(self.state.current)
        try:
            self.parts.prove(self.sets.folder(release), self.robot)
        except (RobotAssetsError, OSError) as error:
            self._roll_back(_in_three_parts(error).found)
            return False
        self._is_proven = True
        return True

    def _await_health(self) -> None:
        """Commit after enough health without a break; go back when health ends, or does not begin in time."""
        now = self.parts.monotonic()
        was_healthy = self._health.healthy_from is not None
        self._health.see(self.parts.why_unhealthy(self.robot, self.sets.switched_at), now)
        if self._health.healthy_from is not None:
            if now - self._health.healthy_from >= self._prove_s:
                self._commit()
            return
        waited = now - (self._health.unhealthy_from if self._health.unhealthy_from is not None else now)
        if was_healthy or waited >= self._start_s:
            self._roll_back(f"what serves is not healthy: {self._health.why}")

    @property
    def _prove_s(self) -> float:
        return self.assignments.prove_s if self.assignments else PROVE_DEFAULT_S

    @property
    def _start_s(self) -> float:
        return self.robot.health.start_s if self.robot.health else 0.0

    def _commit(self) -> None:
        release = str(self.state.current)
        others = tuple(one for one in self.state.committed if one != release and self.sets.has(one))
        self._save(
            state=State.COMMITTED, next=None, committed=(*others, release), boot_id="", starts=0, why=self._joined()
        )
        self._prepared = None

    # ---- going back -----------------------------------------------------------------------------------------------

    def _roll_back(self, why: str) -> None:
        """The current release has failed: go back to the last good one."""
        release = str(self.state.current)
        self._go_back(Failure(release=release, reason=why), f"went back from release {release}: {why}", but={release})

    def _go_back(self, failure: Failure | None, why: str, but: set[str]) -> None:
        """Make the newest good release current that is intact and not among ``but``; None where there is none."""
        failed = self._failed_with(failure.release, failure.reason) if failure else self.state.failed
        committed = tuple(one for one in self.state.committed if one not in but)
        here = (one for one in reversed(committed) if self.sets.has(one))
        good = next((one for one in here if self.sets.damage(one) is None), None)
        self._healthy_s, self._download, self._prepared = 0.0, None, None
        self._save(
            state=State.ROLLING_BACK,
            current=good,
            committed=committed,
            failed=failed,
            boot_id="",
            starts=0,
            why=why,
        )
        self._finish_going_back()

    def _finish_going_back(self) -> None:
        self.sets.switch(self.state.current)
        self._health = Health()
        why = self.state.why
        try:
            self.parts.on_switch(self.robot)
        except AgentError as error:
            why = f"{why}; after that, {error.found}"
        self._save(state=self._resting(), next=None, last_good=self._second_newest(), why=why)
        self._notes.append(why)

    def _second_newest(self) -> str | None:
        """The last good release beside the current one."""
        others = [one for one in self.state.committed if one != self.state.current and self.sets.has(one)]
        return others[-1] if others else None

    def _obey_recalls(self) -> bool:
        """Go back from a recalled release; whether the round ends with that."""
        recall = self._recall_of(self.state.current)
        if recall is None:
            return False
        current = str(self.state.current)
        why = _recalled_words(current, recall)
        recalled = {one for one in self.state.committed if self._recall_of(one)}
        has_good = any(self.sets.has(one) for one in self.state.committed if one not in recalled)
        if not has_good and self._assigned.on_recall == "last_good":
            self._notes.append(f"{why}; there is no other release to go back to")
            self._is_held = True
            return False
        busy = self.parts.why_busy(self.robot)
        if busy:
            self._save(state=State.HELD, why=f"{why}; the robot is busy: {busy}")
            return True
        self._go_back(None, why, but={*recalled, current})
        return False

    def _recall_of(self, release: str | None) -> Recall | None:
        """The recall that a release on this robot falls under."""
        recalls = self.assignments.recalls if self.assignments else ()
        if release is None or not recalls or not self.sets.has(release):
            return None
        key = (release, recalls)
        if key not in self._recalled:
            self._recalled = {one: found for one, found in self._recalled.items() if one[1] == recalls}
            self._recalled[key] = self.parts.recalled(self.sets.folder(release), release, recalls)
        return self._recalled[key]

    # ---- health after the commit ----------------------------------------------------------------------------------

    def _is_sick(self) -> bool:
        """Count health; whether the current release is unhealthy for too long before it has baked."""
        if self.state.current is None or self.robot.health is None:
            self._count_without_health()
            return False
        now = self.parts.monotonic()
        self._healthy_s += self._health.see(self.parts.why_unhealthy(self.robot, self.sets.switched_at), now)
        since = self._health.unhealthy_from
        if since is None:
            return False
        self._notes.append(f"what serves is not healthy: {self._health.why}")
        if self._healthy_s >= self._bake_s:
            return False
        self._healthy_s = 0.0
        return now - since >= self._start_s and self._second_newest() is not None

    def _count_without_health(self) -> None:
        if self.state.current is not None:
            self._healthy_s += self._health.see(None, self.parts.monotonic())

    @property
    def _bake_s(self) -> float:
        """Health after which the current release counts as baked; 0 for one that is not being rolled out."""
        is_rolled_out = self.assignments is not None and self.assignments.release == self.state.current
        return self.assignments.bake_s if self.assignments and is_rolled_out else 0.0

    # ---- bookkeeping ----------------------------------------------------------------------------------------------

    def _check_conditions(self) -> None:
        """Forget failures when what a release is judged by has changed: keys, budgets, health, or the device."""
        judged_by = self.robot.model_dump_json(include={"trusted_keys", "budgets", "health", "on_switch"})
        text = f"{judged_by} {self._probed().fingerprint}"
        conditions = hashlib.sha256(text.encode()).hexdigest()[:32]
        if conditions != self.state.conditions:
            failed = () if self.state.conditions else self.state.failed
            self._save(conditions=conditions, failed=failed)

    def _evict(self) -> None:
        """Remove the releases that nothing needs any more; what cannot be removed is removed at a later poll."""
        keep = [one for one in (self.state.current, self.state.last_good, self.state.next) if one]
        self.sets.evict(keep)
        committed = tuple(one for one in self.state.committed if one in keep)
        if committed != self.state.committed:
            self._save(committed=committed)

    def _hold(self, error: Exception) -> None:
        """Say why the robot cannot go on. A release that is being proven stays so: it is proven or given up later."""
        why = self._joined(_in_three_parts(error).found)
        held = self.state.state if self.state.state in IN_PROGRESS else State.HELD
        held = self.state.state if isinstance(error, Unreachable) else held
        try:
            self._save(state=held, why=why)
        except OSError:
            self._state = self.state.model_copy(update={"state": held, "why": why})

    def _joined(self, *reasons: str) -> str:
        return "; ".join(dict.fromkeys(reason for reason in (*reasons, *self._notes) if reason))

    def _save(self, **changes: object) -> None:
        """Make changes of the state durable. Only then are they true."""
        old = self._state
        new = self.state.model_copy(update={**changes, "healthy_s": self._healthy_s})
        if old is not None and _steady(new) == _steady(old):
            new = new.model_copy(update={"why": old.why})
        else:
            write_state(self.robot.state, new)
        self._state = new

    # ---- reports --------------------------------------------------------------------------------------------------

    def _tell(self, is_poll: bool) -> None:
        """Log and report what has changed; without a change, report from time to time."""
        self._log()
        report = self._report()
        now = self.parts.monotonic()
        if self._is_due(report, now):
            self._last_report, self._reported_at = report, now
            self._is_report_delivered = self._send(report)
        elif is_poll and not self._is_report_delivered:
            self._is_report_delivered = self._send(None)

    def _send(self, report: Report | None) -> bool:
        if report is not None and self._state is not None:
            try:
                self._save(sequence=report.sequence)
            except OSError:  # from a full disk it is sent all the same; the clock orders it after a loss of power
                self._state = self.state.model_copy(update={"sequence": report.sequence})
        try:
            return self.parts.send(self.robot, report)
        except (RobotAssetsError, OSError) as error:
            self._log_once(f"the report cannot be delivered: {_in_three_parts(error).found}")
            return False

    def _is_due(self, report: Report, now: float) -> bool:
        silence_s = self.assignments.silence_s if self.assignments else math.inf
        passed_s = now - self._reported_at
        limits = {"report_s": self.robot.report_s, "silence_s": silence_s, "bake_s": self._bake_s}
        return should_send(self._last_report, report, passed_s, **limits)

    def _report(self) -> Report:
        now = self.parts.now()
        state = self.state.model_copy(update={"healthy_s": round(self._healthy_s, 1)})
        device = self._device[1] if self._device else Device("")
        return compose(self.robot, state, device, now, next_sequence(state.sequence, now))

    def _log(self) -> None:
        state = self.state
        line = f"{state.state}: release {state.current or 'none'}"
        line += f", next {state.next}" if state.next and state.next != state.current else ""
        self._log_once(line + (f": {state.why}" if state.why else ""))

    def _log_once(self, line: str) -> None:
        """Write a line to the log, not again until another one was written in its place."""
        subject = line.partition(":")[0] if line.startswith("the report") else "state"
        if self._logged.get(subject) != _without_numbers(line):
            self._logged[subject] = _without_numbers(line)
            self.parts.log(escaped(line))


def is_within(window: QuietSpec, now: datetime) -> bool:
    """Whether a time is in a daily window, which may extend past midnight."""
    from zoneinfo import ZoneInfo

    clock = now.astimezone(ZoneInfo(window.timezone)).time()
    if window.start < window.end:
        return window.start <= clock < window.end
    return clock >= window.start or clock < window.end


def _bytes_of(path: object) -> bytes:
    try:
        with open(str(path), "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _in_three_parts(error: Exception) -> RobotAssetsError:
    if isinstance(error, RobotAssetsError):
        return error
    return system_error(error) or AgentError(str(error), needed="a disk and a system that work", fix="dmesg | tail")


def _recalled_words(release: str, recall: Recall) -> str:
    return f"release {release} is recalled ({recall.hash}): {recall.reason}"


def _without_numbers(text: str) -> str:
    """A text in which passing time changes nothing."""
    return re.sub(r"\b\d+(\.\d+)?\b", "#", text)


def _steady(state: AgentState) -> AgentState:
    """The state without what changes all the time: that is written with the next report."""
    return state.model_copy(update={"healthy_s": 0.0, "why": _without_numbers(state.why)})
