"""The signing key is readable by its owner alone, is never replaced, and is never printed."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.params import load_params
from robot_assets.pipeline.project import Project
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.keys import (
    KEY_VARIABLE,
    create_key,
    load_key,
    public_half,
    signing_key,
)
from robot_assets.provenance.public_key import PublicKey, parse_public_key

EMPTY = "store: {url: .robot_assets/store}\ndatasets: {}\nmodels: {}\ntargets: {}\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "params.yaml").write_text(EMPTY)
    return Project(tmp_path)


def private_pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def owned(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_new_key_is_a_pem_that_only_its_owner_can_read(tmp_path):
    public = create_key(tmp_path / "keys" / "signing.pem")
    content = (tmp_path / "keys" / "signing.pem").read_bytes()
    assert content.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert stat.S_IMODE((tmp_path / "keys" / "signing.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert public_half(load_key(tmp_path / "keys" / "signing.pem")) == public
    assert os.listdir(tmp_path / "keys") == ["signing.pem"]


def test_a_key_is_never_replaced(tmp_path):
    path = tmp_path / "signing.pem"
    create_key(path)
    before = path.read_bytes()
    with pytest.raises(ProvenanceError, match="exists"):
        create_key(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["signing.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path, mode):
    path = tmp_path / "signing.pem"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(ProvenanceError, match=f"has mode 0{mode:o}.*\n.*\n.*chmod 600"):
        load_key(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (private_pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")), "without a passphrase"),
        (private_pem(rsa.generate_private_key(65537, 2048)), "another kind than ed25519"),
        (private_pem(ed25519.Ed25519PrivateKey.generate())[:60], "does not hold a private key"),
        (b"", "does not hold a private key"),
        (bytes(range(256)), "does not hold a private key"),
    ],
    ids=["encrypted", "rsa", "cut", "empty", "noise"],
)
def test_another_key_or_file_is_refused_without_being_quoted(tmp_path, content, what):
    with pytest.raises(ProvenanceError, match=what) as caught:
        load_key(owned(tmp_path / "signing.pem", content))
    body = content.split(b"-----")[2].strip() if b"-----" in content else content
    assert not body or body[:20].decode("latin-1") not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_directory_or_nothing_in_place_of_a_key_is_refused(tmp_path):
    with pytest.raises(ProvenanceError, match=r"no signing key.*\n.*\n.*robot-assets key create"):
        load_key(tmp_path / "nothing.pem")
    with pytest.raises(ProvenanceError, match="is not a file"):
        load_key(tmp_path)


def test_the_key_of_a_checkout_is_created_at_the_first_signature_and_then_stays(project):
    assert project.trust().keys == ()
    first = public_half(signing_key(project.key))
    assert public_half(signing_key(project.key)) == first
    assert project.key.path == project.root / ".robot_assets" / "keys" / "signing.pem"
    assert project.trust().keys == (first,)
    assert project.trust().named(first).startswith("the key of this checkout")


def test_simultaneous_runs_create_one_key(project):
    with ThreadPoolExecutor(8) as pool:
        keys = {public_half(key) for key in pool.map(lambda _: signing_key(project.key), range(16))}
    assert len(keys) == 1
    assert os.listdir(project.key.path.parent) == ["signing.pem"]


def test_a_named_key_is_used_and_never_created(project, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "elsewhere.pem"))
    with pytest.raises(ProvenanceError, match="no signing key"):
        signing_key(project.key)
    public = create_key(tmp_path / "elsewhere.pem")
    assert public_half(signing_key(project.key)) == public
    assert not (project.state / "keys").exists()


def test_trusted_keys_of_params_yaml_are_the_only_ones(project):
    own = public_half(signing_key(project.key))
    other = create_key(project.root / "other.pem")
    (project.root / "params.yaml").write_text(EMPTY + f"provenance: {{trusted_keys: ['{other}']}}\n")
    trust = Project(project.root).trust()
    assert trust.keys == (other,)
    assert own not in trust.keys
    assert trust.named(other) == str(other)


def test_a_public_key_parses_from_base64_and_from_hexadecimal_digits(tmp_path):
    public = create_key(tmp_path / "signing.pem")
    assert parse_public_key(str(public)) == public
    assert parse_public_key(f"  ed25519:{public.raw.hex()}\n") == public
    assert len(public.key_id) == 64


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ed25519:",
        "rsa:" + base64.b64encode(bytes(range(32))).decode(),
        "ed25519:" + base64.b64encode(bytes(range(31))).decode(),
        "ed25519:" + base64.b64encode(bytes(range(33))).decode(),
        "ed25519:" + "0" * 64,
        "ed25519:" + base64.b64encode(bytes(32)).decode(),
        "ed25519:no base64 at all",
    ],
)
def test_anything_but_a_public_key_is_refused(line):
    with pytest.raises(ProvenanceError, match="key"):
        parse_public_key(line)


def test_a_private_key_that_was_pasted_by_mistake_is_not_repeated():
    pem = private_pem(ed25519.Ed25519PrivateKey.generate()).decode()
    with pytest.raises(ProvenanceError, match="is a private key") as caught:
        parse_public_key(pem)
    assert pem.splitlines()[1] not in str(caught.value)


def test_a_mistake_in_params_is_named_by_its_key(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(EMPTY + "provenance: {trusted_keys: ['ed25519:abc']}\n")
    with pytest.raises(ParamsError, match=r"provenance\.trusted_keys: 'ed25519:abc' is not a public key"):
        load_params(path)
    key = PublicKey(bytes(range(32)))
    path.write_text(EMPTY + f"provenance: {{trusted_keys: ['{key}', 'ed25519:{key.raw.hex()}']}}\n")
    with pytest.raises(ParamsError, match="a key is given twice"):
        load_params(path)
