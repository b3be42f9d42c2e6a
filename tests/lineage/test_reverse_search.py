"""What a hash means in the history, and which artifacts are made of it."""

import pytest

from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.used_by import Origin, OriginKind, used_by
from tests.lineage.past import CHECKPOINT, COMMIT, DATA, ENGINE, ONNX, RAW, built_yard, version_of

KEY = "ab" * 32
RELEASE = "release/garden"
ARTIFACTS = (ENGINE, RELEASE)


def unsigned(_):
    return ()


def signed(key):
    return (KEY,) if key[0] == ENGINE else ()


def built():
    past = built_yard()
    past.build(RELEASE, [ENGINE], version="1" * 32 + ".dir")
    return past


def names(found):
    return [(user.asset, user.is_latest) for user in found.users]


def test_a_recording_is_followed_up_to_the_release():
    past = built()
    found = used_by(past.latest[RAW][:8], ARTIFACTS, past, unsigned)
    assert found.origins == (Origin(OriginKind.VERSION, RAW, past.latest[RAW]),)
    assert str(found.origins[0]) == f"raw/yard {past.latest[RAW][:12]}"
    assert names(found) == [(ENGINE, True), (RELEASE, True)]


def test_older_versions_are_found_and_not_called_the_latest():
    past = built()
    old = past.latest[CHECKPOINT]
    past.build(CHECKPOINT, [DATA], version=version_of("better"))
    past.build(ONNX, [CHECKPOINT, DATA])
    past.build(ENGINE, [ONNX])
    assert names(used_by(old, ARTIFACTS, past, unsigned)) == [(ENGINE, False), (RELEASE, True)]
    assert names(used_by(version_of("better"), ARTIFACTS, past, unsigned)) == [(ENGINE, True)]


def test_an_artifact_is_made_of_itself():
    past = built()
    assert names(used_by(past.latest[ENGINE], ARTIFACTS, past, unsigned)) == [(ENGINE, True), (RELEASE, True)]


@pytest.mark.parametrize("typed", ["cc" * 16, "CCCCCC", "  cccccccc  "])
def test_code_is_found_by_its_version(typed):
    past = built()
    found = used_by(typed, ARTIFACTS, past, unsigned)
    assert {origin.kind for origin in found.origins} == {OriginKind.CODE}
    assert Origin(OriginKind.CODE, ONNX, "c" * 32) in found.origins
    assert names(found) == [(ENGINE, True), (RELEASE, True)]


def test_a_commit_is_found_with_what_was_built_from_it_alone():
    past = built()
    past.build(CHECKPOINT, [DATA], git_commit="d" * 40)
    past.build("other/engine/cpu", [CHECKPOINT])
    found = used_by("d" * 10, (*ARTIFACTS, "other/engine/cpu"), past, unsigned)
    assert [str(origin) for origin in found.origins] == ["the git commit dddddddddddd"]
    assert names(found) == [("other/engine/cpu", True)]
    assert names(used_by(COMMIT[:8], ARTIFACTS, past, unsigned)) == [(ENGINE, True), (RELEASE, True)]


def test_an_image_is_found_by_its_digest():
    past = built_yard()
    past.build(ENGINE, [ONNX], image="registry/trainer@sha256:" + "9" * 64)
    found = used_by("sha256:" + "9" * 64, ARTIFACTS, past, unsigned)
    assert [(origin.kind, origin.digest) for origin in found.origins] == [(OriginKind.IMAGE, "9" * 64)]
    assert names(found) == [(ENGINE, True)]


def test_a_key_is_found_in_signatures_and_what_contains_the_signed_engine():
    found = used_by(KEY[:12], ARTIFACTS, built(), signed)
    assert [origin.kind for origin in found.origins] == [OriginKind.KEY]
    assert names(found) == [(ENGINE, True), (RELEASE, True)]


def test_the_same_bytes_that_were_made_twice_are_made_of_both():
    past = built()
    past.observe(RAW, version_of("more recordings"))
    past.build(DATA, [RAW], version=past.latest[DATA])
    for version in (version_of("recordings"), version_of("more recordings")):
        assert names(used_by(version, ARTIFACTS, past, unsigned)) == [(ENGINE, True), (RELEASE, True)]


def test_what_nothing_is_made_of_is_found_without_users():
    past = built()
    past.observe("raw/street", "5" * 32)
    found = used_by("555555", ARTIFACTS, past, unsigned)
    assert found.users == ()
    assert [origin.asset for origin in found.origins] == ["raw/street"]


@pytest.mark.parametrize(
    ("typed", "found", "fix"),
    [
        ("abc", "'abc' is too short", "give more digits"),
        ("raw/yard", "'raw/yard' is no hash", "robot-assets audit ASSET"),
        ("", "'' is no hash", "give more digits"),
        ("zzzzzzzz", "'zzzzzzzz' is no hash", "give more digits"),
        ("deadbeef" * 9, "is no hash", "give more digits"),
        ("00000000", "a hash that begins with 00000000: it has 7 versions of 7 assets and 1 code version", "audit"),
    ],
)
def test_what_is_not_known_says_what_is(typed, found, fix):
    with pytest.raises(LineageError) as caught:
        used_by(typed, ARTIFACTS, built(), signed)
    assert found in caught.value.found
    assert fix in caught.value.fix


def test_a_mistyped_hash_has_near_misses():
    past = built()
    right = past.latest[RAW]
    typed = right[:3] + ("0" if right[3] != "0" else "1") + right[4:10]
    with pytest.raises(LineageError) as caught:
        used_by(typed, ARTIFACTS, past, unsigned)
    assert f"{right[:12]} of raw/yard" in caught.value.fix


def test_a_record_is_read_once():
    past = built()
    past.asked.clear()
    used_by(past.latest[RAW], ARTIFACTS, past, unsigned)
    assert past.asked["record"] == len(past.records)
