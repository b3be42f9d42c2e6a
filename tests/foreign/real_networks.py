"""Real ONNX files that other people trained and exported, out of a wheel on the package index (Apache-2.0)."""

import functools
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.packages import skip_without_index

WHEEL = "rapidocr-onnxruntime==1.4.4"
SHA256 = "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"
TEXT_DETECTOR = "ch_PP-OCRv4_det_infer.onnx"
"""PP-OCRv4, a text detector: opset 12, open batch, height and width, the score of each pixel. 62 convolutions."""
TURN_CLASSIFIER = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
"""A classifier of lines of text that are upside down: opset 11, all sizes open, 35 batch norms."""
TEXT_RECOGNIZER = "ch_PP-OCRv4_rec_infer.onnx"
"""A recognizer of text with attention: layer normalizations, products of activations, a softmax of 6,625 characters."""


@functools.cache
def networks() -> Path:
    """A folder with the files, downloaded once a process without what the package depends on."""
    folder = Path(_folder().name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), WHEEL],
        capture_output=True,
        text=True,
        check=False,
    )
    skip_without_index(done)
    if done.returncode:
        raise RuntimeError(f"{WHEEL} was not downloaded: {done.stderr}")
    (wheel,) = folder.glob("*.whl")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise RuntimeError(f"{wheel.name} is not the wheel that this test was written for")
    with zipfile.ZipFile(wheel) as archive:
        for name in (TEXT_DETECTOR, TURN_CLASSIFIER, TEXT_RECOGNIZER):
            (folder / name).write_bytes(archive.read(f"rapidocr_onnxruntime/models/{name}"))
    return folder


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="real_networks_")
