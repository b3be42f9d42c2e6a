"""The standard streams of a command: closed, full, without a reader, or in an encoding of few characters."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("stdin", "stdout", "stderr")
_OUTPUTS = ("stdout", "stderr")


class OutputError(Exception):
    """A standard stream cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.is_reader_gone = error.errno == errno.EPIPE


class _Output(io.TextIOWrapper):
    """A standard stream that raises OutputError once, and discards what follows: Python flushes again when it exits.

    The streams below are Python's own. With a ``write`` in Python there, Ctrl-C could arrive after the system call and
    before the buffer has heard of it, and what was printed would be printed again.
    """

    def write(self, text: str) -> int:
        with _discarding_errors(self.fileno()):
            return super().write(text)

    def flush(self) -> None:
        with _discarding_errors(self.fileno()):
            super().flush()


@contextmanager
def _discarding_errors(descriptor: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
        raise OutputError(error) from None


def prepare() -> None:
    """Make the standard streams of this process usable.

    A closed one becomes the null device: otherwise the next file that the command opens would take its place, and
    receive what is printed. Characters that the encoding of the output lacks are escaped.
    """
    for descriptor, name in enumerate(_NAMES):
        if not _is_open(descriptor):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        if name in _OUTPUTS:
            setattr(sys, name, _output(descriptor, name))
        elif sys.stdin is None:
            sys.stdin = os.fdopen(descriptor, encoding="utf-8", closefd=False)


def _output(descriptor: int, name: str) -> io.TextIOWrapper:
    """An output stream in the encoding of the one that Python has opened."""
    before = getattr(sys, name)
    if before is not None:
        before.flush()
    return _Output(
        io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=name == "stderr" or os.isatty(descriptor),
    )


def quiet_libraries() -> None:
    """Keep warnings and log lines of libraries off the terminal; those of this project stay."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if isinstance(logging.lastResort, logging.Handler):
        logging.lastResort.addFilter(lambda record: record.name.startswith(("robot_assets", "dagster_project")))
    for name in ("torchao", "torch.utils._pytree"):  # loggers with handlers of their own
        logging.getLogger(name).setLevel(logging.ERROR)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
