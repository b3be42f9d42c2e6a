"""A bounded cache evicts the least recently used objects, and none that are pinned or only on this machine."""

from __future__ import annotations

import fcntl
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from robot_assets.core.errors import StoreError
from robot_assets.store import Store, eviction
from robot_assets.store.cache import Cache
from robot_assets.store.eviction import evict_to_limit
from robot_assets.store.pins import released
from robot_assets.store.usage import on_disk, reserved_bytes, stored_objects
from tests.store.conftest import content, objects
from tests.store.test_crashes import assert_every_object_is_its_hash

BLOCK = 4096
LIMIT = 20 * BLOCK


def disk_usage(store: Store) -> int:
    return sum(on_disk(path.stat().st_size) for path in objects(store.cache).values())


def make(folder: Path, name: str, blocks: int, files: int = 1) -> Path:
    """A directory of unique files of ``blocks`` blocks each; its listing takes one block more.

    The same name gives the same bytes: Hypothesis samples from sorted hashes and has to find the same order again.
    """
    made = folder / name
    made.mkdir(parents=True)
    for number in range(files):
        noise = random.Random(f"{name} {number}").randbytes((blocks - 1) * BLOCK)
        (made / f"{number}.bin").write_bytes(f"{name} {number} ".encode() + noise)
    return made


def is_cached(store: Store, digest: str) -> bool:
    """Whether the cache alone has every object of the artifact."""
    return Store(store.cache).has(digest)


def use(store: Store, digest: str) -> dict[str, bytes]:
    """Open and read an artifact as a step does, and release it."""
    with released():
        return content(store.open(digest))


@contextmanager
def process_with_open_artifact(store: Store, digest: str) -> Iterator[subprocess.Popen]:
    """Run another process that has opened the artifact, until the block ends."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom robot_assets.store import Store\n"
        "path = Store(Path(sys.argv[1]), sys.argv[2]).open(sys.argv[3])\n"
        "print('opened', flush=True)\nsys.stdin.readline()\n"
        "print(sum(len(file.read_bytes()) for file in path.rglob('*') if file.is_file()), flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(store.cache), str(store.remote_url), digest]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "opened\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def bounded(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", str(tmp_path / "remote"), LIMIT)


@pytest.fixture
def three(bounded: Store, tmp_path: Path) -> list[str]:
    """Three artifacts, least recently used first, that fill the cache up to one block; the remote has them all."""
    return [bounded.add(make(tmp_path, name, 5)).digest for name in ("one", "two", "three")]


def test_the_least_recently_used_artifact_is_evicted_and_can_be_fetched_again(bounded, three, tmp_path):
    use(bounded, three[0])
    four = bounded.add(make(tmp_path, "four", 5)).digest
    assert [is_cached(bounded, digest) for digest in [*three, four]] == [True, False, True, True]
    assert disk_usage(bounded) <= LIMIT
    assert use(bounded, three[1]) == content(tmp_path / "two")
    assert disk_usage(bounded) <= LIMIT


def test_a_fetch_evicts_before_it_downloads(bounded, three, tmp_path):
    other = Store(tmp_path / "elsewhere", bounded.remote_url)
    large = other.add(make(tmp_path, "large", 12)).digest
    assert bounded.pull(large) == 2
    assert is_cached(bounded, large)
    assert disk_usage(bounded) <= LIMIT


def test_a_checkout_is_evicted_with_its_objects(bounded, three, tmp_path):
    for digest in three:
        use(bounded, digest)
    bounded.add(make(tmp_path, "four", 18))
    assert disk_usage(bounded) <= LIMIT
    assert not list((bounded.cache / "opened").iterdir())


def test_an_object_of_two_artifacts_counts_as_used_when_either_was(bounded, tmp_path):
    old, young = make(tmp_path, "old", 4, files=2), make(tmp_path, "young", 4)
    shutil.copy(old / "0.bin", young / "shared.bin")
    old_digest, young_digest = bounded.add(old).digest, bounded.add(young).digest
    use(bounded, young_digest)
    bounded.add(make(tmp_path, "more", 8))
    assert not is_cached(bounded, old_digest)
    assert is_cached(bounded, young_digest)


def test_an_artifact_open_in_another_process_stays_until_the_process_is_killed(bounded, three, tmp_path):
    with process_with_open_artifact(bounded, three[0]) as process:
        for name in ("four", "five", "six"):
            bounded.add(make(tmp_path, name, 6))
        assert is_cached(bounded, three[0])
        assert disk_usage(bounded) <= LIMIT
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{(tmp_path / 'one' / '0.bin').stat().st_size}\n"
    with process_with_open_artifact(bounded, three[1]) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)
        bounded.add(make(tmp_path, "seven", 17))
        assert not is_cached(bounded, three[1])


def test_a_forked_data_loader_worker_keeps_the_pins_of_its_parent(bounded, three, tmp_path):
    ready, is_ready = os.pipe()
    with released():
        bounded.open(three[0])
        child = os.fork()
        if child == 0:
            os.write(is_ready, b".")
            time.sleep(60)
            os._exit(0)
    try:
        os.read(ready, 1)
        bounded.add(make(tmp_path, "four", 13))
        assert is_cached(bounded, three[0])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(is_ready)
    bounded.add(make(tmp_path, "five", 14))
    assert not is_cached(bounded, three[0])


def test_objects_that_the_remote_lacks_or_has_truncated_stay(bounded, tmp_path):
    lost = Store(bounded.cache).add(make(tmp_path, "unpushed", 5)).digest
    cut_short = bounded.add(make(tmp_path, "cut short", 4)).digest
    (there,) = [path for path in objects(tmp_path / "remote").values() if path.stat().st_size > BLOCK]
    there.chmod(0o644)
    there.write_bytes(there.read_bytes()[:-1])
    for name in ("one", "two", "three"):
        bounded.add(make(tmp_path, name, 8))
    assert is_cached(bounded, lost)
    assert [md5 for md5 in objects(bounded.cache) if md5 == there.parent.name + there.name]
    assert disk_usage(bounded) <= LIMIT
    assert bounded.has(cut_short)


def test_a_store_without_a_remote_evicts_nothing(tmp_path):
    store = Store(tmp_path / "store", None, BLOCK)
    digests = [store.add(make(tmp_path, name, 5)).digest for name in ("one", "two")]
    assert all(is_cached(store, digest) for digest in digests)


def test_when_everything_is_pinned_the_work_goes_on_with_one_warning(bounded, three, tmp_path, caplog):
    eviction._warned.clear()
    with caplog.at_level(logging.WARNING), released():
        for digest in three:
            bounded.open(digest)
        for name in ("four", "five"):
            four = bounded.add(make(tmp_path, name, 6))
            assert content(bounded.open(four.digest)) == content(tmp_path / name)
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("robot_assets")]
    assert warning.startswith(
        f"the cache {bounded.cache} takes 0.1 MiB and its limit is 0.1 MiB; 0.0 MiB were removed and "
    )
    assert "in use by processes on this machine" in warning
    assert "execution.cache.size" in warning
    bounded.add(make(tmp_path, "six", 2))
    assert disk_usage(bounded) <= LIMIT


def test_when_the_remote_is_unreachable_nothing_is_evicted(bounded, three, tmp_path, caplog):
    eviction._warned.clear()
    shutil.move(tmp_path / "remote", tmp_path / "unplugged")
    (tmp_path / "remote").write_text("not a directory")
    local = Cache(bounded.cache, BLOCK)
    with caplog.at_level(logging.WARNING):
        evict_to_limit(local, bounded._remote)
    assert all(is_cached(bounded, digest) for digest in three)
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("robot_assets")]
    assert "0.0 MiB were removed and the remote cannot be asked what it has: " in warning


def test_an_object_that_disappears_before_it_is_read_is_fetched_again(bounded, three, tmp_path):
    store = Store(bounded.cache, bounded.remote_url)
    for lost in objects(bounded.cache).values():
        lost.unlink()
        assert use(store, three[0]) == content(tmp_path / "one")
    for lost in objects(bounded.cache).values():
        lost.unlink()
    store.get(three[2], tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "three")


def test_pushing_an_evicted_artifact_is_a_no_op(bounded, three):
    for path in objects(bounded.cache).values():
        if path.stat().st_size > BLOCK:
            path.unlink()
    assert [bounded.push(digest) for digest in three] == [0, 0, 0]


def test_a_checkout_made_of_copies_counts_twice(bounded, tmp_path):
    if not os.path.ismount("/dev/shm"):
        pytest.skip("no second file system at /dev/shm to refuse a link")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        bounded.cache.mkdir()
        (bounded.cache / "opened").symlink_to(elsewhere)
        one = bounded.add(make(tmp_path, "one", 9)).digest
        use(bounded, one)
        assert list(Path(elsewhere).glob("*.copies"))
        two = bounded.add(make(tmp_path, "two", 5)).digest
        assert not is_cached(bounded, one)
        assert is_cached(bounded, two)
        assert not list(Path(elsewhere).iterdir())


@contextmanager
def small_disk(size: str, place: Path) -> Iterator[Path]:
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if done.returncode:
        pytest.skip("no permission to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_smaller_than_the_limit_is_the_limit_and_a_full_one_is_reported(tmp_path):
    with small_disk("2m", tmp_path / "disk") as disk:
        store = Store(disk / "cache", str(tmp_path / "remote"), 1 << 30)
        digests = [store.add(make(tmp_path, str(number), 90)).digest for number in range(12)]
        assert is_cached(store, digests[-1])
        assert not is_cached(store, digests[0])
        with released():
            for digest in digests[-4:]:
                store.open(digest)
            with pytest.raises(StoreError, match="no space left") as caught:
                store.add(make(tmp_path, "large", 300))
        assert "ROBOT_ASSETS_CACHE" in caught.value.fix
        assert use(store, digests[0]) == content(tmp_path / "0")


def test_eviction_works_on_a_disk_that_another_program_filled_completely(tmp_path):
    with small_disk("2m", tmp_path / "disk") as disk:
        store = Store(disk / "cache", str(tmp_path / "remote"), 1 << 30)
        digests = [store.add(make(tmp_path, str(number), 40)).digest for number in range(6)]
        with (disk / "logs").open("wb", buffering=0) as logs:
            while shutil.disk_usage(disk).free:
                logs.write(bytes(BLOCK))
        more = store.add(make(tmp_path, "more", 60)).digest
        assert use(store, more) == content(tmp_path / "more")
        assert not is_cached(store, digests[0])


_STEP = """
import random, sys
from pathlib import Path
from robot_assets.store import Store
store = Store(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
chance = random.Random(sys.argv[4])
digests = sys.argv[5:]
print("go", flush=True)
while True:
    digest = chance.choice(digests)
    from robot_assets.store.pins import released
    with released():
        root = store.open(digest)
        found = sorted((path.name, len(path.read_bytes())) for path in root.iterdir())
        assert len(found) == 6, (digest, found)
    print(digest, flush=True)
"""


def test_killing_steps_that_share_a_small_cache_leaves_it_consistent(tmp_path):
    remote, limit = str(tmp_path / "remote"), 60 * BLOCK
    source = Store(tmp_path / "source", remote)
    digests = {source.add(make(tmp_path, f"a{number}", 5, files=6)).digest: f"a{number}" for number in range(6)}
    cache = tmp_path / "cache"
    chance = random.Random(1)
    logs = [tmp_path / f"errors{number}" for number in range(10)]
    for log in logs:
        command = [sys.executable, "-c", _STEP, str(cache), remote, str(limit), log.name, *digests]
        with log.open("w") as errors:
            steps = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) for _ in range(2)]
        for step in steps:
            step.stdout.readline()
        time.sleep(chance.uniform(0, 0.6))
        for step in steps:
            assert step.poll() is None, log.read_text()
            step.kill()
            step.communicate()
        assert_every_object_is_its_hash(cache)
    bounded = Store(cache, remote, limit)
    for digest, name in digests.items():
        assert use(bounded, digest) == content(tmp_path / name)
        assert disk_usage(bounded) <= limit
    assert reserved_bytes(Cache(cache)) == 0
    checkouts = {path.name for path in (cache / "opened").iterdir() if path.is_dir()}
    assert checkouts <= digests.keys()


_EVICT = """
import sys
from pathlib import Path
from robot_assets.store.cache import Cache
from robot_assets.store.remote import Remote
from robot_assets.store.eviction import evict_to_limit
cache, remote = Cache(Path(sys.argv[1]), int(sys.argv[3])), Remote(sys.argv[2])
remote.sizes([])
print("go", flush=True)
evict_to_limit(cache, remote)
"""


def test_an_eviction_killed_at_any_moment_leaves_each_object_complete_or_absent(tmp_path):
    remote = str(tmp_path / "remote")
    store = Store(tmp_path / "cache", remote)
    folders = {store.add(folder).digest: folder for folder in (make(tmp_path, f"{i}", 2, files=200) for i in range(3))}
    chance = random.Random(2)
    for _ in range(8):
        for digest in folders:
            use(store, digest)
        command = [sys.executable, "-c", _EVICT, str(store.cache), remote, str(10 * BLOCK)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.12))
            process.kill()
        assert_every_object_is_its_hash(store.cache)
    for digest, folder in folders.items():
        assert use(store, digest) == content(folder)
    evict_to_limit(Cache(store.cache, 10 * BLOCK), store._remote)
    assert disk_usage(store) <= 10 * BLOCK
    assert not list((store.cache / "opened").iterdir())


_WRITE = """
import sys, time
from pathlib import Path
from robot_assets.store import Store
store = Store(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
print(store.add(Path(sys.argv[4])).digest, flush=True)
"""


@pytest.mark.parametrize("place", ["local", "s3"])
@pytest.mark.parametrize("caches", ["one cache", "two caches"])
def test_two_pods_can_write_the_same_objects_concurrently(place, caches, folder, tmp_path, request):
    url = str(tmp_path / "remote") if place == "local" else request.getfixturevalue("s3")
    expected = content(folder)
    names = ["node", "node"] if caches == "one cache" else ["node-1", "node-2"]
    writers = []
    for number, name in enumerate(names):
        output = shutil.copytree(folder, tmp_path / f"output-{number}")
        command = [sys.executable, "-c", _WRITE, str(tmp_path / name), url, str(1 << 30), str(output)]
        writers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    digests = {writer.communicate(timeout=60)[0].strip() for writer in writers}
    assert [writer.returncode for writer in writers] == [0, 0]
    (digest,) = digests
    for name in names:
        assert_every_object_is_its_hash(tmp_path / name)
        assert is_cached(Store(tmp_path / name), digest)
    assert content(Store(tmp_path / "third", url).open(digest)) == expected


class SharedCache(RuleBasedStateMachine):
    """Steps of one node start and end in any order, with a cache too small for all their artifacts."""

    @initialize(blocks=some.integers(6, 30))
    def start(self, blocks: int) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.root = Path(self.scratch.name)
        self.limit = blocks * BLOCK
        self.store = Store(self.root / "cache", str(self.root / "remote"), self.limit)
        self.pushed: dict[str, dict[str, bytes]] = {}
        self.unpushed: set[str] = set()
        self.pinned: dict[str, int] = {}
        self.number = 0

    @rule(blocks=some.integers(1, 9), files=some.integers(1, 3), is_pushed=some.booleans())
    def add(self, blocks: int, files: int, is_pushed: bool) -> None:
        self.number += 1
        made = make(self.root, f"made-{self.number}", blocks, files)
        if is_pushed:
            self.pushed[self.store.add(made).digest] = content(made)
        else:  # the remote was unreachable
            digest = Store(self.store.cache).add(made).digest
            self.unpushed |= set(_objects_of(self.store, digest))
        self.evict()

    @precondition(lambda self: self.pushed)
    @rule(data=some.data())
    def open_and_release(self, data) -> None:
        digest = data.draw(some.sampled_from(sorted(self.pushed)))
        assert use(self.store, digest) == self.pushed[digest]
        self.evict()

    @precondition(lambda self: self.pushed)
    @rule(data=some.data())
    def open_in_another_process(self, data) -> None:
        digest = data.draw(some.sampled_from(sorted(self.pushed)))
        if digest not in self.pinned:
            with released():
                self.store.open(digest)
                # simulates the lock of another process, taken before ours is released
                handle = os.open(self.store.cache / "uses" / digest, os.O_RDWR)
                fcntl.flock(handle, fcntl.LOCK_SH)
            self.pinned[digest] = handle

    @precondition(lambda self: self.pinned)
    @rule(data=some.data())
    def end_the_other_process(self, data) -> None:
        os.close(self.pinned.pop(data.draw(some.sampled_from(sorted(self.pinned)))))
        self.evict()

    @precondition(lambda self: self.pushed)
    @rule(data=some.data())
    def write_out(self, data) -> None:
        digest = data.draw(some.sampled_from(sorted(self.pushed)))
        self.store.get(digest, self.root / "out")
        assert content(self.root / "out") == self.pushed[digest]
        shutil.rmtree(self.root / "out")
        self.evict()

    def evict(self) -> None:
        """Evict as the next step would: a step's pins are released when it ends, after its last eviction."""
        evict_to_limit(self.store._cache, self.store._remote)

    @invariant()
    def pinned_and_unpushed_objects_stay(self) -> None:
        if not hasattr(self, "store"):
            return
        cached = set(objects(self.store.cache)) if self.store.cache.exists() else set()
        assert self.unpushed <= cached
        for digest in self.pinned:
            assert is_cached(self.store, digest)
            assert content(self.store.cache / "opened" / digest) == self.pushed[digest]

    @invariant()
    def the_cache_is_within_its_limit_or_has_nothing_to_evict(self) -> None:
        if not hasattr(self, "store") or not self.store.cache.exists() or disk_usage(self.store) <= self.limit:
            return
        stays = set(self.unpushed)
        for digest in self.pinned:
            stays |= set(_objects_of(self.store, digest))
        assert set(stored_objects(Cache(self.store.cache))) <= stays

    def teardown(self) -> None:
        for handle in getattr(self, "pinned", {}).values():
            os.close(handle)
        if hasattr(self, "scratch"):
            self.scratch.cleanup()


def _objects_of(store: Store, digest: str) -> list[str]:
    return list(Store(store.cache)._objects(digest))


SharedCache.TestCase.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSharedCache = SharedCache.TestCase
