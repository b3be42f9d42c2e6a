"""Where the cache of a store with a remote is, and how large it may become: two variables, on a laptop as in a pod."""

from pathlib import Path

import pytest

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.project import Project
from robot_assets.store import Store


def project(root: Path, url: str) -> Project:
    (root / "params.yaml").write_text(f"store: {{url: '{url}'}}\ndatasets: {{}}\nmodels: {{}}\ntargets: {{}}\n")
    return Project(root)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("ROBOT_ASSETS_CACHE", "ROBOT_ASSETS_CACHE_LIMIT"):
        monkeypatch.delenv(name, raising=False)


def test_by_default_it_is_in_the_project_and_has_no_limit(tmp_path):
    assert project(tmp_path, "/mnt/share").store == Store(tmp_path / ".robot_assets/cache", "/mnt/share", None)


def test_the_environment_names_another_place_and_a_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBOT_ASSETS_CACHE", "/var/lib/robot-assets/cache")
    monkeypatch.setenv("ROBOT_ASSETS_CACHE_LIMIT", "20Gi")
    expected = Store(Path("/var/lib/robot-assets/cache"), "s3://robots/store", 20 * 2**30)
    assert project(tmp_path, "s3://robots/store").store == expected


def test_a_store_inside_the_project_is_no_cache_and_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBOT_ASSETS_CACHE", "/var/lib/robot-assets/cache")
    monkeypatch.setenv("ROBOT_ASSETS_CACHE_LIMIT", "1Mi")
    assert project(tmp_path, ".robot_assets/store").store == Store(tmp_path / ".robot_assets/store")


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("ROBOT_ASSETS_CACHE", "cache", "an absolute path"),
        ("ROBOT_ASSETS_CACHE_LIMIT", "20G", "a whole number with a unit, such as 512Mi or 16Gi"),
        ("ROBOT_ASSETS_CACHE_LIMIT", "-1Gi", "a whole number with a unit"),
    ],
)
def test_a_variable_that_says_something_else_is_refused_by_name(tmp_path, monkeypatch, name, value, needed):
    monkeypatch.setenv(name, value)
    with pytest.raises(ParamsError, match=f"{name} is {value!r}") as caught:
        _ = project(tmp_path, "/mnt/share").store
    assert caught.value.needed.startswith(needed)
    assert f"export {name}=" in caught.value.fix
