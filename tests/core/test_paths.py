"""What a shell would have expanded is expanded or refused by name, never taken for the name of a folder."""

import re
from pathlib import Path

import pytest

from robot_assets.core.errors import ParamsError, RobotAssetsError, StoreError
from robot_assets.core.paths import expanded, shown_path
from robot_assets.data.entry import RecordedSource
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project, find_project
from robot_assets.provenance.keys import key_location
from robot_assets.store import open_store
from tests.sample_params import sample_document


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATA_DISK", "/mnt/data")
    monkeypatch.delenv("NOT_SET", raising=False)


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("~/store", "HOME/store"),
        ("~", "HOME"),
        ("$HOME/store", "HOME/store"),
        ("${DATA_DISK}/store", "/mnt/data/store"),
        ("s3://bucket/$DATA_DISK", "s3://bucket//mnt/data"),
        ("file://~/store", "file://HOME/store"),
        ("s3://bucket/~/store", "s3://bucket/~/store"),
        (".robot_assets/store", ".robot_assets/store"),
        ("a~b", "a~b"),
    ],
)
def test_home_and_variables_are_expanded(tmp_path, path, result):
    assert expanded(path) == result.replace("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("$NOT_SET/x", "the variable NOT_SET is not set"),
        ("${NOT_SET}", "the variable NOT_SET is not set"),
        ("~nobody-here/x", "no user 'nobody-here'"),
        ("$(pwd)/x", "'$(' is not a variable"),
        ("${A:-b}/x", "'${A:-b}' is not a variable"),
        ("costs$", "'$' is not a variable"),
    ],
)
def test_what_cannot_be_expanded_is_refused_by_name(path, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        expanded(path)


def test_a_store_in_the_home_folder_is_there_and_not_in_a_folder_called_tilde(tmp_path):
    document = sample_document()
    document["store"]["url"] = "~/store"
    url = parse_params(document).store.url
    assert open_store(url, tmp_path).remote_url == str(tmp_path / "home" / "store")
    document["store"]["url"] = "$NOT_SET/store"
    with pytest.raises(ParamsError, match=r"store\.url: .*NOT_SET is not set"):
        parse_params(document)
    with pytest.raises(StoreError, match="only a shell expands"):
        open_store("~/store", tmp_path)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3:/bucket/prefix", "looks like a Windows path or an incomplete URL"),
        ("s3:bucket", "looks like a Windows path or an incomplete URL"),
        ("C:\\store", "looks like a Windows path or an incomplete URL"),
        ("D:/store", "looks like a Windows path or an incomplete URL"),
        ("team\\store", "looks like a Windows path or an incomplete URL"),
        ("s3://", "has no bucket or path"),
        ("file:///", "has no bucket or path"),
        ("store\n", "has control characters"),
        ("../store", "a path outside the project"),
        (".", "a folder of other files"),
        ("./x/..", "a path outside the project"),
        ("/", "a folder of other files"),
        (".git/store", "a folder of other files"),
        ("data/raw/yard", "a folder of other files"),
        ("PROJECT", "a folder of other files"),
        ("PROJECT/data/raw", "a folder of other files"),
    ],
)
def test_a_store_that_would_be_a_folder_of_another_kind_is_refused(tmp_path, url, found):
    with pytest.raises(StoreError, match=found):
        open_store(url.replace("PROJECT", str(tmp_path)), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["store", "./a b/[x]", "스토어", "data/store", "/mnt/share", "s3://bucket", "file:///mnt/x"]
)
def test_other_stores_are_opened(tmp_path, url):
    assert open_store(url, tmp_path)


def test_a_repository_in_the_home_folder(tmp_path):
    source = {"kind": "dvc", "pointer": "data/raw/yard.dvc"}
    found = RecordedSource.model_validate({**source, "repository": "~/registry.git"})
    assert found.repository == str(tmp_path / "home" / "registry.git")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("datasets", "robocup", "source", "pointer"), "~/yard.dvc"),
        (("datasets", "robocup", "source", "pointer"), "$DATA_DISK/yard.dvc"),
        (("datasets", "robocup", "source", "repository"), "$NOT_SET/registry.git"),
        (("execution", "cache"), {"path": "/var/$DATA_DISK"}),
        (("execution", "cache"), {"path": "~/cache"}),
    ],
)
def test_other_paths_of_params_are_refused(keys, value):
    document = sample_document()
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ParamsError, match=r"\$VARIABLE|NOT_SET") as caught:
        parse_params(document)
    assert ".".join(keys) in caught.value.found


def test_paths_in_variables(tmp_path, monkeypatch):
    (tmp_path / "home" / "robot").mkdir(parents=True)
    (tmp_path / "home" / "robot" / "params.yaml").write_text("store: {url: /mnt/share}\n")
    monkeypatch.setenv("ROBOT_ASSETS_PROJECT", "~/robot")
    monkeypatch.setenv("ROBOT_ASSETS_CACHE", "$HOME/cache")
    monkeypatch.setenv("ROBOT_ASSETS_SIGNING_KEY", "~/key.pem")
    project = find_project()
    assert project == Project(tmp_path / "home" / "robot")
    assert project.store.cache == tmp_path / "home" / "cache"
    assert key_location(project.root, project.state).path == tmp_path / "home" / "key.pem"


@pytest.mark.parametrize("variable", ["ROBOT_ASSETS_CACHE", "ROBOT_ASSETS_SIGNING_KEY", "ROBOT_ASSETS_PROJECT"])
def test_a_variable_with_a_variable_that_is_not_set_is_named(tmp_path, monkeypatch, variable):
    (tmp_path / "params.yaml").write_text("store: {url: /mnt/share}\n")
    monkeypatch.setenv(variable, "$NOT_SET/x")

    def use() -> None:
        project = find_project(None if variable == "ROBOT_ASSETS_PROJECT" else tmp_path)
        _ = project.store, project.key

    with pytest.raises(RobotAssetsError, match=f"{variable} is .*NOT_SET is not set"):
        use()


def test_a_path_for_a_command_line_is_short_and_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "my data" / "a.dvc") == "'my data/a.dvc'"
    assert shown_path(Path("/elsewhere/a.dvc")) == "/elsewhere/a.dvc"
    assert shown_path(tmp_path / "x\x1b[31m'red") == "$'x\\x1b[31m\\'red'"
