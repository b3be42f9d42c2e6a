"""TensorRT's Python API as the installed version has it, found by feature detection, not by version numbers."""

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
    """Capabilities of the installed TensorRT that differ between 8.6 and 11.

    Attributes:
        version: Such as ``10.3.0``.
        has_precision_flags: Types may be chosen by the builder (weak typing); removed in 11.
        has_strong_typing: Types may be those of the graph; from 10.
        is_always_strong: Types are always those of the graph; from 11.
        needs_explicit_batch: A network needs the flag that its batch is a dimension; until 8.6.
        has_stripped_plans: A plan may omit its weights; from 10.
        has_dynamic_ranges: Ranges can be set on tensors of a graph without Q/DQ, which a DLA needs; until 10.
        has_dla_parser: The parser can report what a DLA cannot run, and adjust a graph to it; in 11.
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
    """Messages of TensorRT since the log was opened.

    Attributes:
        lines: (severity, message) in order, without verbose ones; the last ten thousand.
    """

    lines: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_LINES_MAX))

    def errors(self) -> list[str]:
        """Messages of errors."""
        return [message for severity, message in self.lines if severity in ("ERROR", "INTERNAL_ERROR")]

    def text(self) -> str:
        """All messages, one per line."""
        return "".join(f"[{severity}] {message}\n" for severity, message in self.lines)


_open: WeakSet[Log] = WeakSet()
_loggers: dict[int, tuple[Any, Any]] = {}


def import_tensorrt() -> Any:
    """Import TensorRT's module.

    Raises:
        EngineError: It is not installed for this Python.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f"TensorRT does not import: {error}",
            needed="the Python package of the TensorRT that JetPack has on the device",
            fix="build and run this engine on its device: in the edge image (k8s/images), or with the wheel for this "
            "Python from NVIDIA's archive of that TensorRT (docs/jetson.md)",
        ) from None
    return tensorrt


def features_of(trt: Any) -> Features:
    """Detect the capabilities of a version of TensorRT."""
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
    """Collect TensorRT's messages from now on, for as long as the log lives.

    TensorRT has one logger per process: it keeps the first one and ignores others. So each open log collects all
    messages, including those about other engines that are built or run at the same time.

    Returns:
        The log, and the logger to create TensorRT's objects with.
    """
    _, logger = _loggers.setdefault(id(trt), (trt, _make_logger(trt)))
    log = Log()
    _open.add(log)
    return log, logger


def create(kind: str, trt: Any, logger: Any, log: Log) -> Any:
    """Create a ``Builder`` or a ``Runtime``.

    Raises:
        EngineError: TensorRT cannot create it: its library does not fit the driver, or the device fails.
    """
    try:
        found = getattr(trt, kind)(logger)
    except TypeError:  # raised by the bindings for a null pointer
        found = None
    if found is None:
        reason = "; ".join(log.errors()[:3]) or "it gives no reason"
        raise EngineError(
            f"TensorRT {trt.__version__} cannot create its {kind}: {reason}",
            needed="a CUDA driver that supports this TensorRT, and a device that works",
            fix="use the TensorRT of the device's own JetPack, and in a container an image for that JetPack",
        )
    return found


def _make_logger(trt: Any) -> Any:
    class Collecting(trt.ILogger):  # type: ignore[misc]  # the module is imported at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            name = str(getattr(severity, "name", severity))
            if name != _QUIET:
                for log in list(_open):
                    log.lines.append((name, message))

    return Collecting()
