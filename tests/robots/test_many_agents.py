"""24 real agents as processes against one HTTP server, in three batches; ``benchmarks/many_agents.py`` runs 200."""

from __future__ import annotations

import math

from robot_assets.fleet.rollout import Phase, Status
from robot_assets.fleet.spec import GroupSpec, RolloutSpec
from tests.robots.swarm import is_over, largest_step, swarm
from tests.robots.world import in_memory

COUNT = 24
SIZES = (4, 12, 24)
FAIL_ONE = {"r010", "r020"}
"""8 %, whose gates fail on the first release."""
FAIL_TWO = {"r001", "r004", "r007", "r010"}
"""The fourth of these stops the second one in its second batch."""


def fails(robot: str, engine: bytes) -> bool:
    return robot in (FAIL_ONE if engine == b"engine one" else FAIL_TWO)


def test_many_agents_converge_in_batches_and_stop_at_the_threshold() -> None:
    rollout = RolloutSpec(batches=(4, 12, "100%"), bake_s=0.5, prove_s=0, failures_max=3, failures_share_max=0.3)
    group = GroupSpec(robots=("r*",), target="cpu", models=("net",), rollout=rollout)
    with in_memory() as folder, swarm(folder, COUNT, group, fails=fails, poll_s=1.0) as many:
        one, two = many.world.release("one"), many.world.release("two")

        done = many.roll_out(one, is_over)
        assert done.phase is Phase.DONE, done.why
        assert {name for name, status in done.robots.items() if status is Status.FAILED} == FAIL_ONE
        expected = {name: None if name in FAIL_ONE else one.id for name in many.names}
        assert many.running() == expected
        assert largest_step(many.ticks) == 0
        assert [tick.decision.batch for tick in many.ticks] == sorted(tick.decision.batch for tick in many.ticks)
        _check_batches(many.ticks)

        stopped = many.roll_out(two, is_over)
        assert stopped.phase is Phase.STOPPED, stopped.why
        assert largest_step(many.ticks) == 0
        _check_batches(many.ticks)
        assert max(len(tick.begun) for tick in many.ticks) <= SIZES[1]
        assert not set(many.names[SIZES[1] :]) & set(stopped.install)

        back = many.roll_out(one, lambda decision: set(many.running().values()) <= {one.id, None})
        assert many.running() == expected
        assert back.release == one.version


def _check_batches(ticks: list) -> None:
    """None begins beyond the batch that is open, and a batch opens when enough of the one before have baked."""
    for tick in ticks:
        decision = tick.decision
        assert len(decision.install) <= decision.sizes[decision.batch - 1], decision
        if decision.batch > 1:
            before = decision.sizes[decision.batch - 2]
            baked = sum(status is Status.BAKED for status in decision.robots.values())
            assert baked >= math.ceil(0.9 * before), decision
