"""A trial measures what a plain loop over the test split would, with or without helpers."""

import gc
import os
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_assets.data.packed import open_split
from robot_assets.engines.evaluation import INFERENCES_MIN, WARMUP, run_trial, to_input
from robot_assets.engines.helper_pool import Crew
from robot_assets.engines.load import load_engine
from robot_assets.runtime import preprocess
from robot_assets.training.evaluate import evaluate
from tests.detector_chain import whole


@pytest.fixture(scope="module")
def expected():
    chain = whole()
    with load_engine(chain.engine) as engine:
        return evaluate(engine.infer, open_split(chain.dataset, "test"), engine.manifest.network)


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_any_number_of_helpers_finds_the_accuracy_of_a_plain_loop(expected, helpers):
    found = run_trial(whole().engine, whole().dataset, helpers=helpers)
    assert found.metrics == expected
    assert found.helpers == helpers


def test_a_trial_without_scoring_has_latencies_and_no_metrics():
    found = run_trial(whole().engine, whole().dataset, is_scored=False)
    assert found.metrics is None
    assert found.parity is None
    assert len(found.latencies.milliseconds) >= INFERENCES_MIN


def test_the_first_inferences_are_no_latencies():
    chain = whole()
    alone = run_trial(chain.engine, chain.dataset, chain.onnx, is_scored=False)
    assert alone.warmup == WARMUP
    assert min(alone.latencies.milliseconds) > 0


def test_helpers_leave_threads_and_the_interpreter_as_they_were():
    before = sys.getswitchinterval(), gc.isenabled()
    run_trial(whole().engine, whole().dataset, is_scored=False, helpers=2)
    assert (sys.getswitchinterval(), gc.isenabled()) == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("crew", "meters"))]


def test_helpers_take_only_cores_that_the_engine_leaves():
    found = run_trial(whole().engine, whole().dataset, is_scored=False)
    assert found.helpers == min(2, len(os.sched_getaffinity(0)) - 1)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_the_input_is_that_of_training_to_the_last_bit(image):
    assert np.array_equal(to_input(image), preprocess.to_input([image]))


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_a_crew_answers_in_order_and_who_waits_takes_part(helpers):
    with Crew(helpers) as crew:
        futures = [crew.hand(pow, number, 2) for number in range(50)]
        assert [crew.wait(future) for future in futures] == [number**2 for number in range(50)]


def test_an_error_of_a_task_reaches_who_waits_for_it_and_ends_the_crew():
    def fail_among_others():
        with Crew(1) as crew:
            failing = crew.hand(divmod, 1, 0)
            crew.hand(pow, 2, 2)
            crew.wait(failing)

    with pytest.raises(ZeroDivisionError):
        fail_among_others()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crew")]
