import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_assets.core.progress import listening
from robot_assets.tasks.checkpoint import load_network
from robot_assets.training.loop import train
from robot_assets.training.resume import STATE
from robot_assets.training.spec import TrainingSpec
from tests.detector_chain import CLASSES, DEFINITION, NETWORK

SPEC = TrainingSpec(epochs=4, batch_size=8, learning_rate=4e-3, ema_decay=0.9, evaluate_every=2, threads=1)
FILES = ("config.json", "history.json", "metrics.json", "model.safetensors")

TRAINING_THAT_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from robot_assets.core.progress import listening
from robot_assets.training.loop import train
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.spec import TrainingSpec
from tests.detectors import definition

dataset, network, spec, out, scratch, epoch = sys.argv[1:]

def kill_in_second_step(what, done, total, note):
    if what == f"train epoch {epoch}" and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

with listening(kill_in_second_step):
    train(Path(dataset), definition(NetworkSpec.model_validate_json(network)),
          TrainingSpec.model_validate_json(spec), Path(out), Path(scratch))
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def trained(drawn_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    train(drawn_dataset, DEFINITION, SPEC, root / "checkpoint", root / "scratch")
    return root


def test_a_training_publishes_a_checkpoint_that_loads(trained: Path, drawn_dataset: Path) -> None:
    assert tuple(contents(trained / "checkpoint")) == FILES
    _, config = load_network(trained / "checkpoint")
    assert config.network == NETWORK
    assert config.interface.classes == CLASSES


def test_a_finished_training_without_its_output_finishes_from_its_state_without_training(
    trained: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "scratch", tmp_path / "scratch")
    reports: list[str] = []

    with listening(lambda what, done, total, note: reports.append(what)):
        summary = train(drawn_dataset, DEFINITION, SPEC, tmp_path / "checkpoint", tmp_path / "scratch")

    assert not [what for what in reports if what.startswith("train epoch")]
    assert (summary.resumed_from_epoch, summary.epochs, summary.images_per_s) == (4, 4, 0)
    assert contents(tmp_path / "checkpoint") == contents(trained / "checkpoint")


def test_the_history_has_one_record_per_epoch_and_metrics_of_each_evaluation(trained: Path) -> None:
    epochs = json.loads((trained / "checkpoint" / "history.json").read_text())["epochs"]
    assert [record["epoch"] for record in epochs] == [1, 2, 3, 4]
    assert ["val_map50" in record for record in epochs] == [False, True, False, True]
    assert epochs[-1]["loss"] < epochs[0]["loss"]


def killed_in_epoch(epoch: int, dataset: Path, out: Path, scratch: Path) -> None:
    """Train in a process that is killed in the middle of ``epoch``."""
    arguments = [dataset, NETWORK.model_dump_json(), SPEC.model_dump_json(), out, scratch, epoch]
    command = [sys.executable, "-c", TRAINING_THAT_IS_KILLED, *map(str, arguments)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def test_a_training_killed_twice_gives_the_bytes_of_an_uninterrupted_one(
    trained: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    out, scratch = tmp_path / "checkpoint", tmp_path / "scratch"
    killed_in_epoch(2, drawn_dataset, out, scratch)
    killed_in_epoch(4, drawn_dataset, out, scratch)
    assert not out.exists()

    summary = train(drawn_dataset, DEFINITION, SPEC, out, scratch)

    assert summary.resumed_from_epoch == 3
    assert contents(out) == contents(trained / "checkpoint")


def test_the_state_of_another_training_is_not_continued(drawn_dataset: Path, tmp_path: Path) -> None:
    killed_in_epoch(2, drawn_dataset, tmp_path / "out", tmp_path / "scratch")
    assert (tmp_path / "scratch" / STATE).exists()
    once = SPEC.model_copy(update={"epochs": 1})
    summary = train(drawn_dataset, DEFINITION, once, tmp_path / "out", tmp_path / "scratch")
    assert summary.resumed_from_epoch == 0


def test_a_training_with_a_damaged_state_starts_again(drawn_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / STATE).write_bytes(b"PK\x03\x04 not a state")
    once = SPEC.model_copy(update={"epochs": 1})
    assert train(drawn_dataset, DEFINITION, once, tmp_path / "out", tmp_path / "scratch").epochs == 1


def test_a_few_epochs_find_the_rectangles(drawn_dataset: Path, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"epochs": 24, "evaluate_every": 24})
    summary = train(drawn_dataset, DEFINITION, spec, tmp_path / "out", tmp_path / "scratch")
    assert summary.val.score > 0.5
    assert summary.best_epoch == 24
