"""TensorRT's Python API, as the installed version has it: found out by looking, not by comparing version numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from robot_assets.core.errors import EngineError

_QUIET = "VERBOSE"
_LINES_MAX = 10_000


@dataclass(frozen=True)
class Features:
    """What the installed TensorRT can do, of what differs between 8.6 and 11.

    Attributes:
        version: Such as ``10.3.0``.
        has_precision_flags: Types may be chosen by the builder (weak typing); gone in 11.
        has_strong_typing: Types may be those of the graph; from 10.
        is_always_strong: There is nothing else; from 11.
        needs_explicit_batch: A network has to say that its batch is a dimension; until 8.6.
        has_stripped_plans: A plan may leave its weights out; from 10.
        has_dynamic_ranges: Scales can be given to tensors of a graph without Q/DQ, which is what a DLA wants; until 10.
        has_dla_parser: The parser can say what a DLA cannot run, and adjust a graph to it; in 11.
    """

    version: str
    has_precision_flags: bool
    has_strong_typing: bool
    is_always_strong: bool
    needs_explicit_batch: bool
    has_stripped_plans: bool
    has_dynamic_ranges: bool
    has_dla_parser: bool


@dataclass(eq=False)
class Log:
    """What TensorRT said since the log was opened.

    Attributes:
        lines: (severity, message), in order, without what is verbose; the last ten thousand.
    """

    lines: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_LINES_MAX))

    def errors(self) -> list[str]:
        """Messages of errors."""
        return [message for severity, message in self.lines if severity in ("ERROR", "INTERNAL_ERROR")]

    def text(self) -> str:
        """All of it, one message a line."""
        return "".join(f"[{severity}] {message}\n" for severity, message in self.lines)


_open: WeakSet[Log] = WeakSet()
_loggers: dict[int, tuple[Any, Any]] = {}


def import_tensorrt() -> Any:
    """TensorRT's module.

    Raises:
        EngineError: It is not installed, or not for this Python.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f"TensorRT does not import: {error}",
            needed="the Python package of the TensorRT that JetPack has on the device",
            fix="build and run this engine on its device: in the edge image (k8s/images), or with the wheel for this "
            "Python from NVIDIA's archive of that TensorRT; docs/jetson.md says how",
        ) from None
    return tensorrt


def features_of(trt: Any) -> Features:
    """Look at what a version of TensorRT has."""
    creation, flags = trt.NetworkDefinitionCreationFlag, trt.BuilderFlag
    has_precision_flags = hasattr(flags, "INT8")
    return Features(
        version=str(trt.__version__),
        has_precision_flags=has_precision_flags,
        has_strong_typing=hasattr(creation, "STRONGLY_TYPED"),
        is_always_strong=not has_precision_flags,
        needs_explicit_batch=hasattr(creation, "EXPLICIT_BATCH") and not hasattr(creation, "STRONGLY_TYPED"),
        has_stripped_plans=hasattr(flags, "STRIP_PLAN") and hasattr(flags, "REFIT_IDENTICAL"),
        has_dynamic_ranges=hasattr(trt.ITensor, "set_dynamic_range"),
        has_dla_parser=hasattr(trt.OnnxParserFlag, "REPORT_CAPABILITY_DLA"),
    )


def open_log(trt: Any) -> tuple[Log, Any]:
    """Listen to TensorRT from now on, for as long as the log lives.

    TensorRT has one logger a process: it keeps the first one that it is given, and ignores others. So all logs hear
    everything that is said while they are open, also about another engine that is built or run at the same time.

    Returns:
        The log, and the logger that TensorRT's objects are made with.
    """
    _, logger = _loggers.setdefault(id(trt), (trt, _make_logger(trt)))
    log = Log()
    _open.add(log)
    return log, logger


def made(kind: str, trt: Any, logger: Any, log: Log) -> Any:
    """A ``Builder`` or a ``Runtime``.

    Raises:
        EngineError: TensorRT cannot make one: its library does not fit the driver, or the device fails.
    """
    try:
        found = getattr(trt, kind)(logger)
    except TypeError:  # the bindings' way to say that they got a null pointer
        found = None
    if found is None:
        said = "; ".join(log.errors()[:3]) or "it does not say why"
        raise EngineError(
            f"TensorRT {trt.__version__} cannot make its {kind}: {said}",
            needed="a CUDA driver that this TensorRT runs on, and a device that works",
            fix="use the TensorRT of the device's own JetPack, and in a container an image for that JetPack",
        )
    return found


def _make_logger(trt: Any) -> Any:
    class Telling(trt.ILogger):  # type: ignore[misc]  # the module is found at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            name = str(getattr(severity, "name", severity))
            if name != _QUIET:
                for log in list(_open):
                    log.lines.append((name, message))

    return Telling()
