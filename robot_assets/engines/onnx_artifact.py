"""Reads the ONNX artifact that an engine is built from: its graph and its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.core.validation import mistakes
from robot_assets.platforms.probe import probe
from robot_assets.runtime.decoding import decoder_code
from robot_assets.tasks.interface import Interface

if TYPE_CHECKING:
    from onnx import ModelProto

MODEL = "model.onnx"
CARD = "model.json"


def read_export(onnx: Path) -> tuple[dict[str, Any], ModelProto]:
    """Read the card and the graph of a directory that ``export_onnx`` wrote.

    Raises:
        EngineError: A file is missing or damaged, or the card describes another graph.
    """
    import onnx as onnx_library

    try:
        card = json.loads((onnx / CARD).read_bytes())
        model = onnx_library.load(onnx / MODEL, load_external_data=False)
        found, stated = md5_of(onnx / MODEL), card["md5"]
    except Exception as error:  # protobuf and json errors share no base
        raise EngineError(
            f"{onnx} is not a complete ONNX artifact ({type(error).__name__}: {error})",
            needed="model.onnx and model.json",
            fix="export again, or restore the whole directory from the store",
        ) from None
    if found != stated:
        raise EngineError(
            f"{onnx / MODEL} has md5 {found}, its model.json says {stated}",
            needed="the graph that model.json describes",
            fix="export again, or restore the whole directory from the store",
        )
    return card, model


def interface_of(onnx: Path, card: dict[str, Any]) -> Interface:
    """The interface of the network in an ONNX artifact.

    Args:
        onnx: The ONNX artifact.
        card: Its card.

    Raises:
        EngineError: The card has none, or one that is not complete.
    """
    try:
        return Interface.model_validate(card["interface"])
    except ValidationError as error:
        found = "; ".join(f"interface.{mistake}" for mistake in mistakes(error))
    except KeyError:
        found = "it has no interface: another version of robot-assets exported it"
    raise EngineError(
        f"{onnx / CARD} is not the card of an ONNX artifact: {found}",
        needed="task, classes, input, heads and decoder under the key interface",
        fix="export again, or restore the whole directory from the store",
    )


def manifest_fields(onnx: Path, card: dict[str, Any], engine: Path) -> dict[str, Any]:
    """The fields that the manifests of all engine kinds have in common, but for ``kind`` and ``kernels``.

    Args:
        onnx: The ONNX artifact.
        card: Its card.
        engine: The file of the engine, built on this device.

    Raises:
        EngineError: The card has no interface, or its task is not installed here.
    """
    here = probe()
    interface = interface_of(onnx, card)
    return {
        "onnx_md5": md5_of(onnx / MODEL),
        "engine_md5": md5_of(engine),
        "engine_size_bytes": engine.stat().st_size,
        "platform": here.as_json(),
        "platform_fingerprint": here.fingerprint,
        "interface": interface,
        "decoder_code": decoder_code(interface),
    }
