"""A version is found by the name of its asset, by files on a robot's disk, and by a hash."""

import shutil
from pathlib import Path

import pytest

from robot_assets.core.digests import md5_of
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.resolve import Found, find
from robot_assets.store import Store
from tests.lineage.past import CHECKPOINT, ENGINE, ONNX, Past, built_yard, version_of, yard_graph


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
    """A build of the engine that left the files of ``folder``."""
    return past.build(ENGINE, [ONNX], version=store.add(folder).digest)


def look(what: object, past: Past, store: Store) -> Found:
    return find(str(what), yard_graph(), past, store)


def test_an_asset_means_its_latest_version(past, store):
    assert look(CHECKPOINT, past, store) == Found(CHECKPOINT, past.latest[CHECKPOINT])


def test_a_hash_is_found_whole_by_its_beginning_and_without_its_suffix(past, store):
    version = past.latest[CHECKPOINT]
    for digest in (version, version.removesuffix(".dir"), version[:6], version[:9].upper()):
        assert look(digest, past, store) == Found(CHECKPOINT, version)


def test_an_older_version_is_found_by_its_hash(past, store):
    old = past.latest[CHECKPOINT]
    past.build(CHECKPOINT)
    assert look(old[:8], past, store).version == old


def test_a_directory_a_file_and_the_md5_of_a_file_find_their_engine(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    expected = Found(ENGINE, build_engine(past, store, folder))
    build_engine(past, store, engine_folder(tmp_path / "later", "other weights", "facts"))
    assert look(folder, past, store) == expected
    assert look(folder / "engine.onnx", past, store) == expected
    assert look(md5_of(folder / "engine.onnx"), past, store) == expected
    assert look(md5_of(folder / "engine.onnx")[:7], past, store) == expected


def test_signatures_that_came_with_an_engine_change_nothing(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    version = build_engine(past, store, folder)
    (folder / "provenance.intoto.jsonl").write_text("{}\n")
    assert look(folder, past, store) == Found(ENGINE, version)


def test_a_directory_that_is_not_exactly_the_version_is_found_with_what_differs(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    version = build_engine(past, store, folder)
    (folder / "manifest.json").write_text("other facts")
    (folder / "notes.txt").write_text("mine")
    found = look(folder, past, store)
    assert found.version == version
    assert "manifest.json differs, notes.txt is no part of it" in found.note


def test_of_two_versions_with_one_engine_file_the_one_is_meant_whose_manifest_is_beside(past, store, tmp_path):
    first = engine_folder(tmp_path / "first", "weights", "older device")
    second = engine_folder(tmp_path / "second", "weights", "newer device")
    versions = [build_engine(past, store, folder) for folder in (first, second)]
    assert [look(folder / "engine.onnx", past, store).version for folder in (first, second)] == versions
    alone = tmp_path / "engine.onnx"
    shutil.copy(first / "engine.onnx", alone)
    with pytest.raises(LineageError) as error:
        look(alone, past, store)
    assert all(f"{ENGINE}  {version}" in error.value.found for version in versions)


def test_a_beginning_that_several_versions_share_lists_them(past, store):
    one, other = "abcdef" + 26 * "0" + ".dir", "abcdef" + 26 * "1" + ".dir"
    past.build(CHECKPOINT, version=one)
    past.build(ONNX, version=other)
    with pytest.raises(LineageError) as error:
        look("abcdef", past, store)
    assert f"{CHECKPOINT}  {one}" in error.value.found
    assert f"{ONNX}  {other}" in error.value.found


def test_a_file_that_no_history_knows_is_refused_with_its_md5(past, store, tmp_path):
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    build_engine(past, store, folder)
    with (folder / "engine.onnx").open("a") as file:
        file.write("!")
    with pytest.raises(LineageError, match=md5_of(folder / "engine.onnx")):
        look(folder / "engine.onnx", past, store)


def test_a_directory_that_is_no_engine_is_refused_with_its_version(past, store, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.txt").write_text("x")
    with pytest.raises(LineageError, match=store.digest_of(tmp_path / "photos").digest):
        look(tmp_path / "photos", past, store)


@pytest.mark.parametrize(
    ("what", "fix"),
    [
        ("mower/engin/cpu", "did you mean mower/engine/cpu"),
        ("mower", "mower/checkpoint"),
        ("mower/checkpoint/", "did you mean mower/checkpoint"),
        ("abc", "at least 6 digits"),
        ("something else", "one of: "),
        ("123456abcdef", "more or other digits"),
    ],
)
def test_what_names_nothing_is_refused_with_what_may_have_been_meant(past, store, what, fix):
    with pytest.raises(LineageError) as error:
        look(what, past, store)
    assert fix in error.value.fix


def test_an_asset_that_was_never_built_says_how_to_build_it(store):
    with pytest.raises(LineageError) as error:
        look(ENGINE, Past(), store)
    assert error.value.fix == f"robot-assets build {ENGINE}"


def test_an_engine_whose_listing_is_lost_is_passed_over(past, store, tmp_path):
    past.build(ENGINE, [ONNX], version=version_of("bytes that nobody has"))
    folder = engine_folder(tmp_path / "robot", "weights", "facts")
    with pytest.raises(LineageError, match="no history knows"):
        look(folder / "engine.onnx", past, store)
