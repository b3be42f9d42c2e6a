"""Which engines are made of given weights: every version that was ever built, by the records."""

from robot_assets.lineage.audit import audit
from robot_assets.lineage.carriers import carriers
from robot_assets.lineage.graph import AssetTraits
from robot_assets.lineage.report.terminal import plain
from tests.lineage.past import Past


class Everything:
    def has(self, digest: str) -> bool:
        return True


def built() -> Past:
    """Two models that start from the same weights, one of them also from an older version, and one from none."""
    past = Past()
    past.observe("weights/coco", "1" * 32)
    past.build("yard/checkpoint", ["weights/coco"])
    past.build("yard/engine/cpu", ["yard/checkpoint"])
    past.observe("weights/coco", "2" * 32)
    for model in ("yard", "street"):
        past.build(f"{model}/checkpoint", ["weights/coco"])
        past.build(f"{model}/engine/cpu", [f"{model}/checkpoint"])
    past.build("plain/checkpoint", [])
    past.build("plain/engine/cpu", ["plain/checkpoint"])
    return past


ENGINES = ("yard/engine/cpu", "street/engine/cpu", "plain/engine/cpu")


def test_every_version_of_every_engine_is_found_the_latest_first():
    found = carriers("weights/coco", "", ENGINES, built())
    assert [(one.asset, one.is_latest, one.found[0]) for one in found] == [
        ("street/engine/cpu", True, "2"),
        ("yard/engine/cpu", True, "2"),
        ("yard/engine/cpu", False, "1"),
    ]


def test_the_first_digits_of_a_version_restrict_the_search():
    assert [one.is_latest for one in carriers("weights/coco", "11", ENGINES, built())] == [False]
    assert carriers("weights/coco", "3", ENGINES, built()) == []


def test_a_record_is_read_once_for_all_engines():
    past = Past()
    past.observe("weights/coco", "1" * 32)
    past.build("yard/checkpoint", ["weights/coco"])
    targets = [f"yard/engine/target{number}" for number in range(20)]
    for target in targets:
        past.build(target, ["yard/checkpoint"])
    assert len(carriers("weights/coco", "", targets, past)) == 20
    assert past.asked["record"] == 21


def test_a_history_that_runs_in_a_circle_ends():
    past = Past()
    past.build("a/checkpoint", {"a/engine/cpu": "e" * 32}, version="c" * 32)
    past.build("a/engine/cpu", {"a/checkpoint": "c" * 32}, version="e" * 32)
    assert carriers("weights/coco", "", ["a/engine/cpu"], past) == []


def test_a_record_that_is_missing_hides_no_other_engine():
    past = built()
    past.materialize("lost/engine/cpu", "9" * 32, None)
    assert len(carriers("weights/coco", "", [*ENGINES, "lost/engine/cpu"], past)) == 3


def test_the_audit_of_an_engine_has_the_licence_and_the_source_of_its_weights():
    past = built()
    declared = {"licence": "BSD-3-Clause", "source": "https://download.pytorch.org/models/resnet18.pth"}
    past.declarations["weights/coco", "2" * 32] = declared
    version = past.latest["street/engine/cpu"]
    chain = audit("street/engine/cpu", version, {}, past, Everything(), lambda asset: AssetTraits())
    [weights] = [link for link in chain.links if link.asset == "weights/coco"]
    assert weights.declared == declared
    assert "licence       BSD-3-Clause" in plain(chain)
    assert "https://download.pytorch.org/models/resnet18.pth" in plain(chain)
