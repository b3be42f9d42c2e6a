"""A recall names any ancestor of an engine; a robot decides offline, from the statements beside the engine."""

import base64
import json
import subprocess
import sys

import pytest

from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.assignments import Recall
from robot_assets.fleet.recall import Part, made_of, match, recalled
from robot_assets.provenance.public_key import Trust
from robot_assets.release.bundle import BUNDLE_FILE, parse_bundle
from tests.small_release import public_key, small_release, with_new_hashes

DATASET = "aabbccdd00112233445566778899aabb"
STATEMENTS = "small/provenance.intoto.jsonl"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return small_release(tmp_path_factory.mktemp("recall") / "release", dataset_version=f"{DATASET}.dir")


def recalls(*hashes):
    return [Recall(hash=one, reason="mislabeled") for one in hashes]


def payloads(release):
    lines = (release.path / STATEMENTS).read_bytes().splitlines()
    return [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in lines]


def ancestors(release):
    """Everything that can be recalled, by what it is."""
    [made] = [one["predicate"]["buildDefinition"] for one in payloads(release) if "buildDefinition" in one["predicate"]]
    code = next(one for one in made["resolvedDependencies"] if one["name"] == "code of small/onnx")
    file = payloads(release)[0]["subject"][0]["digest"]["sha256"]
    return {
        "the release": release.version,
        "a data set": DATASET,
        "first digits of a data set": DATASET[:8],
        "a data set as audit shows it": f"{DATASET}.dir",
        "in capitals": DATASET.upper(),
        "the version of the engine": release.bundle.models["small"].version,
        "code": code["uri"].rpartition(":")[2],
        "a commit": code["digest"]["gitCommit"],
        "the key": release.key_line,
        "the id of the key": release.key.key_id,
        "first digits of the id of the key": release.key.key_id[:10],
        "a file of the engine": file,
        "a file of the engine, as docker names hashes": f"sha256:{file}",
        "the reference answers": next(one.sha256 for one in release.bundle.files if one.path.endswith(".npz")),
        "the device": release.bundle.platform_fingerprint,
    }


NAMES = [
    "the release", "a data set", "first digits of a data set", "a data set as audit shows it", "in capitals",
    "the version of the engine", "code", "a commit", "the key", "the id of the key",
    "first digits of the id of the key", "a file of the engine", "a file of the engine, as docker names hashes",
    "the reference answers", "the device",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_ancestor_can_be_recalled(release, name):
    wanted = ancestors(release)[name]
    assert recalled(release.path, release.version, recalls("0" * 32, wanted)).hash == wanted
    assert recalled(release.path, release.version, recalls(wanted), release.trust).hash == wanted


@pytest.mark.parametrize(
    "other", ["deadbeef", DATASET[1:9], DATASET + "00", "f" * 64, str(public_key(bytes(range(9, 41)))), "ed25519:"]
)
def test_others_are_not_recalled(release, other):
    assert recalled(release.path, release.version, recalls(other)) is None
    assert recalled(release.path, release.version, []) is None


def test_fewer_than_eight_digits_name_nothing(release):
    parts = [Part("raw/sidewalk", DATASET)]
    assert match(parts, DATASET[:7]) is None
    assert match(parts, DATASET[:7] + ".dir") is None
    assert match(parts, DATASET[:8] + ".dir") == parts[0]


def test_a_container_image_can_be_recalled(release):
    image = {"name": "image of small/onnx", "uri": f"docker://registry/trainer@sha256:{'1' * 64}"}
    parts = parts_with(release, image)
    assert match(parts, "sha256:" + "1" * 64).what == "image of small/onnx"


def parts_with(release, dependency):
    """Parts of the release where its provenance had one more dependency."""
    changed = []
    for line in (release.path / STATEMENTS).read_bytes().splitlines():
        envelope = json.loads(line)
        statement = json.loads(base64.b64decode(envelope["payload"]))
        if "buildDefinition" in statement["predicate"]:
            statement["predicate"]["buildDefinition"]["resolvedDependencies"].append(dependency)
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        changed.append(json.dumps(envelope).encode())
    return list(made_of(release.bundle, {"small": b"\n".join(changed)}, release.version))


def test_each_model_of_a_release_counts(tmp_path):
    two = small_release(tmp_path / "release", models=("first", "second"))
    for model in two.bundle.models.values():
        assert recalled(two.path, two.version, recalls(model.version)) is not None


def test_a_key_is_recalled_though_nobody_trusts_it_any_more(release):
    other = Trust((public_key(bytes(range(9, 41))),))
    assert recalled(release.path, release.version, recalls(release.key_line), other) is not None
    # what a key that does not count has signed says nothing
    assert recalled(release.path, release.version, recalls(DATASET), other) is None


def test_statements_about_other_files_say_nothing(release, tmp_path):
    """A file of statements may have those of other engines, and lines of other tools."""
    other = small_release(tmp_path / "other", seed=1, dataset_version="99" * 16 + ".dir")
    mixed = small_release(tmp_path / "mixed", dataset_version=f"{DATASET}.dir")
    own = (mixed.path / STATEMENTS).read_bytes()
    foreign = (other.path / STATEMENTS).read_bytes()
    junk = b'{}\n[1]\nnot json\n{"payload": 1, "signatures": []}\n'
    (mixed.path / STATEMENTS).write_bytes(foreign + junk + own)
    mixed = with_new_hashes(mixed)
    assert recalled(mixed.path, mixed.version, recalls("99" * 16)) is None
    assert recalled(mixed.path, mixed.version, recalls(DATASET)) is not None
    assert recalled(other.path, other.version, recalls("99" * 16)) is not None


def test_an_altered_statement_does_not_count_where_signatures_are_checked(release, tmp_path):
    altered = small_release(tmp_path / "release", dataset_version=f"{DATASET}.dir")
    lines = []
    for line in (altered.path / STATEMENTS).read_bytes().splitlines():
        envelope = json.loads(line)
        payload = base64.b64decode(envelope["payload"]).replace(DATASET.encode(), b"ee" * 16)
        lines.append(json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}))
    (altered.path / STATEMENTS).write_text("\n".join(lines))
    altered = with_new_hashes(altered)
    assert recalled(altered.path, altered.version, recalls("ee" * 16), altered.trust) is None


@pytest.mark.parametrize("name", [BUNDLE_FILE, STATEMENTS])
def test_a_release_that_cannot_be_read_is_an_error(tmp_path, name):
    broken = small_release(tmp_path / "release")
    (broken.path / name).unlink()
    with pytest.raises(RobotAssetsError) as caught:
        recalled(broken.path, broken.version, recalls(DATASET))
    assert name in caught.value.found
    assert caught.value.fix


def test_the_bundle_of_the_test_is_one(release):
    assert parse_bundle((release.path / BUNDLE_FILE).read_bytes()) == release.bundle


def test_a_robot_decides_with_its_light_modules():
    code = "import sys, robot_assets.fleet.recall; print([m for m in ('torch', 'onnx', 'numpy', 'cryptography', 'dagster', 'rich') if m in sys.modules])"  # fmt: skip  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
