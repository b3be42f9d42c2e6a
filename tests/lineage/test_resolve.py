"""A version is resolved from the name of its asset, from files on a robot's disk, and from a hash."""

import shutil
from pathlib import Path

import pytest

from robot_assets.core.digests import md5_of
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.resolve import Found, resolve
from robot_assets.store import Store
from tests.lineage.past import CHECKPOINT, ENGINE, ONNX, Past, built_yard, version_of, yard_graph, yard_traits


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def past() -> Past:
    return built_yard()


def engine_folder(root: Path, engine: str, manifest: str) -> Path:
    root.mkdir()
    (root / "engine.onnx").write_text(engine)
    (root / "manifest.json").write_text(manifest)
    return root


def build_engine(past: Past, store: Store, folder: Path) -> str:
    """A build of the engine that wrote the files of ``folder``."""
    return past.build(ENGINE, [ONNX], version=store.add(folder).digest)


def resolved(what: object, past: Past, store: Store) -> Found:
    return resolve(str(what), yard_graph(), past, store, yard_traits, accompanying=("provenance.jsonl",))


def test_an_asset_means_its_latest_version(past, store):
    assert resolved(CHECKPOINT, past, store) == Found(CHECKPOINT, past.latest[CHECKPOINT])


def test_a_hash_is_found_whole_by_its_beginning_and_without_its_suffix(past, store):
    version = past.latest[CHECKPOINT]
    for digest in (version, version.removesuffix(".dir"), version[:6], version[:9].upper()):
        assert resolved(digest, past, store) == Found(CHECKPOINT, version)


def test_an_older_version_is_found_by_its_hash(past, store):
    old = past.latest[CHECKPOINT]
    past.build(CHECKPOINT)
    assert resolved(old[:8], past, store).version == old


def test_a_directory_a_file_and_the_md5_of_a_file_find_their_engine(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    expected = Found(ENGINE, build_engine(past, store, folder))
    build_engine(past, store, engine_folder(tmp_path / "later", "other weights", "facts"))
    assert resolved(folder, past, store) == expected
    assert resolved(folder / "engine.onnx", past, store) == expected
    assert resolved(md5_of(folder / "engine.onnx"), past, store) == expected
    assert resolved(md5_of(folder / "engine.onnx")[:7], past, store) == expected


def test_an_accompanying_file_is_not_a_difference(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    version = build_engine(past, store, folder)
    (folder / "provenance.jsonl").write_text("{}\n")
    assert resolved(folder, past, store) == Found(ENGINE, version)


def test_a_directory_that_differs_from_its_version_is_resolved_with_a_note(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    version = build_engine(past, store, folder)
    (folder / "manifest.json").write_text("other facts")
    (folder / "notes.txt").write_text("mine")
    found = resolved(folder, past, store)
    assert found.version == version
    assert "manifest.json differs, notes.txt is not a part of it" in found.note


def test_of_two_versions_with_the_same_file_the_one_with_the_other_files_beside_it_is_meant(past, store, tmp_path):
    first = engine_folder(tmp_path / "first", "weights", "older device")
    second = engine_folder(tmp_path / "second", "weights", "newer device")
    versions = [build_engine(past, store, folder) for folder in (first, second)]
    assert [resolved(folder / "engine.onnx", past, store).version for folder in (first, second)] == versions
    alone = tmp_path / "engine.onnx"
    shutil.copy(first / "engine.onnx", alone)
    with pytest.raises(LineageError) as error:
        resolved(alone, past, store)
    assert all(f"{ENGINE}  {version}" in error.value.found for version in versions)


def test_a_beginning_that_several_versions_share_lists_them(past, store):
    one, other = "abcdef" + 26 * "0" + ".dir", "abcdef" + 26 * "1" + ".dir"
    past.build(CHECKPOINT, version=one)
    past.build(ONNX, version=other)
    with pytest.raises(LineageError) as error:
        resolved("abcdef", past, store)
    assert f"{CHECKPOINT}  {one}" in error.value.found
    assert f"{ONNX}  {other}" in error.value.found


def test_a_file_that_no_history_knows_is_refused_with_its_md5(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    build_engine(past, store, folder)
    with (folder / "engine.onnx").open("a") as file:
        file.write("!")
    with pytest.raises(LineageError, match=md5_of(folder / "engine.onnx")):
        resolved(folder / "engine.onnx", past, store)


def test_a_directory_that_no_history_knows_is_refused_with_its_version(past, store, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.txt").write_text("x")
    with pytest.raises(LineageError, match=store.digest_of(tmp_path / "photos").digest):
        resolved(tmp_path / "photos", past, store)


@pytest.mark.parametrize(
    ("what", "fix"),
    [
        ("mower/engin/cpu", "did you mean mower/engine/cpu"),
        ("mower", "mower/checkpoint"),
        ("mower/checkpoint/", "did you mean mower/checkpoint"),
        ("chekpoint", "did you mean mower/checkpoint"),
        ("engine/cpu", "did you mean mower/engine/cpu"),
        ("MOWER/Engine/CPU", "did you mean mower/engine/cpu"),
        ("abc", "at least 6 digits"),
        ("something else", "one of: "),
        ("123456abcdef", "more or other digits"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(past, store, what, fix):
    with pytest.raises(LineageError) as error:
        resolved(what, past, store)
    assert fix in error.value.fix


def test_an_asset_that_was_never_built_is_refused_with_the_command_that_builds_it(store):
    with pytest.raises(LineageError) as error:
        resolved(ENGINE, Past(), store)
    assert error.value.fix == f"robot-assets build {ENGINE}"


def test_a_version_whose_listing_is_lost_is_skipped(past, store, tmp_path):
    past.build(ENGINE, [ONNX], version=version_of("bytes that nobody has"))
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    with pytest.raises(LineageError, match="is not in the history"):
        resolved(folder / "engine.onnx", past, store)


def test_a_file_by_which_no_asset_is_known_is_not_looked_up(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    build_engine(past, store, folder)
    with pytest.raises(LineageError, match="is not in the history"):
        resolved(folder / "manifest.json", past, store)
