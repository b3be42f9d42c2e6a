"""The agent of a robot: one look at what is assigned, and all that can be done about it now.

Every step is idempotent. What a step is about to do is in ``state.json`` before it has an effect, so after a kill at
any point the next :meth:`Agent.once` goes on, or goes back. Nothing that the network, the disk or the repository does
ends the agent: it is held, says why, and what serves goes on serving.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from datetime import datetime

from robot_assets.agent import recovery
from robot_assets.agent.device import DeviceWatch
from robot_assets.agent.health_record import HealthRecord
from robot_assets.agent.journal import Journal, in_three_parts
from robot_assets.agent.parts import Parts
from robot_assets.agent.preparing import Preparation, Refused
from robot_assets.agent.reporter import Reporter
from robot_assets.agent.sets import Sets
from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.state import ASSIGNMENTS_FILE, AgentState, note_look, replace_file
from robot_assets.agent.transport import Missing, Transport, Unreachable, transport_of
from robot_assets.agent.trusted import Known, Look, TrustedRepository, parse_assignments, window_of
from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.assignments import Assignments, Recall
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.reports import IN_PROGRESS, Failure, State
from robot_assets.lineage.spec import QuietSpec

FAILURES_KEPT = 50
VERIFIED_AGE_MAX_S = 86_400.0
PROVE_DEFAULT_S = 60.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


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
        self.trouble: RobotAssetsError | None = None
        """Why the repository could not be read or trusted at the last look; None: it was."""
        self._journal = Journal(robot.state)
        self._device = DeviceWatch(self.parts.device, self.parts.monotonic)
        self._preparation = Preparation(
            robot, self.parts, self.sets, self.repository, self.transport, self._journal, self._device
        )
        self._reporter = Reporter(robot, self.parts, self._journal)
        self._health = HealthRecord()
        self._kept = b""
        self._look: Look | None = None
        self._look_number = 0
        self._is_proven = False
        self._verified_at = 0.0
        self._recalled: dict[tuple[str, tuple[Recall, ...]], Recall | None] = {}

    @property
    def state(self) -> AgentState:
        """The present state."""
        return self._journal.state

    @property
    def is_downloading(self) -> bool:
        """Whether a download was interrupted after some time, to look at what is assigned, and goes on at once."""
        return self._preparation.is_interrupted

    @property
    def is_stopping(self) -> bool:
        """Whether the agent was asked to end."""
        return self._preparation.is_stopping

    def stop(self) -> None:
        """Ask the agent to end: a download stops at its next chunk. A signal calls it."""
        self._preparation.is_stopping = True

    def once(self) -> AgentState:
        """Look at what is assigned, and do what can be done about it now."""
        if self.recover():
            self._read_assignments()
        return self.step(is_poll=True)

    def step(self, *, is_poll: bool = False) -> AgentState:
        """Go on without a new look; used while a release is proven."""
        self._journal.begin_round()
        self._preparation.is_interrupted = False
        if self._journal.is_open:
            try:
                self._go_on()
            except (RobotAssetsError, OSError) as error:
                self._hold(error)
        self._report(is_poll=is_poll)
        return self.state

    def recover(self) -> bool:
        """Take up the state of the last process, once; whether that was possible."""
        if self._journal.is_open:
            return True
        try:
            self._start()
        except (RobotAssetsError, OSError) as error:
            self._journal.close(in_three_parts(error).found)
        return self._journal.is_open

    def _start(self) -> None:
        boot_id = self.parts.boot_id()
        loaded = recovery.load(self.robot.state, self.sets, boot_id)
        found = recovery.recovered(loaded.state, self.sets, boot_id)
        self._kept = self._kept_assignments()
        self.assignments = parse_assignments(self._kept, self.robot.group) if self._kept else None
        if loaded.note:
            self.parts.log(loaded.note)
        self._journal.open(found.state, is_new=bool(loaded.note) or found.state != loaded.state)
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

    def _read_assignments(self) -> None:
        """Read what is assigned; what cannot be read or trusted changes nothing."""
        self.trouble = None
        known = Known(self.state.versions, self.state.known_time)
        try:
            look = self.repository.look(known, self.parts.now(), self._kept)
            if look.content and look.content != self._kept:
                replace_file(self.robot.state / ASSIGNMENTS_FILE, look.content)
                self._kept = look.content
            self._journal.save(versions=dict(look.versions), known_time=look.known_time)
            if look is not self._look:
                self._look, self._look_number = look, self._look_number + 1
            self.assignments = look.assignments
            note_look(self.robot.state)
        except (RobotAssetsError, OSError) as error:
            self.trouble = in_three_parts(error)
            if isinstance(error, OSError) and error.errno in _FULL:
                self._make_room()

    def _make_room(self) -> None:
        """Remove what is not needed to serve: on a full disk, no look can withdraw a release that fills it."""
        self._preparation.drop()
        with contextlib.suppress(OSError):
            self.sets.evict([one for one in (self.state.current, self.state.last_good) if one])

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
        if self.trouble is not None:
            self._wait_for_repository(self.trouble)
            return
        if self._preparation.is_waiting and self.state.state is State.HELD:
            return
        reason = self._why_rest()
        if reason is not None:
            self._rest(reason)
            return
        release = str(self._assigned.release)
        if not self._is_prepared(release):
            return
        waits = self._why_wait()
        if waits:
            self._journal.save(state=State.PREPARED, next=release, why=self._journal.joined(waits))
            return
        self._preparation.authorize(release, self._assigned, self._look_number)
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
        self._journal.save(state=State.HELD if is_refused else resting, why=self._journal.joined(trouble.found))

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
            self._journal.is_held = True
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
        self._preparation.drop()
        misfit = self._misfit()
        state = State.HELD if self._journal.is_held or misfit else self._resting()
        self._journal.save(state=state, next=None, why=self._journal.joined(misfit, why))
        self._evict()

    def _resting(self) -> State:
        return State.COMMITTED if self.state.current else State.IDLE

    def _misfit(self) -> str:
        """Why the engines of ``current`` are not for this device any more; empty: they are."""
        current = self.state.current
        if current is None or not self.sets.has(current):
            return ""
        return self._device.misfit(self.sets.bundle(current), current)

    def _is_prepared(self, release: str) -> bool:
        """Whether a release is complete and verified; one that does not verify has failed, and a recalled one holds."""
        try:
            if not self._preparation.prepare(release, self._assigned, self._look_number):
                return False
        except Refused as error:
            self._journal.save(failed=self._failed_with(release, error.found), next=None)
            self._rest(f"release {release} has failed here: {error.found}")
            return False
        recall = self._recall_of(release)
        if recall is not None:
            self._journal.is_held = True
            self._rest(_recalled_words(release, recall))
        return recall is None

    def _failed_with(self, release: str, why: str) -> tuple[Failure, ...]:
        others = [one for one in self.state.failed if one.release != release]
        return (*others, Failure(release=release, reason=why[:1000]))[-FAILURES_KEPT:]

    def _switch(self, release: str) -> None:
        """Replace what serves. That it begins is on the disk before, and reported: silence from now on is a failure."""
        before = self.state.current
        is_good = before is not None and before in self.state.committed
        self._journal.healthy_s, self._is_proven = 0.0, False
        self._journal.save(
            state=State.SWITCHED,
            current=release,
            last_good=before if is_good else self.state.last_good,
            next=release,
            boot_id=self.parts.boot_id(),
            starts=1,
            why=self._journal.joined(),
        )
        self._report(is_poll=False)
        self._continue_proof()

    def _continue_proof(self) -> None:
        if self.state.state is State.SWITCHED:
            self.sets.switch(self.state.current)
            self._health, self._is_proven = HealthRecord(), False
            try:
                self.parts.on_switch(self.robot)
            except AgentError as error:
                self._roll_back(error.found)
                return
            self._journal.save(state=State.PROVING)
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
        is_withdrawn = self.trouble is None and self.assignments is not None and self.assignments.release != release
        if is_withdrawn and self.state.last_good is not None and self._look is not None:
            self._go_back(None, f"release {release} was withdrawn while it was proven", but={release})
            return True
        return False

    def _passes_gates(self) -> bool:
        release = str(self.state.current)
        try:
            self.parts.prove(self.sets.folder(release), self.robot)
        except (RobotAssetsError, OSError) as error:
            self._roll_back(in_three_parts(error).found)
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
        self._journal.save(
            state=State.COMMITTED,
            next=None,
            committed=(*others, release),
            boot_id="",
            starts=0,
            why=self._journal.joined(),
        )
        self._preparation.drop()

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
        self._journal.healthy_s = 0.0
        self._preparation.drop()
        self._journal.save(
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
        self._health = HealthRecord()
        why = self.state.why
        try:
            self.parts.on_switch(self.robot)
        except AgentError as error:
            why = f"{why}; after that, {error.found}"
        self._journal.save(state=self._resting(), next=None, last_good=self._second_newest(), why=why)
        self._journal.notes.append(why)

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
            self._journal.notes.append(f"{why}; there is no other release to go back to")
            self._journal.is_held = True
            return False
        busy = self.parts.why_busy(self.robot)
        if busy:
            self._journal.save(state=State.HELD, why=f"{why}; the robot is busy: {busy}")
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

    def _is_sick(self) -> bool:
        """Count health; whether the current release is unhealthy for too long before it has baked."""
        if self.state.current is None or self.robot.health is None:
            self._count_without_health()
            return False
        now = self.parts.monotonic()
        self._journal.healthy_s += self._health.see(self.parts.why_unhealthy(self.robot, self.sets.switched_at), now)
        since = self._health.unhealthy_from
        if since is None:
            return False
        self._journal.notes.append(f"what serves is not healthy: {self._health.why}")
        if self._journal.healthy_s >= self._bake_s:
            return False
        self._journal.healthy_s = 0.0
        return now - since >= self._start_s and self._second_newest() is not None

    def _count_without_health(self) -> None:
        if self.state.current is not None:
            self._journal.healthy_s += self._health.see(None, self.parts.monotonic())

    @property
    def _bake_s(self) -> float:
        """Health after which the current release counts as baked; 0 for one that is not being rolled out."""
        is_rolled_out = self.assignments is not None and self.assignments.release == self.state.current
        return self.assignments.bake_s if self.assignments and is_rolled_out else 0.0

    def _check_conditions(self) -> None:
        """Forget failures when what a release is judged by has changed: keys, budgets, health, or the device."""
        judged_by = self.robot.model_dump_json(include={"trusted_keys", "budgets", "health", "on_switch"})
        text = f"{judged_by} {self._device.look().fingerprint}"
        conditions = hashlib.sha256(text.encode()).hexdigest()[:32]
        if conditions != self.state.conditions:
            failed = () if self.state.conditions else self.state.failed
            self._journal.save(conditions=conditions, failed=failed)

    def _evict(self) -> None:
        """Remove the releases that nothing needs any more; what cannot be removed is removed at a later poll."""
        keep = [one for one in (self.state.current, self.state.last_good, self.state.next) if one]
        self.sets.evict(keep)
        committed = tuple(one for one in self.state.committed if one in keep)
        if committed != self.state.committed:
            self._journal.save(committed=committed)

    def _hold(self, error: Exception) -> None:
        """Say why the robot cannot go on. A release that is being proven stays so: it is proven or given up later."""
        stays = self.state.state in IN_PROGRESS or isinstance(error, Unreachable)
        why = self._journal.joined(in_three_parts(error).found)
        self._journal.save_if_possible(state=self.state.state if stays else State.HELD, why=why)

    def _report(self, *, is_poll: bool) -> None:
        self._reporter.report(self._device.last, self.assignments, self._bake_s, is_poll=is_poll)


def is_within(window: QuietSpec, now: datetime) -> bool:
    """Whether a time is in a daily window, which may extend past midnight."""
    from zoneinfo import ZoneInfo

    clock = now.astimezone(ZoneInfo(window.timezone)).time()
    if window.start < window.end:
        return window.start <= clock < window.end
    return clock >= window.start or clock < window.end


def _recalled_words(release: str, recall: Recall) -> str:
    return f"release {release} is recalled ({recall.hash}): {recall.reason}"
