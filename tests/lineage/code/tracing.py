"""Traces every function of ours that runs, in all threads and in the Python processes that are started meanwhile."""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
_FOLDER_VARIABLE = "TRACED_FUNCTIONS"
_IN_ANOTHER_PROCESS = "from tests.lineage.code.tracing import trace_this_process\ntrace_this_process()\n"


class Tracer:
    """Collects functions of ``robot_assets``.

    Module bodies, and what they call while a module is imported, are left out.

    Args:
        outside: Names of modules and packages that are left out, with everything that they call.
    """

    def __init__(self, outside: tuple[str, ...]) -> None:
        self._outside = outside
        self._codes: set[CodeType] = set()
        self._inside = threading.local()

    @property
    def functions(self) -> set[tuple[str, str]]:
        """Module and qualified name of each."""
        return {(module, code.co_qualname) for code in self._codes if (module := _module(code.co_filename))}

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace this thread, and every thread that it starts."""
        before = sys.getprofile()
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(None)

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """The profile function of Python: one call or return."""
        code = frame.f_code
        module = _module(code.co_filename)
        if module is None or event not in ("call", "return"):
            return
        if code.co_name == "<module>" and frame.f_globals["__name__"] == "__main__":
            return  # a program: what it calls is no import
        depth = getattr(self._inside, "depth", 0)
        if self._is_left_out(code, module):
            self._inside.depth = depth + (1 if event == "call" else -1)
        elif not depth:
            self._codes.add(code)

    def _is_left_out(self, code: CodeType, module: str) -> bool:
        return code.co_name == "<module>" or any(
            module == name or module.startswith(f"{name}.") for name in self._outside
        )


def called_during(action: Callable[[], object], outside: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Module and qualified name of every function of ours that runs during ``action``, also in another process."""
    tracer = Tracer(outside)
    _forget_answers()
    with tempfile.TemporaryDirectory() as folder, _processes_trace(Path(folder), outside):
        with tracer.tracing():
            action()
        found = [tuple(one) for path in Path(folder).glob("*.json") for one in json.loads(path.read_bytes())]
    return tracer.functions.union(found)


def trace_this_process() -> None:
    """Trace until the process ends, and leave what was called in the folder that the environment names."""
    asked: Mapping[str, Any] = json.loads(os.environ[_FOLDER_VARIABLE])
    tracer = Tracer(tuple(asked["outside"]))
    threading.setprofile(tracer.note)
    sys.setprofile(tracer.note)
    path = Path(asked["folder"], f"{os.getpid()}.json")
    atexit.register(lambda: path.write_text(json.dumps(sorted(tracer.functions))))


@contextmanager
def _processes_trace(folder: Path, outside: tuple[str, ...]) -> Iterator[None]:
    """Make Python processes trace themselves, by a ``sitecustomize`` on their path."""
    (folder / "sitecustomize.py").write_text(_IN_ANOTHER_PROCESS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_FOLDER_VARIABLE, json.dumps({"folder": str(folder), "outside": outside}))
        for one in (ROOT, folder):
            patch.setenv("PYTHONPATH", str(one), prepend=os.pathsep)
        yield


def _forget_answers() -> None:
    """Empty every cache of functions of ours, so that what was called before is called again."""
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] == "robot_assets" and not name.startswith("robot_assets.lineage.code"):
            for value in [*vars(module).values()]:
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@cache
def _module(file: str) -> str | None:
    """The module of a source file of ours."""
    path = Path(file)
    if not path.is_relative_to(ROOT / "robot_assets"):
        return None
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
