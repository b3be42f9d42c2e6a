"""Reads the reports of a group: which count, which are refused and why.

Anybody who can write to the storage can put any bytes there. A report counts when the key of the enrolled robot has
signed it, it names the robot and the group of its path, and it is not older than one that was seen before: whoever puts
an old report back would otherwise make a robot look as it once did. The storage says when a report arrived; the clock
of the robot is shown, and decides nothing.

What was verified is kept in a memo, so that reports which have not changed are neither read nor verified again. Without
the memo, as in a new container, reports are verified anew, and one that was put back is not recognized.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import Field, ValidationError

from robot_assets.core.spec import Spec
from robot_assets.core.text import escaped
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.files import Files, Listed
from robot_assets.fleet.layout import REPORTS
from robot_assets.fleet.reports import LARGEST_BYTES, Received, Report, open_report
from robot_assets.provenance.public_key import PublicKey
from robot_assets.store.parallel import map_in_groups
from robot_assets.store.state import replacing_file

_AHEAD = timedelta(days=1)
_ROBOT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_LONGEST_NAME = 100
_READS = 4
"""Reports that one thread reads in a row."""


@dataclass(frozen=True)
class Reports:
    """The reports of a group.

    Attributes:
        received: The last report of each robot that counts, by robot.
        refused: Why a file does not count, by its name below the folder of the group; one sentence each.
        remarks: What is unusual about a report that counts, by robot.
    """

    received: Mapping[str, Received] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


def read_reports(
    files: Files, group: str, robots: Sequence[str], keys: Mapping[str, PublicKey], memo: Path | None = None
) -> Reports:
    """The reports of a group, as they are in the distribution repository now.

    Args:
        files: The repository.
        group: The group.
        robots: Its enrolled robots.
        keys: The public keys of all enrolled robots, by robot.
        memo: Folder for what was verified; None: everything is verified, and a report that was put back is not
            recognized.

    Raises:
        FleetError: The repository cannot be reached.
    """
    folder = f"{REPORTS}/{group}"
    listing = {one.path.removeprefix(f"{folder}/"): one for one in files.listing(folder)}
    known = _load(memo, files, group)
    members = {f"{robot}.json": keys[robot] for robot in robots}
    due = [name for name, one in listing.items() if name in members and not known.covers(name, one, members[name])]
    contents = map_in_groups(lambda name: _content(files, listing[name]), due, "reading reports", _READS)
    seen = {name: one for name, one in known.seen.items() if name in members and one.key == str(members[name])}
    for name, content in zip(due, contents, strict=True):
        if content is not None:
            seen[name] = _seen(group, listing[name], content, members[name], seen.get(name))
    if due or seen.keys() != known.seen.keys():
        _save(memo, files, group, _Memo(seen=seen))
    strangers = {_shown(name): _stranger(name, group, keys) for name in listing if name not in members}
    return _reports({name: seen[name] for name in listing if name in seen}, strangers)


class _Seen(Spec):
    """One file, as it was when it was read last, and the newest report of its robot.

    Attributes:
        tag: Of the file in the listing.
        key: Public key of the robot.
        digest: sha256 of the file that the report is in.
        refused: Why the file does not count; None: the report is of this file.
        report: The newest report that counts; None: there was none.
        received_at: When the storage received it.
    """

    tag: str
    key: str
    digest: str = ""
    refused: str | None = None
    report: Report | None = None
    received_at: datetime | None = None


class _Memo(Spec):
    """What was verified, by name of the file."""

    seen: dict[str, _Seen] = Field(default_factory=dict)

    def covers(self, name: str, listed: Listed, key: PublicKey) -> bool:
        """Whether a file has not changed since, and its robot has the same key."""
        seen = self.seen.get(name)
        return seen is not None and seen.tag == _tag(listed) and seen.key == str(key)


def _tag(listed: Listed) -> str:
    return f"{listed.tag} {listed.size}"


def _content(files: Files, listed: Listed) -> bytes | None:
    """The bytes of a report, none of one that is too large; None: the file was removed since it was listed."""
    if listed.size > LARGEST_BYTES:
        return b""
    with suppress(FileNotFoundError):
        return files.read(listed.path)
    return None


def _seen(group: str, listed: Listed, content: bytes, key: PublicKey, before: _Seen | None) -> _Seen:
    """What a changed file is; a file that is refused does not replace the report that was there before."""
    now = {"tag": _tag(listed), "key": str(key)}
    digest = hashlib.sha256(content).hexdigest()
    if before is not None and before.report is not None and before.digest == digest:
        return before.model_copy(update={**now, "refused": None})  # the same report again: it is as old as before
    robot = listed.path.rpartition("/")[2].removesuffix(".json")
    try:
        report = _opened(group, robot, listed, content, key, before.report if before else None)
    except FleetError as error:
        refused = " ".join(f"{error.found}; needed {error.needed}".split())
        return (before or _Seen(**now)).model_copy(update={**now, "refused": escaped(refused)})
    return _Seen(**now, digest=digest, report=report, received_at=listed.modified_at)


def _opened(group: str, robot: str, listed: Listed, content: bytes, key: PublicKey, newest: Report | None) -> Report:
    """The report in a file. Raises FleetError when it does not count."""
    if listed.size > LARGEST_BYTES:
        raise _refused(f"the file has {listed.size} bytes", f"a report of at most {LARGEST_BYTES} bytes")
    report = open_report(content, key)
    if report.robot != robot:
        raise _refused(f"it is a report of {report.robot}", f"one of {robot}, at its own path")
    if report.group != group:
        raise _refused(f"it is a report of a robot of the group {report.group}", f"group: {group} in its robot.yaml")
    if newest is not None and report.sequence < newest.sequence:
        raise _refused(
            f"its number is {report.sequence}, and number {newest.sequence} was received before: an old report was put "
            "back, or the agent has lost its state",
            f"a number of at least {newest.sequence}, or a new key: robot-assets fleet enroll {robot}",
        )
    return report


def _refused(found: str, needed: str) -> FleetError:
    return FleetError(found, needed=needed, fix="robot-assets agent status   # on the robot")


def _stranger(name: str, group: str, keys: Mapping[str, PublicKey]) -> str:
    """Why a file of no robot of the group does not count."""
    robot = name.removesuffix(".json")
    if not name.endswith(".json") or not _ROBOT.fullmatch(robot):
        return "it is not named like a report; needed ROBOT.json"
    if robot in keys:
        return f"{robot} is not a robot of the group {group}; needed its group of params.yaml in its robot.yaml"
    return f"{robot} is not enrolled; needed robot-assets fleet enroll {robot}"


def _shown(name: str) -> str:
    return escaped(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")


def _reports(seen: Mapping[str, _Seen], strangers: Mapping[str, str]) -> Reports:
    received = {
        name.removesuffix(".json"): Received(one.report, one.received_at)
        for name, one in seen.items()
        if one.report is not None and one.received_at is not None
    }
    refused = {name: one.refused for name, one in seen.items() if one.refused is not None}
    remarks = {robot: remark for robot, one in received.items() if (remark := _remark(one))}
    return Reports(received, {**refused, **strangers}, remarks)


def _remark(received: Received) -> str:
    """Says that the clock of a robot is wrong, as far as its report shows."""
    try:
        at = datetime.fromisoformat(received.report.at)
    except ValueError:
        return f"its clock says {escaped(received.report.at[:_LONGEST_NAME])!r}, which is no time"
    ahead = (at if at.tzinfo else at.replace(tzinfo=UTC)) - received.received_at
    return f"its clock is {ahead.days} days ahead" if ahead > _AHEAD else ""


_Facts = tuple[int, int, int]
_loaded: dict[Path, tuple[_Facts | None, _Memo]] = {}
"""Memos that this process has read or written, with the facts of their files: a sensor looks every few seconds."""


def _memo_file(memo: Path, files: Files, group: str) -> Path:
    place = hashlib.sha256(files.url.encode()).hexdigest()[:16]
    return memo / place / group / "reports.json"


def _load(memo: Path | None, files: Files, group: str) -> _Memo:
    if memo is None:
        return _Memo()
    path = _memo_file(memo, files, group)
    facts, kept = _facts(path), _loaded.get(path)
    if kept is not None and kept[0] == facts:
        return kept[1]
    try:
        content = _Memo.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):  # none yet, or one of another version: everything is verified again
        return _Memo()
    _loaded[path] = (facts, content)
    return content


def _save(memo: Path | None, files: Files, group: str, content: _Memo) -> None:
    """Keep what was verified. Where the state folder cannot be written, this process remembers it alone."""
    if memo is None:
        return
    path = _memo_file(memo, files, group)
    with suppress(OSError), replacing_file(path) as stream:
        stream.write(content.model_dump_json().encode())
    _loaded[path] = (_facts(path), content)


def _facts(path: Path) -> _Facts | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
