"""One run at a time works on one desired state."""

import pytest

from dagster_project.resources.workshop import _alone
from robot_assets.errors import StoreError


def test_a_second_run_for_the_same_state_is_told_to_wait(tmp_path):
    bench = tmp_path / "bench"
    with _alone(bench, "yard/checkpoint"):
        second = _alone(bench, "yard/checkpoint")
        with pytest.raises(StoreError, match="another run on this machine is making yard/checkpoint"):
            second.__enter__()
    with _alone(bench, "yard/checkpoint"):
        assert bench.is_dir()
