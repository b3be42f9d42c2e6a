"""Files that are no ONNX, not complete, or spread over other files."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from robot_assets.core.errors import ExportError
from robot_assets.foreign import reading
from robot_assets.foreign.reading import read_model
from tests.foreign.graphs import small


def saved(folder: Path, name: str = "net.onnx", external: str | None = None, **options) -> Path:
    path = folder / name
    model = small()
    if external:
        options |= {"save_as_external_data": True, "location": external, "size_threshold": 0}
    onnx.save(model, path, **options)
    return path


def test_a_file_is_read_as_it_is(tmp_path):
    assert read_model(saved(tmp_path)) == small()


def test_a_folder_with_one_file_is_read(tmp_path):
    (tmp_path / "README.md").write_text("weights")
    saved(tmp_path)
    assert read_model(tmp_path) == small()


def test_external_data_in_the_folder_is_read_into_the_graph(tmp_path):
    saved(tmp_path, external="net.data")
    found = read_model(tmp_path)
    expected = {one.name: onnx.numpy_helper.to_array(one) for one in small().graph.initializer}
    assert {one.name for one in found.graph.initializer} == set(expected)
    for tensor in found.graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), expected[tensor.name])


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", "empty"),
        (pickle.dumps({"weights": [1.0]}), "a Python pickle"),
        (b"ptrt\x01\x00", "a TensorRT engine"),
        (b"ftrt\x01\x00", "a TensorRT engine"),
        (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"<!DOCTYPE html>", "a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"outs:\n- md5: 0\n", "a DVC pointer"),
        (struct.pack("<Q", 60) + b'{"w":{}}', "a safetensors file"),
        (b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_another_format_under_the_name_of_onnx_is_named(tmp_path, payload, kind):
    path = tmp_path / "net.onnx"
    path.write_bytes(payload)
    with pytest.raises(ExportError, match=kind) as caught:
        read_model(path)
    assert str(path) in caught.value.found
    assert caught.value.fix


def test_a_pytorch_file_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.onnx", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(ExportError, match=r"a zip archive, such as a PyTorch file"):
        read_model(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = saved(tmp_path)
    payload = path.read_bytes()
    path.write_bytes(payload[: int(len(payload) * share)])
    with pytest.raises(ExportError, match=r"truncated|has no graph|no nodes"):
        read_model(path)


@pytest.mark.parametrize("payload", [b"hello, this is text", bytes(range(256)), b"\x08\x08"])
def test_bytes_of_nothing_known_are_refused(tmp_path, payload):
    (tmp_path / "net.onnx").write_bytes(payload)
    with pytest.raises(ExportError, match=r"net\.onnx"):
        read_model(tmp_path)


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "net.onnx"
    with path.open("wb") as stream:
        stream.truncate(reading.BYTES_MAX + 1)  # sparse: it takes no space
    with pytest.raises(ExportError, match=r"needed: at most 2147483647 bytes \(2 GB\)"):
        read_model(path)


def test_a_missing_file_and_a_folder_without_one_are_named(tmp_path):
    with pytest.raises(ExportError, match=r"no .*absent"):
        read_model(tmp_path / "absent")
    with pytest.raises(ExportError, match=r"has 0 files ending in \.onnx"):
        read_model(tmp_path)


def test_a_folder_with_two_files_names_both(tmp_path):
    saved(tmp_path, "a.onnx")
    saved(tmp_path, "b.onnx")
    with pytest.raises(ExportError, match=r"2 files ending in \.onnx: a\.onnx, b\.onnx"):
        read_model(tmp_path)


def test_missing_external_data_names_the_tensor_and_the_file(tmp_path):
    path = saved(tmp_path, external="net.data")
    (tmp_path / "net.data").unlink()
    with pytest.raises(ExportError, match=r"'layer0.weight': its data is in another file, 'net.data'"):
        read_model(path)


def test_truncated_external_data_is_refused(tmp_path):
    saved(tmp_path, external="net.data")
    data = tmp_path / "net.data"
    data.write_bytes(data.read_bytes()[:40])
    with pytest.raises(ExportError, match=r"needs \d+ bytes of net.data"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "C:\\secret", "", "x\0y"]
)
def test_external_data_outside_of_the_folder_is_refused(tmp_path, location):
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(10_000))
    path = saved(folder, external="net.data")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(one for one in tensor.external_data if one.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match="outside the folder"):
        read_model(folder)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    saved(folder, external="net.data")
    (folder / "net.data").rename(tmp_path / "secret")
    (folder / "net.data").symlink_to(tmp_path / "secret")
    with pytest.raises(ExportError, match="a link out of the folder"):
        read_model(folder)


@pytest.mark.parametrize(("key", "value"), [("offset", "-4"), ("length", "9" * 30), ("offset", "many")])
def test_a_place_in_external_data_that_is_no_number_is_refused(tmp_path, key, value):
    path = saved(tmp_path, external="net.data")
    model = onnx.load(path, load_external_data=False)
    entries = model.graph.initializer[0].external_data
    next(one for one in entries if one.key == key).value = value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=key):
        read_model(tmp_path)


def test_names_with_control_characters_are_escaped(tmp_path):
    model = small()
    model.graph.initializer[0].name = "w\x1b[31m"
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError) as caught:
        read_model(path)
    assert "\x1b" not in str(caught.value)


def test_errors_name_the_file_as_a_person_knows_it(tmp_path):
    stored = tmp_path / "3da4ef2f1d6db8b76f4aa16ec79722e7"
    stored.write_bytes(pickle.dumps({}))
    with pytest.raises(ExportError, match=r"^data/onnx/net\.onnx is a Python pickle"):
        read_model(stored, "data/onnx/net.onnx")
    folder = tmp_path / "stored.dir"
    folder.mkdir()
    (folder / "a.onnx").write_bytes(b"")
    with pytest.raises(ExportError, match=r"^data/onnx/net/a\.onnx is empty"):
        read_model(folder, "data/onnx/net")
