"""One file at one revision of a git repository elsewhere, read with the ``git`` command.

What was fetched stays in a bare repository under ``.robot_assets/git``, one commit deep. ``git ls-remote`` asks
first, so that a repository that has not moved costs one round trip and no download.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
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
    as_given_to_git,
    why_revision_refused,
    why_url_refused,
    without_credentials,
)

ASK_TIMEOUT_S = 20.0
LOCK_TIMEOUT_S = 20.0
FETCH_TIMEOUT_S = 300.0
"""Longer than a sensor's tick may take: the tick gives up, the fetch ends, and the next tick finds the commit."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_OF_ANOTHER_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
}
"""What git sets for a hook: there, every git command would act on the hook's repository."""


@dataclass(frozen=True)
class Committed:
    """A file of a repository: the commit that it was read at, and its bytes."""

    commit: str
    content: bytes


@dataclass(frozen=True)
class Repositories:
    """Repositories as they are at one look: each revision is asked for once, however many files are read.

    Attributes:
        folder: Where the bare repositories lie.
        root: What a relative path to a repository is relative to.
    """

    folder: Path
    root: Path
    _seen: dict[tuple[str, str], str | DataError] = field(default_factory=dict, repr=False)

    def read(self, url: str, revision: str, path: str) -> Committed:
        """The file ``path`` at ``revision`` of the repository at ``url``.

        Args:
            url: https, ssh, file or git; or a path.
            revision: A branch, a tag, ``HEAD``, a full name such as ``refs/heads/main``, or a full commit hash.
            path: Inside the repository.

        Raises:
            DataError: The address is refused, the repository unreachable, or it has no such revision or file.
        """
        repository = _Repository(url, self.folder, self.root)
        if (url, revision) not in self._seen:
            try:
                self._seen[url, revision] = repository.fetch(revision)
            except DataError as error:
                self._seen[url, revision] = error
        commit = self._seen[url, revision]
        if isinstance(commit, DataError):
            raise commit
        return Committed(commit, repository.read(commit, path, revision))


@dataclass(frozen=True)
class _Repository:
    url: str
    folder: Path
    root: Path

    def fetch(self, revision: str) -> str:
        """The commit of ``revision`` now; its files are here when this returns."""
        if refused := why_url_refused(self.url):
            raise DataError(
                f"the repository {self.name!r} {refused}",
                needed="an https, ssh, file or git URL, or a path",
                fix="correct repository of the data set in params.yaml",
            )
        if refused := why_revision_refused(revision):
            raise self._no_revision(revision, refused)
        self._ensure_bare()
        ref, commit = (revision, revision) if _COMMIT.fullmatch(revision) else self._ask(revision)
        if self._has(commit):
            return commit
        with self._alone():
            return commit if self._has(commit) else self._download(ref, revision)

    def read(self, commit: str, path: str, revision: str) -> bytes:
        """The bytes of a file of a commit that is here."""
        done = self._git("cat-file", "blob", f"{commit}:{path}")
        if done.returncode:
            raise DataError(
                f"{self.name} has no file {path} at {revision} ({commit[:8]})",
                needed="the pointer that params.yaml names, committed there",
                fix=f"there: git add {path} && git commit && git push; or correct pointer or revision in params.yaml",
            )
        return done.stdout

    def _ask(self, revision: str) -> tuple[str, str]:
        """Full name and commit of a revision. A tag object is followed to its commit."""
        wanted = [revision] if revision == "HEAD" or revision.startswith("refs/") else []
        wanted = wanted or [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        done = self._git("ls-remote", "--", self._address, *wanted, *(f"{ref}^{{}}" for ref in wanted))
        if done.returncode:
            raise self._unreachable(f"git ls-remote failed: {self._said(done)}")
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        refs = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
        found = [ref for ref in wanted if ref in refs]
        if not found:
            raise self._no_revision(revision, "is not there")
        if len(found) > 1:
            raise self._no_revision(revision, "is a branch and a tag", f"one of: {', '.join(found)}")
        return found[0], refs.get(f"{found[0]}^{{}}", refs[found[0]])

    def _download(self, ref: str, revision: str) -> str:
        """Fetch ``ref``, a commit deep, and keep it under a name of ours, so that git does not prune it."""
        for leftover in self._bare.rglob("*.lock"):  # of a git that was killed; nobody else is here
            leftover.unlink(missing_ok=True)
        kept = f"refs/observed/{hashlib.md5(ref.encode(), usedforsecurity=False).hexdigest()}"
        options = ("--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head")
        done = self._git("fetch", *options, "--", self._address, f"+{ref}:{kept}", timeout_s=FETCH_TIMEOUT_S)
        if done.returncode and _COMMIT.fullmatch(revision):
            raise self._no_revision(revision, f"cannot be fetched: {self._said(done)}")
        if done.returncode:
            raise self._unreachable(f"git fetch of {revision} failed: {self._said(done)}")
        return self._git("rev-parse", "--verify", f"{kept}^{{commit}}").stdout.decode().strip()

    def _has(self, commit: str) -> bool:
        return self._git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    @property
    def name(self) -> str:
        """The address as a person may see it."""
        return without_credentials(self.url, self.url)

    @property
    def _address(self) -> str:
        return as_given_to_git(self.url, self.root)

    @cached_property
    def _bare(self) -> Path:
        digest = hashlib.md5(without_credentials(self._address, self.url).encode(), usedforsecurity=False).hexdigest()
        stem = re.sub(r"[^\w-]", "", re.split(r"[/:]", self.url.rstrip("/"))[-1].removesuffix(".git"))
        return self.folder / f"{stem[:40]}-{digest[:12]}.git"

    def _ensure_bare(self) -> None:
        if (self._bare / "HEAD").is_file():
            return
        with self._alone():
            if not (self._bare / "HEAD").is_file():
                with publishing_directory(self._bare) as staging:
                    self._git("init", "--quiet", "--bare", "--template=", git_dir=staging)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process or thread at a time writes to the bare repository."""
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
        """Run git on the bare repository, without prompts; end it with all its children when it takes too long."""
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
                "there is no git command here",
                needed=f"git, to read {self.name}",
                fix="install git, for example: apt-get install git",
            ) from None
        with process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise self._unreachable(f"git {arguments[0]} had not ended after {timeout_s:g} s") from None
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _said(self, done: subprocess.CompletedProcess[bytes]) -> str:
        """What git complained about, on one line."""
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        told = [line for line in lines if re.match(r"(fatal|error|remote|ssh|.*denied)\b", line, re.IGNORECASE)]
        text = "; ".join(told or lines[-1:]) or f"exit code {done.returncode}"
        return re.sub(r"[\x00-\x1f\x7f]", " ", without_credentials(text, self.url))[:500]

    def _unreachable(self, what: str) -> DataError:
        return DataError(
            f"{self.name} cannot be read: {what}",
            needed="a git repository that this machine can reach and read without being asked for a password",
            fix=f"see what `git ls-remote {self.name}` says; then correct repository in params.yaml, or give this "
            "machine an ssh key or a git credential helper",
        )

    def _busy(self) -> DataError:
        return DataError(
            f"{self.name} is still being fetched by another process of this machine",
            needed="one fetch at a time",
            fix="wait for it; it ends by itself",
        )

    def _no_revision(self, revision: str, what: str, fix: str = "") -> DataError:
        return DataError(
            f"revision {revision!r} of {self.name} {what}",
            needed="a branch, a tag or a full commit hash of that repository",
            fix=fix or f"see what `git ls-remote {self.name}` lists; then correct revision in params.yaml, or push it",
        )


def _environment() -> dict[str, str]:
    """English messages, no prompts of any kind, plain protocols alone, and nobody else's repository."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
    return {
        "GIT_ASKPASS": "",
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
    }
