"""PTQ and QAT of a small trained detector, from files to files."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from robot_assets.core.errors import QuantizationError
from robot_assets.core.progress import listening
from robot_assets.data.packed import open_split
from robot_assets.export.choice import choose
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kinds.ptq import facts as ptq_facts
from robot_assets.pipeline.kinds.qat import facts as qat_facts
from robot_assets.pipeline.params import Params
from robot_assets.quantization.artifact import load_quantization, load_quantized
from robot_assets.quantization.calibration import best_of, collect_histograms, evaluate_graph
from robot_assets.quantization.graph import convert, prepare
from robot_assets.quantization.ptq import PtqSummary, ptq
from robot_assets.quantization.qat import qat
from robot_assets.quantization.spec import PtqSpec
from robot_assets.tasks.checkpoint import load_config, load_network
from robot_assets.tasks.detection.task import METRIC
from tests.detector_chain import INTERFACE, LOSS, PTQ, QAT, TRAINING, checkpoint_only, ptq_only, whole
from tests.sample_params import sample_document


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_ptq_keeps_the_better_calibrator_and_records_both():
    found = load_quantization(ptq_only())
    map50 = {name: found.val[name]["map50"] for name in ("mse", "percentile")}
    assert found.calibrator == best_of(map50)
    assert found.score == max(map50.values())
    assert found.val["checkpoint"]["map50"] > 0.2, "the small detector is not accurate enough for this test"
    assert found.score > found.val["checkpoint"]["map50"] - 0.1


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
    images = torch.rand(2, *INTERFACE.input.shape[1:])
    quantized = convert(second)
    for one, other in zip(first(images), quantized(images), strict=True):
        assert torch.equal(one, other)
    assert config == load_config(folder)
    assert config.interface == INTERFACE
    again = evaluate_graph(quantized, open_split(dataset, "val"), INTERFACE)
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
        qat(checkpoint, ptq_only(), dataset, spec, TRAINING, LOSS, out, scratch)
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
        qat(checkpoint, ptq_only(), dataset, spec, TRAINING, LOSS, tmp_path / "out", tmp_path / "scratch_2")
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
    prepared = prepare(load_network(checkpoint)[0], INTERFACE.input)
    with pytest.raises(QuantizationError, match="calibration_images"):
        collect_histograms(prepared, tmp_path / "dataset", INTERFACE.input)


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


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """PTQ with a percentile that loses much, the QAT from there, and its summary."""
    dataset, checkpoint = checkpoint_only()
    root = tmp_path_factory.mktemp("coarse")
    ptq(checkpoint, dataset, PtqSpec(calibrators=("percentile",), percentile=80), root / "ptq")
    summary = qat(checkpoint, root / "ptq", dataset, QAT, TRAINING, LOSS, root / "qat", root / "scratch")
    return load_quantization(root / "ptq"), load_quantization(root / "qat"), summary


def test_qat_starts_from_the_configured_ptq(coarse):
    post, aware, summary = coarse
    assert (aware.calibrator, aware.scales) == (post.calibrator, post.scales)
    assert (summary.calibrator, summary.start_score) == ("percentile", post.score)
    assert set(aware.val) == {"checkpoint", "percentile", "qat", "fp32_control"}
    assert aware.scales != load_quantization(ptq_only()).scales
    assert post.score < load_quantization(ptq_only()).score


def test_the_pages_of_qat_and_of_the_onnx_show_the_same_gain(coarse):
    post, aware, summary = coarse
    choice = choose(post, aware, METRIC)
    facts = qat_facts(summary)
    assert facts.values["gain_points"] == choice.qat_gain_points
    assert facts.headline.startswith(f"{choice.qat_gain_points:+z.2f} points against the best PTQ")
    assert f"{abs(choice.qat_gain_points):.2f}" in choice.because


@pytest.mark.parametrize("difference", [-1e-6, -1e-5, 0.0, 1e-6])
def test_a_difference_that_rounds_to_zero_has_no_minus(coarse, difference):
    even = replace(coarse[2], qat_score=0.5 + difference, start_score=0.5, fp32_control_score=0.5)
    assert qat_facts(even).headline == "+0.00 points against the best PTQ, +0.00 against the FP32 control on val"
    post = PtqSummary("mse", METRIC, {"mse": 0.5 + difference}, 0.5, 9, 9, ())
    assert ptq_facts(post).headline == "mse: +0.00 points against FP32 on val"


def test_the_state_of_a_qat_from_another_ptq_is_not_continued(coarse, tmp_path):
    dataset, checkpoint = checkpoint_only()
    other = tmp_path / "ptq"
    ptq(checkpoint, dataset, PtqSpec(calibrators=("percentile",), percentile=90), other)
    qat(checkpoint, ptq_only(), dataset, QAT, TRAINING, LOSS, tmp_path / "one", tmp_path / "scratch")
    qat(checkpoint, other, dataset, QAT, TRAINING, LOSS, tmp_path / "again", tmp_path / "scratch")
    qat(checkpoint, other, dataset, QAT, TRAINING, LOSS, tmp_path / "expected", tmp_path / "other_scratch")
    assert files_of(tmp_path / "again") == files_of(tmp_path / "expected")


def test_qat_refuses_the_ptq_of_another_checkpoint_and_a_model_that_is_not_ptq(tmp_path):
    dataset, checkpoint = checkpoint_only()
    shutil.copytree(ptq_only(), tmp_path / "ptq")
    path = tmp_path / "ptq" / "quantization.json"
    document = json.loads(path.read_text())
    document["val"]["checkpoint"]["map50"] = 0.125
    path.write_text(json.dumps(document))
    for folder, message in ((tmp_path / "ptq", "of another checkpoint"), (whole().qat, "of the method qat")):
        with pytest.raises(QuantizationError, match=message):
            qat(checkpoint, folder, dataset, QAT, TRAINING, LOSS, tmp_path / "out", tmp_path / "scratch")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "scratch").exists()


def test_qat_is_built_from_the_ptq_of_its_model():
    graph = build_graph(Params.model_validate(sample_document()))
    for model in ("sidewalk_detector", "robocup_detector"):
        assert f"{model}/ptq" in graph[f"{model}/qat"].inputs
