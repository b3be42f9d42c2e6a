"""The ``rebuild`` section of params.yaml: a mistake is named with its key, and no time is guessed."""

from datetime import time

import pytest
import yaml

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.params import load_params, parse_params


@pytest.fixture
def document() -> dict:
    return {"store": {"url": ".robot_assets/store"}, "datasets": {}, "models": {}, "targets": {}}


def test_without_a_section_the_defaults_hold(document):
    rebuild = parse_params(document).rebuild
    assert (rebuild.tries, rebuild.quiet, rebuild.policy) == (3, None, {})


def test_a_whole_section_is_read(document):
    document["rebuild"] = {
        "policy": {"checkpoint": "auto", "engine": "manual"},
        "tries": 5,
        "quiet": {"start": "22:30", "end": "06:00", "timezone": "Europe/Berlin"},
    }
    rebuild = parse_params(document).rebuild
    assert rebuild.policy == {"checkpoint": "auto", "engine": "manual"}
    assert rebuild.tries == 5
    assert (rebuild.quiet.start, rebuild.quiet.end) == (time(22, 30), time(6))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"retries": 3}, r"rebuild\.retries: unknown key; did you mean 'tries'"),
        ({"policy": {"engines": "auto"}}, r"rebuild\.policy\.engines: unknown .*'engines'; did you mean 'engine'"),
        ({"policy": {"platform": "auto"}}, r"rebuild\.policy\.platform: unknown .*'platform'"),
        ({"policy": {"engine": "sometimes"}}, r"rebuild\.policy\.engine: .*'auto' or 'manual'"),
        ({"tries": 0}, r"rebuild\.tries: needed 1 or more"),
        ({"backoff_s": -1}, r"rebuild\.backoff_s: needed 0.0 or more"),
        ({"backoff_s": 10**9}, r"rebuild\.backoff_s: needed 86400.0 or less"),
        ({"runs_per_tick": 0}, r"rebuild\.runs_per_tick"),
        ({"runs_per_pool": 0}, r"rebuild\.runs_per_pool"),
        ({"canary_from": 1}, r"rebuild\.canary_from"),
        ({"interval_s": 0}, r"rebuild\.interval_s"),
        ({"quiet": {"start": "22:00"}}, r"rebuild\.quiet\.end: missing"),
        ({"quiet": {"start": "22:00", "end": "06:00", "zone": "UTC"}}, r"rebuild\.quiet\.zone: unknown key"),
        ({"quiet": {"start": "22:00", "end": "22:00"}}, r"rebuild\.quiet: start and end are both 22:00"),
        ({"quiet": {"start": "22:00+02:00", "end": "06:00"}}, r"rebuild\.quiet\.start: .*put the zone into timezone"),
        ({"quiet": {"start": "late", "end": "06:00"}}, r"rebuild\.quiet\.start"),
    ],
)
def test_a_mistake_is_named_with_its_key(document, section, message):
    document["rebuild"] = section
    with pytest.raises(ParamsError, match=message):
        parse_params(document)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "", "../etc/passwd", "/etc/localtime", "berlin\0"])
def test_an_unknown_time_zone_is_named(document, zone):
    document["rebuild"] = {"quiet": {"start": "22:00", "end": "06:00", "timezone": zone}}
    with pytest.raises(ParamsError, match=r"rebuild\.quiet\.timezone: needed a time zone such as Europe/Berlin"):
        parse_params(document)


@pytest.mark.parametrize("start", ["22:00", "6:30", "22:00:00"])
def test_a_time_without_quotes_that_yaml_reads_as_a_number_is_refused(tmp_path, document, start):
    """YAML 1.1 takes 22:00 for 22 * 60: as seconds, it would be 22 minutes past midnight."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document) + f"rebuild: {{quiet: {{start: {start}, end: 05:00}}}}\n")
    with pytest.raises(ParamsError, match=f"line [0-9]+, column [0-9]+: YAML reads {start} as [0-9]+\n") as refused:
        load_params(path)
    assert refused.value.fix.endswith("or quote it")


def test_a_time_that_is_a_number_is_refused(document):
    document["rebuild"] = {"quiet": {"start": 1320, "end": "05:00"}}
    with pytest.raises(ParamsError, match=r'rebuild\.quiet\.start: needed a time in quotes, such as "22:00"'):
        parse_params(document)
