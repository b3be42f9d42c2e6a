"""An evaluation measures what a plain loop over the test split does, with and without helpers."""

import gc
import os
import sys
import threading

import pytest

from robot_assets.data.packed import open_split
from robot_assets.engines.evaluation import INFERENCES_MIN, WARMUP, evaluate_engine
from robot_assets.engines.helper_pool import HelperPool
from robot_assets.engines.load import load_engine
from robot_assets.training.evaluate import evaluate
from tests.detector_chain import whole


@pytest.fixture(scope="module")
def expected():
    chain = whole()
    with load_engine(chain.engine) as engine:
        return evaluate(engine.infer, open_split(chain.dataset, "test"), engine.manifest.interface)


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_any_number_of_helpers_gives_the_accuracy_of_a_plain_loop(expected, helpers):
    found = evaluate_engine(whole().engine, whole().dataset, helpers=helpers)
    assert found.metrics == expected
    assert found.helpers == helpers


def test_an_evaluation_without_scoring_has_latencies_and_no_metrics():
    found = evaluate_engine(whole().engine, whole().dataset, is_scored=False)
    assert found.metrics is None
    assert found.parity is None
    assert len(found.latencies.milliseconds) >= INFERENCES_MIN


def test_the_warm_up_does_not_count_as_latencies():
    chain = whole()
    alone = evaluate_engine(chain.engine, chain.dataset, chain.onnx, is_scored=False)
    assert alone.warmup == WARMUP
    assert min(alone.latencies.milliseconds) > 0


def test_helpers_leave_threads_and_the_interpreter_as_they_were():
    before = sys.getswitchinterval(), gc.isenabled()
    evaluate_engine(whole().engine, whole().dataset, is_scored=False, helpers=2)
    assert (sys.getswitchinterval(), gc.isenabled()) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("helper", "meters"))]


def test_helpers_take_only_cores_that_the_engine_leaves():
    found = evaluate_engine(whole().engine, whole().dataset, is_scored=False)
    assert found.helpers == min(2, len(os.sched_getaffinity(0)) - 1)


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_whoever_waits_for_a_result_runs_pending_tasks(helpers):
    with HelperPool(helpers) as pool:
        futures = [pool.submit(pow, number, 2) for number in range(50)]
        assert [pool.wait(future) for future in futures] == [number**2 for number in range(50)]


def test_an_error_of_a_task_is_raised_by_wait_and_ends_the_helpers():
    def fail_among_others():
        with HelperPool(1) as pool:
            failing = pool.submit(divmod, 1, 0)
            pool.submit(pow, 2, 2)
            pool.wait(failing)

    with pytest.raises(ZeroDivisionError):
        fail_among_others()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("helper")]
