"""PTQ and QAT of a small trained detector, from files to files."""

import json
import shutil

import pytest
import torch

from robot_assets.core.errors import QuantizationError
from robot_assets.core.progress import listening
from robot_assets.data.packed import open_split
from robot_assets.quantization.artifact import load_quantization, load_quantized
from robot_assets.quantization.calibration import best_of, collect_histograms, evaluate_graph
from robot_assets.quantization.graph import convert, prepare
from robot_assets.quantization.ptq import ptq
from robot_assets.quantization.qat import qat
from robot_assets.tasks.detection.checkpoint import load_config, load_network
from tests.detector_chain import CLASSES, NETWORK, PTQ, QAT, TRAINING, checkpoint_only, ptq_only, whole


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_ptq_keeps_the_better_calibrator_and_records_both():
    found = load_quantization(ptq_only())
    map50 = {name: found.val[name]["map50"] for name in ("mse", "percentile")}
    assert found.calibrator == best_of(map50)
    assert found.map50 == max(map50.values())
    assert found.val["checkpoint"]["map50"] > 0.2, "the small detector is not accurate enough for this test"
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
    again = evaluate_graph(quantized, open_split(dataset, "val"), NETWORK)
    assert again.as_json() == quantization.val[quantization.calibrator]


def test_qat_and_its_control_are_at_least_as_good_as_their_start():
    found = load_quantization(whole().qat)
    assert found.val["qat"]["map50"] >= max(found.val[name]["map50"] for name in ("mse", "percentile"))
    assert found.val["fp32_control"]["map50"] >= found.val["checkpoint"]["map50"] - 1e-6
    histories = [found.training[name]["history"] for name in ("qat", "fp32_control")]
    assert [[record["epoch"] for record in history] for history in histories] == [[1], [1]]
    assert histories[0][0]["learning_rate"] == histories[1][0]["learning_rate"]


def test_qat_and_ptq_have_the_same_calibration():
    after, during = load_quantization(ptq_only()), load_quantization(whole().qat)
    assert (during.calibrator, during.scales) == (after.calibrator, after.scales)


def epochs_of_qat(spec, out, scratch):
    """Run QAT; returns (training, epoch) of each epoch that was trained."""
    dataset, checkpoint = checkpoint_only()
    epochs = []

    def collect(what, done, total, note):
        if what in ("qat", "fp32_control"):
            epochs.append((what, done))

    with listening(collect):
        qat(checkpoint, dataset, spec, TRAINING, out, scratch)
    return epochs


def test_qat_continues_after_a_kill_or_the_loss_of_its_output_and_gives_the_same_bytes(tmp_path):
    dataset, checkpoint = checkpoint_only()
    spec = QAT.model_copy(update={"epochs": 2})
    every_epoch = [("fp32_control", 1), ("fp32_control", 2), ("qat", 1), ("qat", 2)]
    assert epochs_of_qat(spec, tmp_path / "uninterrupted", tmp_path / "scratch_1") == every_epoch
    expected = files_of(tmp_path / "uninterrupted")

    class Killed(BaseException):
        pass

    def kill(what, done, total, note):
        if (what, done) == ("qat", 1):
            raise Killed

    with listening(kill), pytest.raises(Killed):
        qat(checkpoint, dataset, spec, TRAINING, tmp_path / "out", tmp_path / "scratch_2")
    assert not (tmp_path / "out").exists()
    assert epochs_of_qat(spec, tmp_path / "out", tmp_path / "scratch_2") == [("qat", 2)]
    assert files_of(tmp_path / "out") == expected

    shutil.rmtree(tmp_path / "out")
    assert epochs_of_qat(spec, tmp_path / "out", tmp_path / "scratch_2") == []
    assert files_of(tmp_path / "out") == expected


def test_a_data_set_without_calibration_images_is_refused(tmp_path):
    dataset, checkpoint = checkpoint_only()
    shutil.copytree(dataset, tmp_path / "dataset")
    (tmp_path / "dataset" / "calibration.json").write_text(json.dumps({"indices": []}))
    prepared = prepare(load_network(checkpoint)[0], NETWORK)
    with pytest.raises(QuantizationError, match="calibration_images"):
        collect_histograms(prepared, tmp_path / "dataset", NETWORK)


def test_a_checkpoint_without_metrics_is_refused_and_no_file_is_written(tmp_path):
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
