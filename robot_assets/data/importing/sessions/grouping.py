"""Groups the images of a source into recording sessions, by the rule that a person names.

A session is what is recorded in one go: its images resemble each other, so a split never divides it. Annotation tools
seldom keep sessions, and most exports are one flat folder.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import LabelIssue, printable
from robot_assets.core.progress import report
from robot_assets.core.text import listed, plural
from robot_assets.core.time_limit import OutOfTime, time_limit
from robot_assets.data.importing.layout import sibling_splits
from robot_assets.data.importing.sessions.capture_time import Capture, capture_of
from robot_assets.data.importing.sessions.rules import FOLDER as FOLDER
from robot_assets.data.importing.sessions.rules import SessionRule as SessionRule
from robot_assets.data.importing.sessions.rules import parse_rule as parse_rule
from robot_assets.data.importing.sessions.table import sessions_of
from robot_assets.data.source import Entry, Source

MATCHING_MAX_S = 10.0
"""Time for the names of all images: 20,000 take some milliseconds, and a nested repetition takes years."""
_BYTES_MAX = 100
"""Longest name of a session. File systems allow 255 bytes, and tools add suffixes."""
_FOLDER_BYTES_MAX = 60


def regrouped(found: Source, rule: SessionRule) -> Source:
    """Move every image to ``SESSION/FILE``, by ``rule``; images without a session become issues.

    The result depends on names and contents only, not on the order of the entries. Files of equal names in one session
    get their former folder in front.

    Raises:
        DataError: No image gets a session, or the table of sessions contradicts itself.
    """
    if rule.kind == "folder":
        return replace(found, notes=(*found.notes, *_split_notes(found)))
    sessions, problem, notes = _RULES[rule.kind](found, rule)
    if found.entries and not sessions:
        raise _no_session(found, rule)
    names = _safe_names(set(sessions.values()))
    kept = [entry for entry in found.entries if entry.file_name in sessions]
    issues = [
        LabelIssue(printable(entry.file_name), *problem) for entry in found.entries if entry.file_name not in sessions
    ]
    moved = _moved(kept, {entry.file_name: names[sessions[entry.file_name]] for entry in kept})
    return replace(
        found,
        entries=tuple(sorted(moved, key=lambda entry: entry.file_name)),
        issues=(*found.issues, *issues),
        splits=(),
        notes=(*found.notes, *notes),
    )


_Grouping = tuple[dict[str, str], tuple[str, str], list[str]]
"""Session by file name; found and fix of images without one; notes."""


def by_name(stem: str, pattern: re.Pattern[str]) -> str:
    """Session of a file name without suffix, or of such a path where the pattern has a slash; "" for none."""
    match = pattern.search(stem if "/" in pattern.pattern else PurePosixPath(stem).name)
    if match is None:
        return ""
    found = match.group("session" if "session" in pattern.groupindex else 1)
    return found.strip() if found else ""


def stem_of(file_name: str) -> str:
    """A path without the suffix of its file."""
    return PurePosixPath(file_name).with_suffix("").as_posix()


def by_time(captures: Mapping[str, Capture], gap_s: float, splits: Collection[str] = ()) -> dict[str, str]:
    """Session of each file name: images of one camera and folder, without a gap of more than ``gap_s`` seconds.

    Args:
        captures: By file name.
        gap_s: A longer time without an image starts a session.
        splits: Top folders that are splits of an export: a recording may continue from one to the next.
    """
    groups: defaultdict[tuple[str, str], list[tuple[datetime, str]]] = defaultdict(list)
    for name, capture in captures.items():
        groups[_folder(name, splits), capture.camera].append((capture.time, name))
    cameras = Counter(folder for folder, _ in groups)
    sessions: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for (folder, camera), images in sorted(groups.items()):
        parts = [part for part in (folder, camera if cameras[folder] > 1 else "") if part]
        for run in _runs(sorted(images), gap_s):
            title = "_".join([*parts, f"{run[0][0]:%Y%m%d-%H%M%S}"])
            taken[title] += 1
            name = title if taken[title] == 1 else f"{title}-{taken[title]}"
            sessions |= dict.fromkeys((file for _, file in run), name)
    return sessions


def captures_of(images: Mapping[str, Path]) -> dict[str, Capture]:
    """The captures of the images that have a time, by file name."""
    captures = {}
    for done, (name, path) in enumerate(images.items(), start=1):
        report("read capture times", done, len(images))
        capture = capture_of(path)
        if capture:
            captures[name] = capture
    return captures


def _name_sessions(found: Source, rule: SessionRule) -> _Grouping:
    pattern = rule.pattern or re.compile("(.*)")
    sessions: dict[str, str] = {}
    name = ""
    try:
        with time_limit(MATCHING_MAX_S):
            for name in (entry.file_name for entry in found.entries):
                sessions[name] = by_name(stem_of(name), pattern)
    except OutOfTime:
        raise _too_slow(rule, name) from None
    problem = (f"--sessions {rule.text!r} does not match the name", "correct the expression, or rename the file")
    return {name: session for name, session in sessions.items() if session}, problem, []


def _time_sessions(found: Source, rule: SessionRule) -> _Grouping:
    captures = captures_of({entry.file_name: entry.path for entry in found.entries})
    problem = ("no capture time (EXIF DateTimeOriginal)", "use another rule of --sessions, or remove the image")
    return by_time(captures, rule.gap_s, found.splits), problem, []


def _table_sessions(found: Source, rule: SessionRule) -> _Grouping:
    files = {entry.file_name: entry.path for entry in found.entries}
    sessions, unknown = sessions_of(files, rule.rows, str(rule.table))
    notes = []
    if unknown:
        rows = plural(len(unknown), "row of", "rows of") + f" {rule.table}"
        notes = [f"{rows} without an image in the source: {_examples(unknown)}"]
    others = f", which has {plural(len(unknown), 'row')} of no image: {_examples(unknown)}" if unknown else ""
    return sessions, (f"no row in {rule.table}{others}", "add a row with its session, or remove the image"), notes


def _single_sessions(found: Source, _rule: SessionRule) -> _Grouping:
    stems = Counter(stem_of(entry.file_name) for entry in found.entries)
    sessions = {
        entry.file_name: entry.file_name if stems[stem_of(entry.file_name)] > 1 else stem_of(entry.file_name)
        for entry in found.entries
    }
    return sessions, ("", ""), [LEAKAGE]


def _examples(rows: Iterable[str]) -> str:
    return listed(map(printable, rows), at_most=3)


def _too_slow(rule: SessionRule, name: str) -> DataError:
    return DataError(
        f"--sessions {rule.text!r} takes more than {MATCHING_MAX_S:g} s; it was at {printable(name)}",
        needed="an expression without a repetition inside a repetition, such as (a+)+",
        fix=r"simplify it, as in --sessions 'name:^(.+)_\d+$'",
    )


def _no_session(found: Source, rule: SessionRule) -> DataError:
    """The error about a rule that fits no image."""
    names = listed((printable(entry.file_name) for entry in found.entries), at_most=3)
    what = {
        "name": "does not match any of",
        "exif-time": "finds no capture time (EXIF DateTimeOriginal) in any of",
        "file": "has no row for any of",
    }[rule.kind]
    rows = f"; its rows are such as {_examples(rule.rows)}" if rule.rows else ""
    return DataError(
        f"--sessions {rule.text!r} {what} {plural(len(found.entries), 'image')}: {names}{rows}",
        needed="a rule that gives every image a session",
        fix="correct the rule; an import without --sessions proposes some that fit",
    )


LEAKAGE = (
    "one session per image: neighbouring frames of a recording are divided among train, val and test, so that "
    "scores on val and test are higher than they will be on new recordings (leakage); only near-duplicates stay "
    "together"
)
_RULES: Mapping[str, Callable[[Source, SessionRule], _Grouping]] = {
    "name": _name_sessions,
    "exif-time": _time_sessions,
    "file": _table_sessions,
    "one-per-image": _single_sessions,
}


def _split_notes(found: Source) -> list[str]:
    """A warning where the folders are the splits of an export; one alone divides nothing."""
    splits = found.splits if len(found.splits) > 1 else sibling_splits(entry.file_name for entry in found.entries)
    if not splits:
        return []
    folders = listed(map(printable, splits))
    return [
        f"{folders}: splits of the export, used as sessions. Images of one recording may be in several of them, so "
        "that scores on val and test would be too high (leakage); --sessions groups the images by recording"
    ]


def _folder(file_name: str, splits: Collection[str]) -> str:
    """The folder of an image, without the split of an export; "" for none."""
    parts = PurePosixPath(file_name).parts[:-1]
    return "/".join(parts[1:] if parts and parts[0] in splits else parts)


def _runs(images: list[tuple[datetime, str]], gap_s: float) -> list[list[tuple[datetime, str]]]:
    """Divide sorted images where the time between two of them exceeds ``gap_s`` seconds."""
    runs: list[list[tuple[datetime, str]]] = []
    for image in images:
        if runs and (image[0] - runs[-1][-1][0]).total_seconds() <= gap_s:
            runs[-1].append(image)
        else:
            runs.append([image])
    return runs


def _safe_names(sessions: set[str]) -> dict[str, str]:
    """A folder name for each session; a hash is added where two would become one."""
    # The same name in another Unicode form is the same session.
    composed = {session: unicodedata.normalize("NFC", session) for session in sessions}
    cleaned = {name: _cleaned(name) for name in set(composed.values())}
    shared = Counter(cleaned.values())
    unique = {
        name: clean if name == clean or shared[clean] == 1 else f"{clean}-{_digest(name)}"
        for name, clean in cleaned.items()
    }
    return {session: unique[name] for session, name in composed.items()}


def _cleaned(session: str) -> str:
    """One part of a path: no separators, no control characters, no dot in front, at most ``_BYTES_MAX`` bytes."""
    name = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in session).strip()
    name = re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), name).rstrip(". ")
    return _bounded(name, session, _BYTES_MAX) or "_"


def _bounded(name: str, source: str, limit: int) -> str:
    """``name`` within ``limit`` bytes of UTF-8; what is cut off is replaced by a hash of ``source``."""
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return name
    return encoded[: limit - 9].decode("utf-8", "ignore") + f"-{_digest(source)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _moved(entries: list[Entry], sessions: Mapping[str, str]) -> list[Entry]:
    """The entries as SESSION/FILE, each unique."""
    plain = {name: f"{session}/{PurePosixPath(name).name}" for name, session in sessions.items()}
    wanted = _unique(plain, _with_folder)
    final = _unique(wanted, lambda old: f"{_digest(old)}_{PurePosixPath(old).name}")
    return [replace(entry, file_name=final[entry.file_name]) for entry in entries]


def _unique(paths: Mapping[str, str], renamed: Callable[[str], str]) -> dict[str, str]:
    """Rename, in their folder, the files whose paths are not unique, regardless of upper and lower case."""
    counts = Counter(path.casefold() for path in paths.values())
    return {
        old: f"{PurePosixPath(path).parent}/{renamed(old)}" if counts[path.casefold()] > 1 else path
        for old, path in paths.items()
    }


def _with_folder(file_name: str) -> str:
    """``day1/r2/a.jpg`` -> ``day1_r2_a.jpg``."""
    path = PurePosixPath(file_name)
    folder = _bounded("_".join(path.parts[:-1]), file_name, _FOLDER_BYTES_MAX)
    return f"{folder}_{path.name}" if folder else path.name
