"""The verdict on a profile: one sentence, the reasons and a fix."""

import json

import pytest

from robot_assets.core.errors import EngineError
from robot_assets.profiling.fit import check_fit, headline, judge
from robot_assets.profiling.result import load_profile, save_profile
from robot_assets.profiling.spec import FitSpec
from tests.profiling.sample_profiles import machine, profile, run, stream


def test_engines_that_keep_their_deadlines_fit():
    verdict = judge(profile(stream("walk", run()), stream("ball", run()), stream("depth", run())), FitSpec())
    assert verdict.passed
    assert verdict.summary == "3 engines fit: 0 of 900 deadlines missed, busiest core 61 %, 180 MiB"
    assert verdict.fix == ""
    json.dumps(verdict.facts)


def test_skipped_frames_count_as_missed_deadlines():
    found = profile(stream("walk", run(late=2, skipped=3)))
    assert judge(found, FitSpec(missed_percent_max=1.7)).passed
    assert "5 of 300" in judge(found, FitSpec()).summary


def test_the_fix_for_an_engine_that_is_too_slow_alone_has_its_maximum_rate():
    slow = stream("walk", run(late=150), alone=run(frames=75, late=40, inference_ms=100.0))
    verdict = judge(profile(slow, stream("ball", run())), FitSpec())
    assert not verdict.passed
    assert "walk misses 50.0 % of its deadlines of 66.67 ms at 15 Hz (at most 1 %), also when alone" in verdict.summary
    assert "lower the rate_hz of walk to 8," in verdict.fix
    assert "ball" not in verdict.fix


def test_an_engine_that_waits_for_a_core_is_not_reported_as_slow():
    starved = stream("walk", run(late=30), alone=run(frames=75, late=20))
    verdict = judge(profile(starved), FitSpec())
    assert "also when alone: it waits 0.0 ms for a core" in verdict.summary
    assert verdict.fix == "leave a core free for walk, or raise its deadline_ms"


def test_engines_that_fit_alone_get_the_slowdown_of_running_together():
    greedy = stream("ball", run(inference_ms=60, busy=91.0))
    verdict = judge(profile(stream("walk", run(late=60, inference_ms=70)), greedy), FitSpec())
    assert "instead of 2.4 ms" in verdict.summary
    assert "lower the rate_hz of ball" in verdict.fix
    assert "91 %" in verdict.fix


def test_the_fix_for_a_busy_device_is_to_profile_again_on_an_idle_one():
    found = profile(stream("walk", run(late=60)), machine=machine(other_cores=1.3))
    verdict = judge(found, FitSpec())
    assert verdict.summary.startswith("1 engine does not fit: ")
    assert "(other processes used 1.3 cores)" in verdict.summary
    assert verdict.fix.startswith(
        "profile again on an idle device (other processes used 1.3 cores); if the robot has the same load: "
    )
    assert "lower the rate_hz of walk" in verdict.fix


def test_stolen_time_is_reported_as_a_possible_cause():
    found = profile(stream("walk", run(late=60)), machine=machine(stolen_ms=310.0))
    verdict = judge(found, FitSpec())
    assert "(a hypervisor took 310 ms)" in verdict.summary
    assert verdict.fix.startswith(
        "profile again on an idle device (a hypervisor took 310 ms); if the robot has the same load: "
    )
    assert verdict.facts["stolen_ms"] == 310.0
    both = judge(profile(stream("walk", run(late=60)), machine=machine(other_cores=1.3, stolen_ms=310.0)), FitSpec())
    assert "(other processes used 1.3 cores, a hypervisor took 310 ms)" in both.summary


def test_a_small_share_of_stolen_time_is_not_reported():
    found = profile(stream("walk", run(late=60)), machine=machine(stolen_ms=90.0))
    assert "hypervisor" not in str(judge(found, FitSpec()))


def test_a_profile_without_stolen_time_is_still_judged(tmp_path):
    save_profile(tmp_path, profile(stream("walk", run())))
    document = json.loads((tmp_path / "profile.json").read_bytes())
    del document["machine"]["stolen_ms"]
    (tmp_path / "profile.json").write_text(json.dumps(document))
    assert check_fit(tmp_path, FitSpec()).passed


def test_the_headline_has_the_load_of_other_processes():
    found = profile(stream("walk", run()), machine=machine(other_cores=1.3))
    assert "(other processes used 1.3 cores)" in headline(found, FitSpec())


def test_memory_is_judged_only_with_a_budget():
    found = profile(stream("walk", run()), stream("ball", run(), memory_mib=77.0))
    assert judge(found, FitSpec()).passed
    verdict = judge(found, FitSpec(memory_mib_max=150))
    assert not verdict.passed
    assert "180 MiB (at most 150)" in verdict.summary
    assert "ball 77" in verdict.summary
    assert "memory_mib_max" in verdict.fix


def test_memory_that_cuda_allocates_on_a_shared_device_counts():
    on_gpu = stream("walk", run(), memory_of="device")
    assert profile(on_gpu, machine=machine(taken_mib=900.0)).memory_mib == 980.0
    assert profile(stream("walk", run()), machine=machine(taken_mib=900.0)).memory_mib == 180.0


def test_the_headline_has_the_power_where_there_is_a_sensor():
    found = profile(stream("walk", run()), machine=machine(power_w_mean=14.26))
    assert headline(found, FitSpec()).endswith("180 MiB, 14.3 W")


def test_unknown_core_utilization_is_left_out():
    found = profile(stream("walk", run()), machine=machine(core_percent={}, other_cores=None))
    assert headline(found, FitSpec()) == "1 engine fits: 0 of 300 deadlines missed, 180 MiB"


def test_the_written_artifact_is_judged(tmp_path):
    save_profile(tmp_path, found := profile(stream("walk", run(skipped=30))))
    assert load_profile(tmp_path) == found
    assert not check_fit(tmp_path, FitSpec()).passed
    assert check_fit(tmp_path, FitSpec(missed_percent_max=10)).passed


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": 1}'])
def test_an_invalid_profile_is_refused_with_its_path(tmp_path, content):
    if content is not None:
        (tmp_path / "profile.json").write_text(content)
    with pytest.raises(EngineError, match=r"profile\.json"):
        check_fit(tmp_path, FitSpec())
