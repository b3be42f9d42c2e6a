"""Creates an exported graph with one wrong calibration scale."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def corrupt_scale(exported: Path, out: Path, layer: str, factor: float) -> Path:
    """Copy an ONNX artifact and multiply the input scale of one convolution by ``factor``, so that values round to 0.

    Other layers that read the same tensor are affected too.
    """
    shutil.copytree(exported, out)
    for path in (out, *out.iterdir()):
        path.chmod(path.stat().st_mode | 0o200)
    model = onnx.load(out / "model.onnx")
    [convolution] = [
        node for node in model.graph.node if node.op_type == "Conv" and node.input[2].startswith(f"{layer}.")
    ]
    makers = {node.output[0]: node for node in model.graph.node}
    dequantize = makers[convolution.input[0]]
    quantize = makers[dequantize.input[0]]
    [scale] = [numpy_helper.to_array(one) for one in model.graph.initializer if one.name == quantize.input[1]]
    model.graph.initializer.append(numpy_helper.from_array(np.array(factor * scale, np.float32), "corrupted"))
    quantize.input[1] = dequantize.input[1] = "corrupted"
    payload = model.SerializeToString(deterministic=True)
    (out / "model.onnx").write_bytes(payload)
    card = json.loads((out / "model.json").read_bytes())
    md5 = hashlib.md5(payload, usedforsecurity=False).hexdigest()
    (out / "model.json").write_text(json.dumps({**card, "md5": md5}))
    return out
