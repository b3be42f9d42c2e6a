"""The standard streams of a command: closed, full, without a reader, or in an encoding of few characters."""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import warnings

_NAMES = ("stdin", "stdout", "stderr")
_OUTPUTS = (1, 2)


def prepare() -> None:
    """Open the null device for closed streams, and escape characters that the encoding of the output lacks.

    Otherwise a file that the command opens would take the place of a closed stream, and receive what is printed.
    """
    for descriptor, name in enumerate(_NAMES):
        if not _is_open(descriptor):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        if getattr(sys, name) is None:
            mode = "w" if descriptor in _OUTPUTS else "r"
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def quiet_libraries() -> None:
    """Keep warnings and log lines of libraries off the terminal; those of this project stay."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if isinstance(logging.lastResort, logging.Handler):
        logging.lastResort.addFilter(lambda record: record.name.startswith(("robot_assets", "dagster_project")))
    for name in ("torchao", "torch.utils._pytree"):  # loggers with handlers of their own
        logging.getLogger(name).setLevel(logging.ERROR)


def is_reader_gone() -> bool:
    """Whether the standard output or error is a pipe that no one reads any more."""
    poll = select.poll()
    for descriptor in _OUTPUTS:
        poll.register(descriptor, 0)  # errors are always reported
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def output_failure() -> str:
    """Why the standard output cannot be written, in the words of the operating system; empty when it can.

    Output that could not be written is discarded.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        discard_output()
        return error.strerror or str(error)
    return ""


def discard_output() -> None:
    """Send to the null device what the standard streams cannot write: Python would try again when it exits."""
    for descriptor, stream in zip(_OUTPUTS, (sys.stdout, sys.stderr), strict=True):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
