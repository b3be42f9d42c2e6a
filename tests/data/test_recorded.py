"""Pointers to recorded data, in the working tree or in another git repository."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_assets.core.errors import DataError, ParamsError, RobotAssetsError, StoreError
from robot_assets.data.entry import RecordedSource
from robot_assets.data.git_address import without_credentials
from robot_assets.data.recorded import Recorded, check_available, open_recorded, read_recorded
from robot_assets.data.repository import Repositories
from robot_assets.pipeline.params import parse_params
from robot_assets.store import Store, open_store, write_pointer
from tests.data.image_sources import CLASSES

POINTER = "data/raw/yard.dvc"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Robot", "-c", "user.email=robot@example.com")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def pointer_text(digit: str) -> str:
    return f"outs:\n- md5: {digit * 32}.dir\n  size: 12\n  nfiles: 2\n  hash: md5\n  path: yard\n"


class Registry:
    """A git repository with pointers, and a clone that pushes to it."""

    def __init__(self, folder: Path) -> None:
        self.bare = folder / "registry.git"
        self.clone = folder / "clone"
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(self.bare)], check=True)
        subprocess.run(["git", "clone", "--quiet", str(self.bare), str(self.clone)], check=True, capture_output=True)
        git(self.clone, "checkout", "--quiet", "-B", "main")

    @property
    def url(self) -> str:
        return self.bare.as_uri()

    def push(self, text: str, path: str = POINTER, branch: str = "main") -> str:
        """Commit ``text`` at ``path`` and push it; return the commit."""
        file = self.clone / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        git(self.clone, "add", "-f", path)
        git(self.clone, "commit", "--quiet", "-m", "data")
        git(self.clone, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return git(self.clone, "rev-parse", "HEAD")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(".robot_assets/store", root)


@pytest.fixture
def observe(root: Path) -> Callable[..., Recorded]:
    """Read a pointer with a new ``Repositories``, as each tick of a sensor does."""

    def read(**source: str) -> Recorded:
        recorded = RecordedSource.model_validate({"kind": "dvc", "pointer": POINTER, **source})
        return read_recorded(recorded, root, Repositories(root / ".robot_assets" / "git", root))

    return read


@pytest.fixture
def git_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The git commands since the last call, recorded by a wrapper of git on the PATH."""
    folder, log = tmp_path / "bin", tmp_path / "git.log"
    folder.mkdir()
    real = shutil.which("git")
    (folder / "git").write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def commands() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [word for line in lines for word in line.split() if word in ("ls-remote", "fetch", "init")]

    return commands


def test_the_version_is_the_hash_in_the_pointer_of_the_working_tree(root, observe):
    (root / "data/raw").mkdir(parents=True)
    (root / POINTER).write_text(pointer_text("a"))
    assert observe() == Recorded("a" * 32 + ".dir", POINTER, None, 12, 2)


def test_the_version_is_the_hash_of_an_output_in_dvc_lock(root, observe):
    (root / "dvc.lock").write_text(lock_text({"data/raw/yard": "b", "data/raw/other": "c"}))
    found = observe(pointer="dvc.lock", output="data/raw/yard")
    assert (found.version, found.where) == ("b" * 32 + ".dir", "data/raw/yard in dvc.lock")


def lock_text(outputs: dict[str, str]) -> str:
    entries = "".join(
        f"    - path: {path}\n      hash: md5\n      md5: {digit * 32}.dir\n" for path, digit in outputs.items()
    )
    return f"schema: '2.0'\nstages:\n  make:\n    cmd: make\n    outs:\n{entries}"


def test_an_unknown_output_is_refused_with_the_outputs_of_dvc_lock(root, observe):
    (root / "dvc.lock").write_text(lock_text({"data/raw/other": "c"}))
    with pytest.raises(DataError, match=r"data/raw/yard in dvc\.lock: no such output") as caught:
        observe(pointer="dvc.lock", output="data/raw/yard")
    assert caught.value.needed == "one of data/raw/other"


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ({}, "robot-assets data import yolo SOURCE --name yard   # or: git checkout -- data/raw/yard.dvc"),
        ({"pointer": "dvc.lock", "output": "data/raw/yard"}, "git checkout -- dvc.lock   # or: dvc repro"),
    ],
)
def test_a_missing_pointer_gives_the_commands_that_restore_it(root, observe, source, fix, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(DataError) as caught:
        observe(**source)
    assert caught.value.fix == fix


def test_a_pushed_pointer_is_a_new_version(registry, observe):
    first = registry.push(pointer_text("a"))
    found = observe(repository=registry.url, revision="main")
    assert (found.version, found.commit) == ("a" * 32 + ".dir", first)
    assert found.where == f"{POINTER} at main of {registry.url}"
    second = registry.push(pointer_text("b"))
    found = observe(repository=registry.url, revision="main")
    assert (found.version, found.commit) == ("b" * 32 + ".dir", second)


def test_an_unchanged_repository_is_not_fetched_again(registry, observe, git_log):
    registry.push(pointer_text("a"))
    git_log()
    observe(repository=registry.url, revision="main")
    assert git_log() == ["init", "ls-remote", "fetch"]
    observe(repository=registry.url, revision="main")
    assert git_log() == ["ls-remote"]


def test_a_fetched_commit_needs_no_network(registry, observe, git_log):
    commit = registry.push(pointer_text("a"))
    registry.push(pointer_text("b"))
    assert observe(repository=registry.url, revision=commit).version == "a" * 32 + ".dir"
    git_log()
    assert observe(repository=registry.url, revision=commit).version == "a" * 32 + ".dir"
    assert git_log() == []


def test_pointers_of_one_repository_share_one_request(registry, root, git_log):
    registry.push(pointer_text("a"))
    registry.push(pointer_text("b"), "data/raw/street.dvc")
    git_log()
    repositories = Repositories(root / "git", root)
    contents = [repositories.read(registry.url, "main", path).content for path in (POINTER, "data/raw/street.dvc")]
    assert contents == [pointer_text("a").encode(), pointer_text("b").encode()]
    assert git_log() == ["init", "ls-remote", "fetch"]


def test_only_one_commit_is_fetched(registry, root, observe):
    for digit in "abc":
        registry.push(pointer_text(digit))
    observe(repository=registry.url, revision="main")
    [bare] = (root / ".robot_assets/git").glob("*.git")
    assert git(bare, "rev-list", "--all", "--count") == "1"


def test_tags_full_names_the_default_branch_and_paths_are_accepted(registry, root, observe):
    registry.push(pointer_text("a"))
    git(registry.clone, "tag", "-a", "v1", "-m", "first")
    git(registry.clone, "push", "--quiet", "origin", "v1")
    registry.push(pointer_text("b"))
    versions = [
        observe(repository=registry.url, revision="v1").version,
        observe(repository=registry.url, revision="refs/heads/main").version,
        observe(repository=registry.url).version,
        observe(repository="../registry.git").version,
        observe(repository=str(registry.clone)).version,
    ]
    assert [version[0] for version in versions] == ["a", "b", "b", "b", "b"]


def test_a_rewritten_branch_is_followed(registry, observe):
    registry.push(pointer_text("a"))
    observe(repository=registry.url, revision="main")
    git(registry.clone, "checkout", "--quiet", "--orphan", "anew")
    commit = registry.push(pointer_text("c"))
    assert observe(repository=registry.url, revision="main").commit == commit


def test_the_lock_file_of_a_killed_git_is_removed(registry, root, observe):
    registry.push(pointer_text("a"))
    observe(repository=registry.url, revision="main")
    [bare] = (root / ".robot_assets/git").glob("*.git")
    (bare / "shallow.lock").touch()
    registry.push(pointer_text("b"))
    assert observe(repository=registry.url, revision="main").version == "b" * 32 + ".dir"


def test_the_repository_of_an_enclosing_git_hook_is_ignored(registry, root, observe, monkeypatch):
    registry.push(pointer_text("a"))
    monkeypatch.setenv("GIT_DIR", str(root / "nowhere"))
    assert observe(repository=registry.url, revision="main").version == "a" * 32 + ".dir"


def refusal(observe: Callable[..., Recorded], **source: str) -> RobotAssetsError:
    with pytest.raises(RobotAssetsError) as caught:
        observe(**source)
    return caught.value


def test_an_unknown_revision_is_named(registry, observe):
    registry.push(pointer_text("a"))
    error = refusal(observe, repository=registry.url, revision="release")
    assert error.found == f"revision 'release' of {registry.url} does not exist"
    assert f"git ls-remote {registry.url}" in error.fix
    error = refusal(observe, repository=registry.url, revision="0" * 40)
    assert error.found.startswith(f"revision '{'0' * 40}' of {registry.url} cannot be fetched: ")


def test_an_ambiguous_revision_needs_its_full_name(registry, observe):
    registry.push(pointer_text("a"))
    git(registry.clone, "push", "--quiet", "origin", "HEAD:refs/tags/main")
    error = refusal(observe, repository=registry.url, revision="main")
    assert error.found.endswith("is both a branch and a tag")
    assert error.fix == "set revision to refs/heads/main or refs/tags/main"


def test_a_file_missing_at_the_revision_is_named(registry, observe):
    commit = registry.push("hello", "README.md")
    error = refusal(observe, repository=registry.url, revision="main")
    assert error.found == f"{registry.url} has no file {POINTER} at main ({commit[:8]})"
    assert "git push" in error.fix


def test_an_invalid_pointer_is_named_with_its_repository_and_commit(registry, observe):
    commit = registry.push("just text")
    error = refusal(observe, repository=registry.url, revision="main")
    assert isinstance(error, StoreError)
    assert error.found == f"{POINTER} at main of {registry.url} ({commit[:8]}): the file is not a mapping"


def test_the_error_for_a_missing_repository_contains_the_message_of_git(tmp_path, observe):
    error = refusal(observe, repository=str(tmp_path / "gone.git"))
    assert error.found.startswith(f"{tmp_path}/gone.git cannot be read: git ls-remote failed: fatal: ")
    assert "gone.git" in error.fix


def test_an_unresponsive_host_times_out_and_all_processes_end(tmp_path, root, monkeypatch):
    import robot_assets.data.repository as repository

    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 600\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.setattr(repository, "ASK_TIMEOUT_S", 3.0)
    with pytest.raises(DataError, match=r"git ls-remote timed out after 3 s"):
        Repositories(root / "git", root).read("ssh://git@robot.invalid/data.git", "main", POINTER)
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: str) -> bool:
    stat = Path("/proc", pid, "stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_fetch_of_another_process_is_waited_for_and_then_reported(registry, root, observe, monkeypatch):
    import fcntl

    import robot_assets.data.repository as repository

    registry.push(pointer_text("a"))
    observe(repository=registry.url, revision="main")
    registry.push(pointer_text("b"))
    [bare] = (root / ".robot_assets/git").glob("*.git")
    monkeypatch.setattr(repository, "LOCK_TIMEOUT_S", 0.2)
    with open(f"{bare}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        error = refusal(observe, repository=registry.url, revision="main")
    assert "still being fetched by another process" in error.found


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% pwned",
        "ext::sh",
        "fd::3",
        "--upload-pack=touch pwned",
        "-oProxyCommand=touch",
        "ssh://-oProxyCommand=touch/x",
        "ssh://user@-oProxyCommand=touch/x",
        "-oProxyCommand=touch:x",
        "git@-oProxyCommand=touch:x",
        "http://example.com/x.git",
        "ftp://example.com/x.git",
        "https://example.com/x.git\nfile:///etc",
        "",
    ],
)
def test_an_address_that_could_run_a_command_is_not_passed_to_git(url, root, git_log):
    with pytest.raises(DataError, match=r"correct repository of the data set in params\.yaml"):
        Repositories(root / "git", root).read(url, "main", POINTER)
    assert git_log() == []
    with pytest.raises(ParamsError, match=r"datasets\.yard\.source: repository"):
        parse_params(params(repository=url))


@pytest.mark.parametrize("revision", ["--upload-pack=touch pwned", "-x", "main:x", "a..b", "x y", "ma*n", "@{1}", ""])
def test_an_invalid_revision_is_not_passed_to_git(revision, root, git_log):
    with pytest.raises(DataError, match="is not a valid branch, tag or full commit hash"):
        Repositories(root / "git", root).read("https://example.com/x.git", revision, POINTER)
    assert git_log() == []
    with pytest.raises(ParamsError, match=r"datasets\.yard\.source: revision"):
        parse_params(params(repository="https://example.com/x.git", revision=revision))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"pointer": "dvc.lock"}, r"output: a dvc\.lock needs one: add it"),
        ({"output": "data/raw/yard"}, r"output: only a dvc\.lock has outputs: remove it"),
        ({"pointer": "dvc.lock", "output": "../yard"}, "inside the project"),
        ({"pointer": "data/raw/yard.yaml"}, "ends in .dvc, or a dvc.lock"),
        ({"revision": "main"}, "revision needs a repository"),
        ({"repositry": "https://example.com/x"}, "did you mean 'repository'"),
    ],
)
def test_an_inconsistent_source_is_refused_in_params_yaml(source, message):
    with pytest.raises(ParamsError, match=message):
        parse_params(params(**source))


def params(**source: str) -> dict:
    return {
        "store": {"url": ".robot_assets/store"},
        "datasets": {
            "yard": {
                "source": {"kind": "dvc", "pointer": POINTER, **source},
                "classes": list(CLASSES),
                "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            }
        },
        "models": {},
        "targets": {},
    }


SECRETS = ("hunter2secret", "pa@ss:word", "p%40ss1234")


@pytest.mark.parametrize("secret", SECRETS)
def test_messages_and_files_contain_no_credentials(secret, root, observe, tmp_path):
    url = f"https://robot:{secret}@127.0.0.1:1/data.git"
    error = refusal(observe, repository=url, revision="main")
    assert error.found.startswith("https://***@127.0.0.1:1/data.git cannot be read: git ls-remote failed: ")
    assert secret not in str(error)
    ftp = parse_error(repository=f"ftp://robot:{secret}@example.com/x.git")
    assert secret not in ftp
    assert "ftp://***@example.com/x.git" in ftp
    written = [path for path in (root / ".robot_assets").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if secret.encode() in path.read_bytes()]


def parse_error(**source: str) -> str:
    with pytest.raises(ParamsError) as caught:
        parse_params(params(**source))
    return str(caught.value)


def test_a_token_without_a_user_is_masked_and_the_user_of_ssh_is_not():
    assert without_credentials("https://ghp_token@github.com/x") == "https://***@github.com/x"
    assert without_credentials("ssh://git@github.com/x") == "ssh://git@github.com/x"
    assert without_credentials("fatal: hunter2 is wrong", "https://me:hunter2@host/x") == "fatal: *** is wrong"


def folder_with(root: Path, text: str) -> Path:
    folder = root / "data/raw/yard"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "frame.txt").write_text(text)
    return folder


HERE = RecordedSource(kind="dvc", pointer=POINTER)


def test_data_in_the_store_is_available_without_its_folder(root, store):
    version = store.add(folder_with(root, "one")).digest
    shutil.rmtree(root / "data/raw/yard")
    check_available(HERE, root, version, store)
    assert (open_recorded(HERE, root, version, store) / "frame.txt").read_text() == "one"


def test_data_beside_the_pointer_is_available_and_is_stored_when_it_is_opened(root, store):
    version = store.digest_of(folder_with(root, "one")).digest
    check_available(HERE, root, version, store)
    assert not store.has(version)
    assert (open_recorded(HERE, root, version, store) / "frame.txt").read_text() == "one"
    assert store.has(version)


def test_the_error_for_unavailable_data_gives_the_commands_that_provide_it(root, store, monkeypatch):
    monkeypatch.chdir(root)
    version = "a" * 32 + ".dir"
    with pytest.raises(DataError, match="data/raw/yard does not exist") as caught:
        check_available(HERE, root, version, store)
    assert caught.value.fix == "robot-assets data import yolo SOURCE --name yard   # or: dvc pull data/raw/yard.dvc"
    found = store.digest_of(folder_with(root, "other")).digest
    with pytest.raises(DataError, match=f"has the hash {found}"):
        check_available(HERE, root, version, store)
    locked = RecordedSource(kind="dvc", pointer="dvc.lock", output="data/raw/yard")
    with pytest.raises(DataError) as caught:
        check_available(locked, root, version, store)
    assert caught.value.fix == "dvc pull data/raw/yard"


def test_the_error_for_unpushed_data_gives_dvc_push(root, tmp_path, registry):
    shared = open_store(str(tmp_path / "shared"), root)
    with pytest.raises(DataError) as caught:
        check_available(HERE, root, "a" * 32 + ".dir", shared)
    assert caught.value.fix.endswith("on the machine where the data was added: dvc push data/raw/yard.dvc")
    elsewhere = RecordedSource(kind="dvc", pointer=POINTER, repository=registry.url, revision="main")
    with pytest.raises(DataError) as caught:
        check_available(elsewhere, root, "a" * 32 + ".dir", shared)
    assert caught.value.found.startswith(f"{POINTER} at main of {registry.url} points at ")
    assert caught.value.fix == (
        "in the repository where the data was added, with the store as remote: dvc push data/raw/yard.dvc"
    )


def test_a_local_folder_is_ignored_when_the_pointer_is_in_another_repository(root, store, registry):
    version = store.digest_of(folder_with(root, "one")).digest
    elsewhere = RecordedSource(kind="dvc", pointer=POINTER, repository=registry.url)
    with pytest.raises(DataError, match=r"the store at .* does not have it"):
        check_available(elsewhere, root, version, store)


def test_a_pointer_written_by_us_reads_back(root, store, observe):
    artifact = store.add(folder_with(root, "one"))
    write_pointer(root / POINTER, artifact)
    assert observe().version == artifact.digest
