"""``fleet`` in params.yaml: contradictory policies are refused with the field to change."""

import pytest
import yaml
from pydantic import ValidationError

from robot_assets.core.errors import ParamsError
from robot_assets.core.validation import mistakes
from robot_assets.fleet.spec import BudgetsSpec, FleetSpec, GroupSpec, RolloutSpec
from robot_assets.pipeline.params import parse_params
from tests.sample_params import sample_document

GROUP = {"robots": ["delivery_01", "delivery_*"], "target": "cpu", "models": ["sidewalk_detector"]}


def refusal(spec: type, **given) -> str:
    with pytest.raises(ValidationError) as caught:
        spec.model_validate(given)
    return "\n".join(mistakes(caught.value))


def batches(text: str) -> tuple:
    return RolloutSpec.model_validate({"batches": yaml.safe_load(text)}).batches


def test_a_group_needs_robots_a_target_and_models_alone():
    group = GroupSpec.model_validate(GROUP)
    assert group.release == "latest"
    assert not group.paused
    assert group.rollout.batches == (1, "10%", "50%", "100%")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("[1, 10%, 100%]", (1, "10%", "100%")),
        ('[1, "10 %", "100 %"]', (1, "10%", "100%")),
        ("[12.50%, 100.0%]", ("12.5%", "100%")),
        ("[5, 20, 100%]", (5, 20, "100%")),
        ("[0.5%, 20, 50%, 100%]", ("0.5%", 20, "50%", "100%")),
        ("[100%]", ("100%",)),
    ],
)
def test_batches_are_counts_and_shares(text, read):
    assert batches(text) == read


@pytest.mark.parametrize(
    ("text", "place", "needed"),
    [
        ("[0, 100%]", "batches.0", "needed a number of robots from 1 to 1,000,000, such as 5, or a share such as 10%"),
        ("[-1, 100%]", "batches.0", "needed a number of robots"),
        ("[1, 101%]", "batches.1", "needed a number of robots"),
        ("[1, 0%, 100%]", "batches.1", "needed a number of robots"),
        ("[1, -5%, 100%]", "batches.1", "needed a number of robots"),
        ("[0.1, 100%]", "batches.0", "a share is written 10%"),
        ("[0.125, 100%]", "batches.0", "a share is written 12.5%"),
        ("[1, 1.0]", "batches.1", "a share is written 100%"),
        ('["5", 100%]', "batches.0", "a number has no quotes"),
        ("[true, 100%]", "batches.0", "needed a number of robots"),
        ("[null, 100%]", "batches.0", "needed a number of robots"),
        ("[[1], 100%]", "batches.0", "needed a number of robots"),
        ("[ten, 100%]", "batches.0", "needed a number of robots"),
        ("[]", "batches", "needed at least one entry"),
        (str([*range(1, 21), "100%"]), "batches", "needed at most 20 entries"),
        ("[10%, 5%, 100%]", "batches", "5% comes after 10%; needed increasing batches, since they are cumulative"),
        ("[5, 10%, 5, 100%]", "batches", "5 comes after 5; needed increasing"),
        ("[100%, 100%]", "batches", "100% comes after 100%"),
        ("[1, 10%]", "batches", "the last batch is 10%; needed 100%, so that every robot has its turn"),
        ("[1, 10%, 50]", "batches", "the last batch is 50; needed 100%"),
        ("10%", "batches", "needed a list"),
    ],
)
def test_a_batch_that_is_none_is_named(text, place, needed):
    message = refusal(RolloutSpec, batches=yaml.safe_load(text))
    assert message.startswith(f"{place}: ")
    assert needed in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("success_share_min", 0, "needed a number greater than 0"),
        ("success_share_min", 1.1, "or less"),
        ("success_share_min", 90, "or less"),
        ("failures_share_max", 1, "needed a number less than 1"),
        ("failures_share_max", -0.1, "or more"),
        ("failures_max", -1, "needed 0 or more"),
        ("failures_max", 1.5, "needed a whole number"),
        ("bake_s", -1, "or more"),
        ("bake_s", 1e9, "needed 2592000.0 or less"),
        ("silence_s", 0, "needed a number greater than 0"),
        ("offline_s", float("nan"), "needed a"),
        ("prove_s", float("inf"), "needed a finite number"),
        ("on_recall", "ignore", "needed 'last_good' or 'stop'"),
        ("aproval", True, "unknown key"),
    ],
)
def test_thresholds_have_limits(key, value, needed):
    message = refusal(RolloutSpec, **{key: value})
    assert message.startswith(key)
    assert needed in message


def test_robots_that_report_less_often_than_they_count_as_off_are_refused():
    message = refusal(RolloutSpec, offline_s=60)
    assert message == (
        "offline_s is 60 and report_s 300: robots would be off between two of their reports; needed offline_s of at "
        "least 300, or the report_s of their robot.yaml"
    )
    assert RolloutSpec(offline_s=60, report_s=30).offline_s == 60


def test_a_strict_share_of_successes_beside_allowed_failures_is_valid():
    assert RolloutSpec(success_share_min=1, failures_share_max=0.5, failures_max=0).failures_max == 0


def test_a_window_may_extend_past_midnight_and_has_a_length():
    window = {"start": "22:00", "end": "04:00", "timezone": "Europe/Berlin"}
    assert RolloutSpec.model_validate({"window": window}).window.start.hour == 22
    message = refusal(RolloutSpec, window={"start": "22:00", "end": "22:00"})
    assert message == ("window: start and end are both 22:00; needed a window between them, or no window for any time")
    assert "in quotes" in refusal(RolloutSpec, window={"start": 79200, "end": "04:00"})


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        ({"robots": []}, "robots: needed at least one entry"),
        ({"models": []}, "models: needed at least one entry"),
        ({"robots": ["a", "b", "a"]}, "robots: robot a is named twice; needed once"),
        ({"robots": ["a_*", "a_*", "a_*"]}, "robots: robot a_* is named 3 times; needed once"),
        ({"models": ["m", "m"]}, "models: model m is named twice; needed once"),
        ({"robots": ["Delivery 1"]}, "robots: 'Delivery 1' is no id of a robot and no pattern"),
        ({"robots": ["../x"]}, "robots: '../x' is no id"),
        ({"robots": ["a[0-9]"]}, "robots: 'a[0-9]' is no id"),
        ({"robots": ["a" * 64]}, "is no id of a robot"),
        ({"robots": [""]}, "robots: '' is no id of a robot"),
        ({"release": "newest"}, "release: needed latest, or the first digits of a version, at least 8"),
        ({"release": "0123abc"}, "release: needed latest"),
        ({"release": "0123ABCDEF"}, "release: needed latest"),
        ({"approved": {"release": "latest", "batch": 2}}, "approved.release: needed the first digits of a version"),
        ({"approved": {"release": "0123abcd", "batch": 0}}, "approved.batch: needed 1 or more"),
        ({"approved": {"release": "0123abcd"}}, "approved.batch: missing"),
        ({"budgets": {"latency_ms_p95_max": 0}}, "budgets.latency_ms_p95_max: needed a number greater than 0"),
    ],
)
def test_a_group_with_a_mistake_is_refused(change, needed):
    assert needed in refusal(GroupSpec, **{**GROUP, **change})


@pytest.mark.parametrize("release", ["latest", "0123abcd", "0123456789abcdef0123456789abcdef.dir"])
def test_a_release_is_the_latest_or_pinned(release):
    assert GroupSpec.model_validate({**GROUP, "release": release}).release == release


def test_budgets_that_cannot_be_exceeded_are_refused():
    message = refusal(BudgetsSpec, latency_ms_p95_max=20, latency_ms_p99_max=10)
    assert message == (
        "latency_ms_p95_max is 20 and latency_ms_p99_max 10; needed latency_ms_p95_max of at most latency_ms_p99_max"
    )


def test_a_section_whose_groups_are_commented_out_has_none():
    assert FleetSpec.model_validate({"groups": None, "recalls": None}) == FleetSpec()


def test_the_url_is_expanded(monkeypatch):
    monkeypatch.setenv("BUCKET", "s3://robots")
    assert FleetSpec(url="$BUCKET/fleet").url == "s3://robots/fleet"


@pytest.mark.parametrize("url", ["http://robots.example/fleet", "HTTPS://robots.example/fleet"])
def test_a_web_server_is_no_place_to_publish(url):
    assert "a web server cannot be written; needed the storage behind it" in refusal(FleetSpec, url=url)


def test_params_show_the_place_and_what_was_typed():
    document = sample_document()
    text = "{robots: [a, a], target: cpu, models: [sidewalk_detector], rollout: {batches: [0.1, 100%], bake_s: -1}}"
    document["fleet"] = {"groups": {"delivery": yaml.safe_load(text)}}
    with pytest.raises(ParamsError) as caught:
        parse_params(document)
    found = caught.value.found
    assert "fleet.groups.delivery.rollout.batches.0: needed a number of robots from 1 to 1,000,000" in found
    assert "a share is written 10% (found 0.1)" in found
    assert "fleet.groups.delivery.rollout.bake_s: needed 0.0 or more (found -1)" in found
    assert "fleet.groups.delivery.robots: robot a is named twice; needed once" in found
