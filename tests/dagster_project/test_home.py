"""An instance and its checkouts: whose it is, where DAGSTER_HOME may point, read-only folders."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.local.damage import explaining_damage
from dagster_project.local.home import CHECKOUTS, InstanceError, home_of, require_own_home
from dagster_project.local.instance import ensure_dagster_home, open_instance
from dagster_project.local.read_only import DATABASES, is_read_only
from tests.dagster_project.conftest import Checkout

PARAMS = {
    "store": {"url": ".robot_assets/store"},
    "datasets": {
        "yard": {
            "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
            "classes": ["cone"],
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 2,
        }
    },
    "models": {},
    "targets": {},
}


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("ROBOT_ASSETS_PROJECT", raising=False)


def new_checkout(root: Path) -> Checkout:
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return Checkout(root)


def opened(root: Path) -> Path:
    """The home of a checkout whose instance a command has opened."""
    with open_instance(root):
        pass
    os.environ.pop("DAGSTER_HOME")
    return root / ".dagster"


def listed(home: Path) -> list[str]:
    return [line for line in (home / CHECKOUTS).read_text().splitlines() if not line.startswith("#")]


def pasted(fix: str, cwd: Path) -> None:
    subprocess.run(["bash", "-c", fix], cwd=cwd, check=True)


def refused(root: Path) -> InstanceError:
    with pytest.raises(InstanceError) as caught:
        home_of(root)
    return caught.value


def test_a_checkout_uses_its_own_instance_and_is_listed_there(tmp_path: Path) -> None:
    new_checkout(tmp_path / "a")
    assert listed(opened(tmp_path / "a")) == [str(tmp_path / "a")]


def test_the_instance_of_another_checkout_is_refused_with_both_paths(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b"):
        new_checkout(tmp_path / name)
    home = opened(tmp_path / "a")
    before = (home / CHECKOUTS).read_bytes()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    error = refused(tmp_path / "b")
    assert str(home) in error.found
    assert f"this checkout is {tmp_path / 'b'}" in error.found
    assert error.fix.startswith("unset DAGSTER_HOME   # ")
    assert (home / CHECKOUTS).read_bytes() == before
    assert not (tmp_path / "b" / ".dagster").exists()


def test_an_instance_from_before_the_list_is_refused_by_its_place(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b"):
        new_checkout(tmp_path / name)
    home = opened(tmp_path / "a")
    (home / CHECKOUTS).unlink()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert f"the checkout {tmp_path / 'a'}" in refused(tmp_path / "b").found


def test_the_fix_for_sharing_is_a_command_that_works(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b b"):
        new_checkout(tmp_path / name)
    home = opened(tmp_path / "a")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    pasted(refused(tmp_path / "b b").fix.rpartition(": ")[2], tmp_path)
    assert home_of(tmp_path / "b b") == home
    assert home_of(tmp_path / "a") == home


def test_a_link_to_the_instance_of_another_checkout_is_refused(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b"):
        new_checkout(tmp_path / name)
    opened(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a" / ".dagster")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "link"))
    refused(tmp_path / "b")
    (tmp_path / "b" / ".dagster").symlink_to(tmp_path / "a" / ".dagster")
    monkeypatch.delenv("DAGSTER_HOME")
    refused(tmp_path / "b")


def test_a_checkout_under_another_path_to_it_is_the_same(tmp_path: Path, monkeypatch) -> None:
    new_checkout(tmp_path / "a")
    home = opened(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "link" / ".dagster"))
    assert home_of(tmp_path / "a")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert home_of(tmp_path / "link")


@pytest.mark.parametrize("transport", [shutil.move, shutil.copytree])
def test_a_checkout_that_was_moved_with_its_instance_is_recognized(tmp_path: Path, transport) -> None:
    new_checkout(tmp_path / "a")
    opened(tmp_path / "a")
    transport(tmp_path / "a", tmp_path / "b")
    assert listed(opened(tmp_path / "b")) == [str(tmp_path / "b")]


def test_a_variable_that_names_the_former_place_creates_nothing_there(tmp_path: Path, monkeypatch) -> None:
    new_checkout(tmp_path / "a")
    home = opened(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    error = refused(tmp_path / "b")
    assert error.found == f"DAGSTER_HOME is {home}, which does not exist"
    assert not home.exists()
    monkeypatch.delenv("DAGSTER_HOME")
    assert home_of(tmp_path / "b") == tmp_path / "b" / ".dagster"


def test_a_folder_outside_belongs_to_the_first_checkout_that_uses_it(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b"):
        new_checkout(tmp_path / name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(tmp_path / "a"):
        pass
    assert listed(home) == [str(tmp_path / "a")]
    assert str(tmp_path / "a") in refused(tmp_path / "b").found
    shutil.move(tmp_path / "a", tmp_path / "moved")
    error = refused(tmp_path / "moved")
    assert "which no longer exists" in error.found
    pasted(error.fix.rpartition(": ")[2], tmp_path)
    assert home_of(tmp_path / "moved") == home


def test_a_relative_home_is_refused_with_a_fix(tmp_path: Path, monkeypatch) -> None:
    new_checkout(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    monkeypatch.setenv("DAGSTER_HOME", ".dagster")
    error = refused(tmp_path / "a")
    assert "'.dagster'" in error.found
    assert error.fix.startswith("unset DAGSTER_HOME")
    monkeypatch.setenv("DAGSTER_HOME", "../x y")
    assert refused(tmp_path / "a").fix.startswith(f"export DAGSTER_HOME='{tmp_path / 'a' / '../x y'}'")
    monkeypatch.setenv("DAGSTER_HOME", "~/home")
    assert refused(tmp_path / "a").fix.startswith(f"export DAGSTER_HOME={Path.home() / 'home'}")


def test_a_file_in_the_place_of_the_home_is_refused(tmp_path: Path, monkeypatch) -> None:
    new_checkout(tmp_path / "a")
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file"))
    assert "which is not a folder" in refused(tmp_path / "a").found


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch) -> None:
    new_checkout(tmp_path / "a")
    monkeypatch.setenv("DAGSTER_HOME", "")
    assert home_of(tmp_path / "a") == tmp_path / "a" / ".dagster"


def test_the_home_of_a_cluster_has_no_list_and_is_used_as_it_is(tmp_path: Path, monkeypatch) -> None:
    checkout = new_checkout(tmp_path / "a")
    home = tmp_path / "opt" / "dagster_home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("storage:\n  postgres:\n    postgres_url: postgresql://u:p@db/d\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    require_own_home(checkout.root)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not is_read_only(home)
    assert ensure_dagster_home(checkout.root) == home


def test_a_code_location_refuses_the_instance_of_another_checkout(tmp_path: Path) -> None:
    """As in a ``dagster dev`` started by hand with a variable of another checkout."""
    a, b = new_checkout(tmp_path / "a"), new_checkout(tmp_path / "b")
    opened(a.root)
    environment = {**b.environment, "DAGSTER_HOME": str(a.root / ".dagster")}
    command = ["python", "-c", "import dagster_project.definitions"]
    done = subprocess.run(command, cwd=b.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"the instance of the checkout {a.root}; this checkout is {b.root}" in done.stderr


def test_the_code_location_is_the_project_that_the_variable_names(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "a")
    environment = {**checkout.environment, "ROBOT_ASSETS_PROJECT": str(checkout.root)}
    del environment["DAGSTER_HOME"]
    command = ["python", "-c", "from dagster_project.definitions import defs; print(len(list(defs.assets)))"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("content", [b"garbage" * 10, b"SQLite format 3\x00garbage"])
def test_a_damaged_database_is_named_with_what_is_lost_and_a_fix_that_works(tmp_path: Path, name, content) -> None:
    root = new_checkout(tmp_path / "a b").root
    file = opened(root) / name
    for path in file.parent.glob(f"{file.name}-*"):
        path.unlink()
    file.write_bytes(content)
    with pytest.raises(InstanceError, match="is damaged") as caught, open_instance(root) as instance:
        instance.get_asset_keys()
    assert str(file) in caught.value.found
    assert "lost" in caught.value.fix
    pasted(caught.value.fix, tmp_path)
    with open_instance(root) as instance:
        assert instance.get_asset_keys() == []
    assert (root / ".dagster" / "damaged" / file.name).read_bytes() == content


def test_an_emptied_history_is_damage_and_not_a_new_instance(tmp_path: Path) -> None:
    root = new_checkout(tmp_path / "a").root
    runs = opened(root) / "history" / "runs"
    for path in runs.glob("index.db*"):
        path.unlink()
    (runs / "index.db").touch()
    with open_instance(root):
        pass  # another process may be creating it right now
    (runs / "index.db").write_bytes(b"")
    (runs / "0a1b.db").touch()
    with pytest.raises(InstanceError, match=r"it is empty, and there are logs of runs"), open_instance(root):
        pass


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"garbage", "it is not a mapping"),
        (b"a: [b\n", "it is not YAML in line 2"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"telemetri: {}\n", "the document has the unknown key telemetri"),
        (b"telemetry: {enabled: perhaps}\n", "telemetry.enabled has no valid value"),
        (b"run_launcher: {module: x}\n", "run_launcher lacks class"),
    ],
)
def test_a_damaged_configuration_is_named_with_a_fix_that_works(tmp_path: Path, text: bytes, reason: str) -> None:
    root = new_checkout(tmp_path / "a").root
    home = opened(root)
    (home / "dagster.yaml").write_bytes(text)
    with pytest.raises(InstanceError) as caught, open_instance(root):
        pass
    assert caught.value.found == f"{home / 'dagster.yaml'} cannot be used: {reason}"
    pasted(caught.value.fix, tmp_path)
    with open_instance(root):
        pass


def test_a_file_where_the_instance_should_be_is_an_error_with_a_fix(tmp_path: Path) -> None:
    root = new_checkout(tmp_path / "a").root
    (root / ".dagster").write_text("x")
    with pytest.raises(InstanceError, match="cannot be used"), open_instance(root):
        pass


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    found = rf"no space left on /.*, the disk of the instance {tmp_path}: database or disk is full"
    with pytest.raises(InstanceError, match=found), explaining_damage(tmp_path):
        raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("text", ["database is locked", "attempt to write a readonly database", "unable to open it"])
def test_what_sqlite_raises_about_an_instance_has_the_folder_and_a_fix(tmp_path: Path, text: str) -> None:
    with pytest.raises(InstanceError) as caught, explaining_damage(tmp_path):
        raise sqlite3.OperationalError(text)
    assert str(tmp_path) in caught.value.found
    assert text in caught.value.found
    assert str(tmp_path) in caught.value.fix


def test_an_error_that_is_not_about_the_instance_is_not_explained(tmp_path: Path) -> None:
    with pytest.raises(KeyError), explaining_damage(tmp_path):
        raise KeyError("x")


def in_read_only(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a mount name space where ``root`` is mounted read-only, as root may write to what chmod forbids."""
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
    environment = {name: value for name, value in Checkout(root).environment.items() if name != "DAGSTER_HOME"}
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    return subprocess.run(
        [*namespace, "bash", "-c", mounted, str(root), *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def read_only(copy_of_built: Checkout) -> Path:
    if in_read_only(copy_of_built.root, "true").returncode != 0:
        pytest.skip("this machine allows no mount name space, so that a folder cannot be made read-only")
    return copy_of_built.root


def test_reading_commands_work_on_a_read_only_checkout(read_only: Path) -> None:
    before = Checkout(read_only).run("robot-assets", "plan", "--json", check=False)
    plan = in_read_only(read_only, "robot-assets", "plan", "--json")
    assert plan.stdout == before.stdout, plan.stderr
    assert "small_detector/engine/cpu" in plan.stdout
    audit = in_read_only(read_only, "robot-assets", "audit", "small_detector/engine/cpu")
    assert "small_detector/engine/cpu" in audit.stdout, audit.stderr
    inspect = in_read_only(read_only, "robot-assets", "engine", "inspect", "small_detector/engine/cpu")
    assert inspect.returncode == 0, inspect.stderr


def test_a_build_on_a_read_only_checkout_is_refused_before_any_work(read_only: Path) -> None:
    done = in_read_only(read_only, "robot-assets", "build")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the instance {read_only / '.dagster'} is read-only")
    assert f"fix: cp -a {read_only} " in done.stderr


def test_a_read_only_checkout_that_was_never_built_can_be_planned(read_only: Path) -> None:
    shutil.rmtree(read_only / ".dagster")
    done = in_read_only(read_only, "robot-assets", "plan")
    assert done.returncode == 2, done.stderr
    assert "was never built" in done.stdout


def test_dagster_reads_an_instance_that_the_command_line_has_made(tmp_path: Path) -> None:
    home = opened(new_checkout(tmp_path / "a").root)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.is_persistent
