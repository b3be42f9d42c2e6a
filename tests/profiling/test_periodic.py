"""Releases are absolute, a busy task takes the newest frame, and waits are split into queueing and jitter."""

import gc
import itertools
import sys
import threading
import time

import pytest

from robot_assets.profiling.periodic import SECOND_NS, Job, Task, run_periodically

MILLISECOND_NS = SECOND_NS // 1000


def task(name: str, period_ms: float, work=lambda: None, phase_ms: float = 0) -> Task:
    return Task(name, round(period_ms * MILLISECOND_NS), round(phase_ms * MILLISECOND_NS), work)


def test_a_task_starts_no_frame_before_its_release():
    jobs = run_periodically([task("a", 10), task("b", 25, phase_ms=5)], 0.3)
    assert [job.frame for job in jobs["b"]] == sorted({job.frame for job in jobs["b"]})
    for found, period, phase in ((jobs["a"], 10, 0), (jobs["b"], 25, 5)):
        assert all(job.release_ns == (phase + job.frame * period) * MILLISECOND_NS for job in found)
        assert all(job.release_ns <= job.start_ns <= job.finish_ns for job in found)


def test_the_number_of_frames_depends_on_the_phase():
    assert task("a", 10).frames_within(SECOND_NS) == 100
    assert task("a", 10, phase_ms=5).frames_within(SECOND_NS) == 100
    assert task("a", 300, phase_ms=200).frames_within(SECOND_NS) == 3
    assert task("a", 300, phase_ms=100).frames_within(SECOND_NS) == 3
    assert task("a", 300, phase_ms=200).frames_within(100 * MILLISECOND_NS) == 0


def test_releases_do_not_drift_with_long_work():
    [jobs] = run_periodically([task("a", 20, lambda: time.sleep(0.015))], 0.4).values()
    last = jobs[-1]
    assert last.release_ns == last.frame * 20 * MILLISECOND_NS


def test_a_slow_task_skips_to_the_newest_frame_like_a_queue_of_one():
    [jobs] = run_periodically([task("a", 10, lambda: time.sleep(0.035))], 0.5, warmup=0).values()
    frames = [job.frame for job in jobs]
    assert frames == sorted(set(frames))
    assert len(jobs) < 50 / 3
    for before, job in itertools.pairwise(jobs):
        newest = min(job.start_ns // (10 * MILLISECOND_NS), 49)
        assert job.frame == newest
        assert job.ready_ns == before.finish_ns


def test_latency_is_the_sum_of_queueing_jitter_and_work_minus_the_wait_of_a_replaced_frame():
    [jobs] = run_periodically([task("a", 10, lambda: time.sleep(0.017))], 0.3).values()
    assert any(job.queueing_ns for job in jobs)
    for job in jobs:
        # a frame released between the end of the previous job and the start of this one has replaced an older frame
        replaced_wait_ns = max(0, job.release_ns - job.ready_ns)
        assert job.latency_ns == job.queueing_ns + job.jitter_ns + job.work_ns - replaced_wait_ns


def test_a_wait_for_the_previous_frame_is_queueing():
    job = Job(frame=5, release_ns=50, ready_ns=56, start_ns=58, finish_ns=60)
    assert (job.queueing_ns, job.jitter_ns, job.work_ns, job.latency_ns) == (6, 2, 2, 10)


def test_a_late_wake_up_is_jitter_even_when_a_newer_frame_is_processed():
    job = Job(frame=5, release_ns=50, ready_ns=40, start_ns=58, finish_ns=60)
    assert (job.jitter_ns, job.queueing_ns) == (18, 0)


def test_each_task_is_called_from_its_own_thread():
    seen: dict[str, set[int]] = {"a": set(), "b": set()}
    run_periodically([task(name, 5, lambda name=name: seen[name].add(threading.get_ident())) for name in seen], 0.1)
    assert len(seen["a"]) == len(seen["b"]) == 1
    assert seen["a"] != seen["b"]


def test_warm_up_calls_are_not_recorded():
    calls = []
    [jobs] = run_periodically([task("a", 20, lambda: calls.append(1))], 0.2, warmup=7).values()
    assert len(calls) == len(jobs) + 7


@pytest.mark.parametrize("good_calls", [0, 12])
def test_a_call_that_raises_ends_the_run_with_its_error(good_calls):
    calls = iter(range(good_calls))
    with pytest.raises(StopIteration):
        run_periodically([task("bad", 10, lambda: next(calls)), task("good", 10)], 30)
    assert not {one.name for one in threading.enumerate()} & {"bad", "good"}


def test_the_interpreter_settings_are_restored():
    was = gc.isenabled(), sys.getswitchinterval()
    seen = []
    run_periodically([task("a", 10, lambda: seen.append((gc.isenabled(), sys.getswitchinterval() < 0.001)))], 0.05)
    assert (gc.isenabled(), sys.getswitchinterval()) == was
    assert set(seen) == {(False, True)}
