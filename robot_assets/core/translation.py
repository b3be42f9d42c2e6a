"""Foreign exceptions in found, needed and fix: what the operating system, SQLite, YAML, pydantic and JSON raise.

A package that brings a library with exceptions of its own adds a translator (:func:`add_translator`) when it is
imported, before that library can raise anything.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.extras import missing_library
from robot_assets.core.os_errors import TranslatedError, sqlite_error, system_error
from robot_assets.core.text import plural

Translator = Callable[[BaseException], RobotAssetsError | None]
"""Takes an exception; returns the same as an error with three parts, or None when it does not know the exception."""

_added: list[Translator] = []
_CAUSES_MAX = 20


def add_translator(translator: Translator) -> None:
    """Add the translator of a library; it is called before those of this module. Adding it again changes nothing."""
    if translator not in _added:
        _added.append(translator)


def translated(error: BaseException) -> RobotAssetsError | None:
    """``error``, or what it was raised from, as an error with three parts; None when no translator knows it."""
    causes = list(_causes(error))
    ours = (cause for cause in causes if isinstance(cause, RobotAssetsError))
    return next(ours, None) or next(filter(None, map(_translated, causes)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, the first of its group, and what it was raised from, outermost first."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            return
        yield cause
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__


def _translated(error: BaseException) -> RobotAssetsError | None:
    translators = (*_added, system_error, sqlite_error, _home_error, _import_error, _document_error, _limit_error)
    return next(filter(None, (translator(error) for translator in translators)), None)


def _home_error(error: BaseException) -> RobotAssetsError | None:
    """A path such as ``~nobody/robot``, as pathlib refuses it."""
    if not isinstance(error, RuntimeError) or "Could not determine home directory" not in str(error):
        return None
    return TranslatedError(
        "a path begins with ~, and this machine has no such user, or no home folder for the user",
        needed="a path without ~, or a user of this machine after it",
        fix="getent passwd   # shows the users and their home folders",
    )


def _import_error(error: BaseException) -> RobotAssetsError | None:
    return missing_library(error) if isinstance(error, ModuleNotFoundError) else None


def _document_error(error: BaseException) -> RobotAssetsError | None:
    """Text that is not what it should be: bytes that are not UTF-8, JSON, YAML, a document with mistakes."""
    if isinstance(error, UnicodeDecodeError):
        return TranslatedError(
            f"text that is not {error.encoding}: byte {error.object[error.start]:#04x} at {error.start:,}",
            needed="text in UTF-8",
            fix="iconv -f LATIN1 -t UTF-8 FILE > NEW   # or save the file as UTF-8",
        )
    if isinstance(error, json.JSONDecodeError):
        return TranslatedError(
            f"not JSON: {error.msg}, line {error.lineno}, column {error.colno}",
            needed="a valid JSON document",
            fix="python3 -m json.tool FILE   # shows the place; or restore the file",
        )
    return _yaml_error(error) or _validation_error(error)


def _yaml_error(error: BaseException) -> RobotAssetsError | None:
    yaml = sys.modules.get("yaml")
    if yaml is None or not isinstance(error, yaml.YAMLError):
        return None
    mark = getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return TranslatedError(
        f"not YAML: {getattr(error, 'problem', None) or 'a character that YAML does not allow'}{place}",
        needed="a valid YAML document",
        fix="correct the file at that place, or restore it",
    )


def _validation_error(error: BaseException) -> RobotAssetsError | None:
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(error, pydantic.ValidationError):
        return None
    from robot_assets.core.validation import mistakes

    lines = mistakes(error)
    return TranslatedError(
        f"{error.title} has {plural(len(lines), 'mistake')}: " + "; ".join(lines),
        needed="a document with valid values at these keys",
        fix="correct these keys, or restore the file",
        details={"mistakes": lines},
    )


def _limit_error(error: BaseException) -> RobotAssetsError | None:
    if isinstance(error, MemoryError):
        return TranslatedError(
            "the memory of this process is exhausted" + (f": {error}" if str(error) else ""),
            needed="more free memory, or smaller files and batches",
            fix="free -h   # then end other processes, or use a machine with more memory",
        )
    if isinstance(error, RecursionError):
        return TranslatedError(
            "the input is nested too deeply",
            needed="a document without hundreds of nested levels",
            fix="correct the file that was read; --debug shows where it was read",
        )
    return None
