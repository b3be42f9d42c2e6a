"""Reads single files of other git repositories with the ``git`` command.

Fetched commits are kept in bare repositories under ``.robot_assets/git``, with depth 1. ``git ls-remote`` is run first,
so that an unchanged repository needs one round trip and no download.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.publishing import publishing_directory
from robot_assets.data.git_address import (
    PROTOCOLS,
    absolute_url,
    why_revision_refused,
    why_url_refused,
    without_credentials,
)

ASK_TIMEOUT_S = 20.0
LOCK_TIMEOUT_S = 20.0
FETCH_TIMEOUT_S = 300.0
"""Longer than a sensor's tick: after the tick timed out, the fetch completes, and the next tick finds the commit."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REPOSITORY_VARIABLES = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
}
"""Variables that git sets in a hook; with them, every git command acts on the hook's repository."""


@dataclass(frozen=True)
class Committed:
    """The bytes of a file in a repository, and the commit that they were read from."""

    commit: str
    content: bytes


@dataclass(frozen=True)
class Repositories:
    """Reads files of repositories. Each revision is resolved once per instance, however many files are read.

    Attributes:
        folder: Folder of the bare repositories.
        root: Base of relative paths to repositories.
    """

    folder: Path
    root: Path
    _resolved: dict[tuple[str, str], str | DataError] = field(default_factory=dict, repr=False)

    def read(self, url: str, revision: str, path: str) -> Committed:
        """Read the file ``path`` at ``revision`` of the repository at ``url``.

        Args:
            url: https, ssh, file or git; or a path.
            revision: A branch, a tag, ``HEAD``, a full name such as ``refs/heads/main``, or a full commit hash.
            path: Path in the repository.

        Raises:
            DataError: The address is refused, the repository unreachable, or it has no such revision or file.
        """
        repository = _Repository(url, self.folder, self.root)
        if (url, revision) not in self._resolved:
            try:
                self._resolved[url, revision] = repository.fetch(revision)
            except DataError as error:
                self._resolved[url, revision] = error
        commit = self._resolved[url, revision]
        if isinstance(commit, DataError):
            raise commit
        return Committed(commit, repository.read(commit, path, revision))


@dataclass(frozen=True)
class _Repository:
    url: str
    folder: Path
    root: Path

    def fetch(self, revision: str) -> str:
        """Fetch the current commit of ``revision``; return its hash."""
        if refused := why_url_refused(self.url):
            raise DataError(
                f"the repository {self.name!r} {refused}",
                needed="an https, ssh, file or git URL, or a path",
                fix="correct repository of the data set in params.yaml",
            )
        if refused := why_revision_refused(revision):
            raise self._no_revision(revision, refused)
        self._ensure_bare()
        ref, commit = (revision, revision) if _COMMIT.fullmatch(revision) else self._resolve(revision)
        if self._has(commit):
            return commit
        with self._locked():
            return commit if self._has(commit) else self._download(ref, revision)

    def read(self, commit: str, path: str, revision: str) -> bytes:
        """The bytes of a file of a fetched commit."""
        done = self._git("cat-file", "blob", f"{commit}:{path}")
        if done.returncode:
            raise DataError(
                f"{self.name} has no file {path} at {revision} ({commit[:8]})",
                needed="the pointer of params.yaml, committed in that repository",
                fix=f"in that repository: git add {shlex.quote(path)} && git commit && git push; "
                "or correct pointer or revision in params.yaml",
            )
        return done.stdout

    def _resolve(self, revision: str) -> tuple[str, str]:
        """Full name and commit of a revision. An annotated tag is resolved to its commit."""
        wanted = [revision] if revision == "HEAD" or revision.startswith("refs/") else []
        wanted = wanted or [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        done = self._git("ls-remote", "--", self._address, *wanted, *(f"{ref}^{{}}" for ref in wanted))
        if done.returncode:
            raise self._unreachable(f"git ls-remote failed: {self._message(done)}")
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        refs = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
        found = [ref for ref in wanted if ref in refs]
        if not found:
            raise self._no_revision(revision, "does not exist")
        if len(found) > 1:
            raise self._no_revision(revision, "is both a branch and a tag", f"set revision to {' or '.join(found)}")
        return found[0], refs.get(f"{found[0]}^{{}}", refs[found[0]])

    def _download(self, ref: str, revision: str) -> str:
        """Fetch ``ref`` with depth 1, and keep it under a ref of ours, so that git does not prune it."""
        for leftover in self._bare.rglob("*.lock"):  # of a killed git: we hold the lock of the repository
            leftover.unlink(missing_ok=True)
        kept = f"refs/observed/{hashlib.md5(ref.encode(), usedforsecurity=False).hexdigest()}"
        options = ("--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head")
        done = self._git("fetch", *options, "--", self._address, f"+{ref}:{kept}", timeout_s=FETCH_TIMEOUT_S)
        if done.returncode and _COMMIT.fullmatch(revision):
            raise self._no_revision(revision, f"cannot be fetched: {self._message(done)}")
        if done.returncode:
            raise self._unreachable(f"git fetch of {revision} failed: {self._message(done)}")
        return self._git("rev-parse", "--verify", f"{kept}^{{commit}}").stdout.decode().strip()

    def _has(self, commit: str) -> bool:
        return self._git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    @property
    def name(self) -> str:
        """The address without credentials."""
        return without_credentials(self.url, self.url)

    @property
    def _address(self) -> str:
        return absolute_url(self.url, self.root)

    @cached_property
    def _bare(self) -> Path:
        digest = hashlib.md5(without_credentials(self._address, self.url).encode(), usedforsecurity=False).hexdigest()
        stem = re.sub(r"[^\w-]", "", re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git"))
        return self.folder / f"{stem[:40]}-{digest[:12]}.git"

    def _ensure_bare(self) -> None:
        if (self._bare / "HEAD").is_file():
            return
        with self._locked():
            if not (self._bare / "HEAD").is_file():
                with publishing_directory(self._bare) as staging:
                    self._git("init", "--quiet", "--bare", "--template=", git_dir=staging)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the exclusive lock of the bare repository; wait for it at most ``LOCK_TIMEOUT_S``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + LOCK_TIMEOUT_S
        with open(f"{self._bare}.lock", "w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise self._busy() from None
                    time.sleep(0.1)
            yield

    def _git(
        self, *arguments: str, timeout_s: float | None = None, git_dir: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git on the bare repository, without prompts; kill it with all its children after ``timeout_s``."""
        timeout_s = timeout_s or ASK_TIMEOUT_S
        command = ["git", "-c", "gc.autoDetach=false", f"--git-dir={git_dir or self._bare}", *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise DataError(
                "the command git is not installed",
                needed=f"git, to read {self.name}",
                fix="apt-get install git",
            ) from None
        with process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise self._unreachable(f"git {arguments[0]} timed out after {timeout_s:g} s") from None
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _message(self, done: subprocess.CompletedProcess[bytes]) -> str:
        """The error messages of git, on one line, without credentials."""
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"(fatal|error|remote|ssh|.*denied)\b", line, re.IGNORECASE)]
        text = "; ".join(errors or lines[-1:]) or f"exit code {done.returncode}"
        return re.sub(r"[\x00-\x1f\x7f]", " ", without_credentials(text, self.url))[:500]

    def _unreachable(self, what: str) -> DataError:
        return DataError(
            f"{self.name} cannot be read: {what}",
            needed="a git repository that this machine can read without entering a password",
            fix=f"git ls-remote {shlex.quote(self.name)}   # then correct repository in params.yaml, or configure an "
            "ssh key or a git credential helper on this machine",
        )

    def _busy(self) -> DataError:
        return DataError(
            f"{self.name} is still being fetched by another process on this machine",
            needed="one fetch at a time",
            fix="wait until that fetch has ended, then run the same command again",
        )

    def _no_revision(self, revision: str, what: str, fix: str = "") -> DataError:
        return DataError(
            f"revision {revision!r} of {self.name} {what}",
            needed="a branch, a tag or a full commit hash of that repository",
            fix=fix
            or f"git ls-remote {shlex.quote(self.name)}   # lists them; correct revision in params.yaml, or push it",
        )


def _environment() -> dict[str, str]:
    """Environment for git: English messages, no prompts, plain protocols only, no repository of a hook."""
    kept = {name: value for name, value in os.environ.items() if name not in _REPOSITORY_VARIABLES}
    return {
        "GIT_ASKPASS": "",
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
    }
