"""``engine run`` and ``engine bench`` as a person and as a machine call them."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from robot_assets.cli import engine as engine_cli
from robot_assets.core.errors import DataError, EngineError
from tests.detector_chain import whole


@pytest.fixture
def street(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 90, (64, 96, 3), dtype=np.uint8)
    pixels[15:40, 30:55] = (220, 40, 40)
    path = tmp_path / "street.png"
    Image.fromarray(pixels).save(path)
    return path


def invoke(*arguments):
    return CliRunner().invoke(engine_cli.app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_run_draws_what_it_finds(street, tmp_path):
    done = invoke("run", whole().engine, street, "--out", tmp_path / "drawn", "--score", "0.2", "--json")
    assert done.exit_code == 0
    [row] = json.loads(done.stdout)["images"]
    assert "red" in {one["class"] for one in row["findings"]}
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "street.png"))
    assert drawn.shape[2] == 3
    assert drawn.shape[0] % 64 == 0


def test_run_prints_what_it_finds_for_a_person(street, tmp_path):
    done = invoke("run", whole().engine, street, "--out", tmp_path / "drawn", "--score", "0.2")
    assert "red" in done.stdout


def test_bench_prints_percentiles_for_a_machine():
    done = invoke("bench", whole().engine, "--inferences", "10", "--json")
    found = json.loads(done.stdout)
    assert found["engine"]["inferences"] == 10
    assert found["int8_convolutions"] == 18


def test_bench_prints_a_table_for_a_person():
    done = invoke("bench", whole().engine, "--inferences", "10")
    assert "p95" in done.stdout
    assert "18 convolutions in int8" in done.stdout


def test_a_folder_stands_for_its_images_in_the_order_of_names(street, tmp_path):
    folder = tmp_path / "frames of a robot"
    (folder / "below").mkdir(parents=True)
    for name in ("b.PNG", "a.png", "c.jpeg", ".hidden.png", "below/d.png"):
        Image.open(street).save(folder / name, format="JPEG" if name.endswith("jpeg") else "PNG")
    (folder / "notes.txt").write_text("fog")
    done = invoke("run", whole().engine, folder, "--out", tmp_path / "drawn", "--json")
    assert [row["image"] for row in json.loads(done.stdout)["images"]] == [
        str(folder / name) for name in ("a.png", "b.PNG", "c.jpeg")
    ]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("fog")
    with pytest.raises(DataError, match="is a folder without images") as caught:
        invoke("run", whole().engine, tmp_path / "empty", "--out", tmp_path / "drawn")
    assert caught.value.fix.startswith(f"ls {tmp_path / 'empty'}")
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_output_that_is_a_file_is_refused(street, tmp_path, out):
    (tmp_path / "file").write_text("kept")
    with pytest.raises((DataError, NotADirectoryError)):
        invoke("run", whole().engine, street, "--out", tmp_path / out)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_file_that_is_no_image_is_refused_by_name(street, tmp_path, content):
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        invoke("run", whole().engine, street, path, "--out", tmp_path / "drawn")
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize(
    ("speedup", "said"),
    [(1.42, "1.42x the speed of the float model"), (0.87, "slower than the float model: 0.87x its speed")],
)
def test_bench_says_when_int8_is_slower(speedup, said):
    assert engine_cli._against_float(speedup) == said


def test_two_images_of_one_name_are_refused_before_anything_is_drawn(street, tmp_path):
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "street.png"
    other.write_bytes(street.read_bytes())
    with pytest.raises(DataError, match=r"street\.png"):
        invoke("run", whole().engine, street, other, "--out", tmp_path / "drawn")
    assert not (tmp_path / "drawn").exists()


def test_an_engine_that_is_not_there_is_refused_outside_a_project(street, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="nowhere"):
        invoke("run", "nowhere", street, "--out", tmp_path / "drawn")


def test_an_asset_name_is_resolved_by_whoever_knows_the_instance(street, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_cli, "open_asset", {"small/engine/cpu": whole().engine}.__getitem__)
    assert invoke("run", "small/engine/cpu", street, "--out", tmp_path / "drawn").exit_code == 0


@pytest.mark.parametrize("verb", ["run", "bench"])
def test_help_has_an_example(verb):
    assert "Example: robot-assets engine" in invoke(verb, "--help").stdout


def test_a_wrong_command_line_exits_with_2():
    assert CliRunner().invoke(engine_cli.app, ["run"]).exit_code == 2
