"""The network of this package, moved out into an installed package, is trained to the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

from safetensors.numpy import load_file

from robot_assets.training.loop import train
from robot_assets.training.spec import TrainingSpec
from tests.detector_chain import NETWORK
from tests.detectors import definition
from tests.plugins import install, with_plugin

SPEC = TrainingSpec(epochs=2, batch_size=8, learning_rate=4e-3, ema_decay=0.9, evaluate_every=2, threads=1)
PYPROJECT = """
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-nets"
version = "0.1.0"

[tool.setuptools]
packages = ["acme_nets"]
"""
MOVED = '''

class Moved(Detector):
    """The detector with arguments of its own."""

    def __init__(self, width, depth, finest_stride, classes):
        super().__init__(SimpleNamespace(width=width, depth=depth, finest_stride=finest_stride), classes)
        _initialize(self)
'''
TRAINING = """
import json, sys
from pathlib import Path
from robot_assets.tasks.interface import Preprocessing
from robot_assets.tasks.networks import NetworkDefinition, OwnNetwork
from robot_assets.training.loop import train
from robot_assets.training.spec import TrainingSpec
from tests.detectors import LOSS

dataset, network, spec, out, scratch = sys.argv[1:]
definition = NetworkDefinition("detection", OwnNetwork(**json.loads(network)), Preprocessing(), LOSS)
train(Path(dataset), definition, TrainingSpec.model_validate_json(spec), Path(out), Path(scratch))
assert "robot_assets.tasks.detection.network" not in sys.modules
"""


def moved_files(repository: Path) -> dict[str, str]:
    """The source of the network and of its blocks, with nothing of this package's but the spec that is gone."""
    tasks = repository / "robot_assets" / "tasks"
    network = (tasks / "detection" / "network.py").read_text()
    network = network.replace("from robot_assets.tasks.blocks import", "from acme_nets.blocks import")
    network = network.replace("from robot_assets.tasks.detection.spec import NetworkSpec", "NetworkSpec = object")
    network = network.replace("import math\n", "import math\nfrom types import SimpleNamespace\n", 1)
    assert "robot_assets" not in network.replace("robot_assets.tasks.detection.decode`", "")
    return {
        "pyproject.toml": PYPROJECT,
        "acme_nets/__init__.py": "",
        "acme_nets/blocks.py": (tasks / "blocks.py").read_text(),
        "acme_nets/detector.py": network + MOVED,
    }


def test_its_weights_are_those_of_the_built_in_one_bit_for_bit(
    repository: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    train(drawn_dataset, definition(NETWORK), SPEC, tmp_path / "ours", tmp_path / "scratch")
    installed = install(moved_files(repository), tmp_path / "package")
    network = {
        "kind": "acme_nets.detector:Moved",
        "arguments": {"width": NETWORK.width, "depth": NETWORK.depth, "finest_stride": 8, "classes": 3},
        "input_height": NETWORK.input_height,
        "input_width": NETWORK.input_width,
        "heads": {"strides": [8, 16]},
    }
    arguments = [drawn_dataset, json.dumps(network), SPEC.model_dump_json(), tmp_path / "moved", tmp_path / "other"]
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, *map(str, arguments)],
        env=with_plugin({**os.environ}, installed),
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    ours, moved = (load_file(tmp_path / name / "model.safetensors") for name in ("ours", "moved"))
    assert set(ours) == set(moved)
    assert all((ours[name] == moved[name]).all() for name in ours)
    histories = [(tmp_path / name / "history.json").read_bytes() for name in ("ours", "moved")]
    assert histories[0] == histories[1]
