"""Exceptions of Dagster, SQLAlchemy and PostgreSQL's driver in found, needed and fix, for the edge of the command line.

Exceptions are recognized by the module of their class, so that neither library is imported after a failure.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.os_errors import TranslatedError, sqlite_error

_LIBRARIES = ("dagster", "dagster_shared", "dagster_postgres", "dagster_graphql", "sqlalchemy", "psycopg2", "alembic")


def translated(error: BaseException) -> RobotAssetsError | None:
    """An exception of these libraries in three parts; None for others, and for those raised from another exception."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    library = _library(type(error))
    if library is None:
        return None
    if library in ("sqlalchemy", "psycopg2", "alembic"):
        return _database_error(error, kinds)
    if error.__cause__ is not None:  # what it was raised from says more
        return None
    return _dagster_error(error, kinds)


def _library(kind: type[BaseException]) -> str | None:
    """The library whose exception this class is, or derives from."""
    names = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((name for name in names if name in _LIBRARIES), None)


def _database_error(error: BaseException, kinds: set[str]) -> RobotAssetsError:
    original = getattr(error, "orig", None) or error
    if found := sqlite_error(original, _home()):
        return found
    if "OperationalError" in kinds and _library(type(original)) == "psycopg2":
        return TranslatedError(
            f"PostgreSQL cannot be used: {_line(original)}",
            needed="a running server, and an address and a password in dagster.yaml that it accepts",
            fix=f"pg_isready   # with the host of storage.postgres in {_shown_home()}/dagster.yaml",
        )
    if kinds & {"ArgumentError", "NoSuchModuleError"}:
        return TranslatedError(
            f"the database of the instance has no valid address: {_line(error)}",
            needed="an address such as postgresql://USER:PASSWORD@HOST:5432/DATABASE",
            fix=f"grep -n -A9 storage: {_shown_home()}/dagster.yaml   # the address to correct",
        )
    return TranslatedError(
        f"the database of the instance failed: {_line(original)}",
        needed="a database that this version of Dagster has written",
        fix="dagster instance migrate   # when an older version has written it; else restore it from a backup",
    )


def _dagster_error(error: BaseException, kinds: set[str]) -> RobotAssetsError:
    if "DagsterHomeNotSetError" in kinds or "DAGSTER_HOME" in str(error):
        return TranslatedError(
            f"DAGSTER_HOME cannot be used: {os.environ.get('DAGSTER_HOME') or 'it is not set'}",
            needed="an absolute path of an existing folder, or no DAGSTER_HOME",
            fix="unset DAGSTER_HOME   # the checkout then uses its own .dagster",
        )
    if "DagsterInvalidConfigError" in kinds or "dagster.yaml" in str(error):
        return TranslatedError(
            f"{_shown_home()}/dagster.yaml is not a valid configuration: {_reasons(error)}",
            needed="a valid configuration; without the file the default one is written",
            fix=f"mv {_shown_home()}/dagster.yaml {_shown_home()}/dagster.yaml.damaged",
        )
    if kinds & {"DagsterUserCodeUnreachableError", "DagsterUserCodeProcessError", "DagsterCodeLocationLoadError"}:
        return TranslatedError(
            f"Dagster cannot load the assets: {_line(error)}",
            needed="a code location that loads",
            fix="robot-assets plan   # loads the same assets in this process, and shows why they do not load",
        )
    return TranslatedError(
        f"Dagster failed: {type(error).__name__}: {_line(error)}",
        needed="an instance and a project that Dagster can use",
        fix="robot-assets plan --debug   # shows where",
    )


def _reasons(error: BaseException) -> str:
    """The messages of an invalid configuration without Dagster's introduction."""
    messages = [one.message for one in getattr(error, "errors", ()) if isinstance(getattr(one, "message", None), str)]
    return "; ".join(" ".join(message.split()) for message in messages) or _line(error)


def _line(error: BaseException) -> str:
    """The first line of a message that is not empty."""
    lines: Iterator[str] = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__).rstrip(":.")


def _home() -> Path | None:
    home = os.environ.get("DAGSTER_HOME")
    return Path(home) if home else None


def _shown_home() -> str:
    return shlex.quote(str(_home() or ".dagster"))
