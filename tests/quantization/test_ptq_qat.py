"""PTQ and QAT on a small trained detector: real files in, real files out."""

import json
import shutil

import pytest
import torch

from robot_assets.core.errors import QuantizationError
from robot_assets.models.checkpoint import load_config
from robot_assets.quantization.artifact import load_quantization, load_quantized
from robot_assets.quantization.calibration import best_of, collect, evaluate_graph
from robot_assets.quantization.graph import convert, prepare
from robot_assets.quantization.ptq import ptq
from robot_assets.quantization.qat import qat
from tests.detector_chain import CLASSES, NETWORK, PTQ, QAT, TRAINING, checkpoint_only, ptq_only, whole


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_ptq_keeps_the_better_calibrator_and_records_both():
    found = load_quantization(ptq_only())
    figures = {name: found.val[name]["map50"] for name in ("mse", "percentile")}
    assert found.calibrator == best_of(figures)
    assert found.map50 == max(figures.values())
    assert found.val["checkpoint"]["map50"] > 0.2, "the small detector has learned nothing: no test of accuracy"
    assert found.map50 > found.val["checkpoint"]["map50"] - 0.1


def test_ptq_of_the_same_checkpoint_gives_the_same_bytes(tmp_path):
    dataset, checkpoint = checkpoint_only()
    ptq(checkpoint, dataset, PTQ, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(ptq_only())


def test_no_pickle_is_written():
    assert set(files_of(ptq_only())) == {"model.safetensors", "config.json", "quantization.json"}


@torch.no_grad()
def test_the_graph_rebuilt_from_the_files_gives_identical_outputs():
    dataset, _ = checkpoint_only()
    folder = ptq_only()
    first, config, quantization = load_quantized(folder)
    second, _, _ = load_quantized(folder)
    images = torch.rand(2, 3, NETWORK.input_height, NETWORK.input_width)
    quantized = convert(second)
    for one, other in zip(first(images), quantized(images), strict=True):
        assert torch.equal(one, other)
    assert config == load_config(folder)
    assert config.classes == CLASSES
    from robot_assets.data.packed import open_split

    again = evaluate_graph(quantized, open_split(dataset, "val"), NETWORK)
    assert again.as_json() == quantization.val[quantization.calibrator]


def test_qat_and_its_control_are_never_worse_than_their_start():
    found = load_quantization(whole().qat)
    assert found.val["qat"]["map50"] >= max(found.val[name]["map50"] for name in ("mse", "percentile"))
    assert found.val["fp32_control"]["map50"] >= found.val["checkpoint"]["map50"] - 1e-6
    for side in ("qat", "fp32_control"):
        history = found.training[side]["history"]
        assert [record["epoch"] for record in history] == [1]
    rates = [found.training[side]["history"][0]["learning_rate"] for side in ("qat", "fp32_control")]
    assert rates[0] == rates[1]


def test_qat_calibrates_as_ptq_does():
    post, aware = load_quantization(ptq_only()), load_quantization(whole().qat)
    assert (aware.calibrator, aware.scales) == (post.calibrator, post.scales)


def test_qat_that_was_killed_continues_and_ends_with_the_same_bytes(tmp_path):
    dataset, checkpoint = checkpoint_only()
    spec = QAT.model_copy(update={"epochs": 2})
    qat(checkpoint, dataset, spec, TRAINING, tmp_path / "whole", tmp_path / "scratch_1")

    class Killed(BaseException):
        pass

    from robot_assets.core.progress import listening

    def kill(what, done, total, note):
        if (what, done) == ("qat", 1):
            raise Killed

    with listening(kill), pytest.raises(Killed):
        qat(checkpoint, dataset, spec, TRAINING, tmp_path / "out", tmp_path / "scratch_2")
    assert not (tmp_path / "out").exists()
    epochs = []

    def watch(what, done, total, note):
        if what in ("qat", "fp32_control"):
            epochs.append((what, done))

    with listening(watch):
        qat(checkpoint, dataset, spec, TRAINING, tmp_path / "out", tmp_path / "scratch_2")
    assert ("qat", 1) not in epochs
    assert ("fp32_control", 1) not in epochs
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_data_set_without_calibration_images_is_refused(tmp_path):
    dataset, checkpoint = checkpoint_only()
    shutil.copytree(dataset, tmp_path / "dataset")
    (tmp_path / "dataset" / "calibration.json").write_text(json.dumps({"indices": []}))
    from robot_assets.models.checkpoint import load_network

    prepared = prepare(load_network(checkpoint)[0], NETWORK)
    with pytest.raises(QuantizationError, match="calibration_images"):
        collect(prepared, tmp_path / "dataset", NETWORK)


def test_a_checkpoint_without_metrics_is_refused_and_nothing_is_left(tmp_path):
    dataset, checkpoint = checkpoint_only()
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "metrics.json").unlink()
    with pytest.raises(QuantizationError, match=r"metrics\.json"):
        ptq(tmp_path / "checkpoint", dataset, PTQ, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_damaged_quantization_json_is_refused(tmp_path):
    shutil.copytree(ptq_only(), tmp_path / "ptq")
    path = tmp_path / "ptq" / "quantization.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(QuantizationError, match=r"quantization\.json"):
        load_quantized(tmp_path / "ptq")
    path.unlink()
    with pytest.raises(QuantizationError, match="no "):
        load_quantized(tmp_path / "ptq")
