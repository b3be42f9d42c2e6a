"""A block is stopped after its time, and what was set before it is restored."""

import signal
import threading
import time

import pytest

from robot_assets.core.time_limit import OutOfTime, time_limit


def test_a_block_that_takes_longer_is_stopped_and_the_handler_restored() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(OutOfTime), time_limit(0.05):
        time.sleep(30)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_block_in_time_is_not_touched() -> None:
    with time_limit(30):
        value = 1
    assert value == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_another_thread_is_not_limited() -> None:
    done = []

    def work() -> None:
        with time_limit(0.001):
            time.sleep(0.05)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
