"""The check ``lineage_intact``: whether it can still be proven what an engine was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import ObjectCorrupt, ObjectMissing
from robot_assets.core.verdict import Verdict
from robot_assets.lineage.chain import Chain, Link
from robot_assets.provenance.evidence import gather
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.subjects import Subject, hash_subject
from robot_assets.provenance.verify import check_files, check_signature
from robot_assets.store import Store
from robot_assets.store.cache import Cache
from robot_assets.store.os_errors import explaining_os_errors
from robot_assets.store.tree import parse_tree

_SHOWN = 5


@dataclass(frozen=True)
class _Faults:
    """What is missing for a proof, by kind."""

    missing: tuple[str, ...]
    altered: tuple[str, ...]
    uncommitted: tuple[str, ...]
    unsigned: tuple[str, ...]
    problems: tuple[str, ...]


def intact(chain: Chain, store: Store, trusted: Trust) -> Verdict:
    """Check that everything that an engine was made of is in the store, and that its provenance holds.

    Every version of the chain is in the store; the bytes of the engine itself are read and compared with their
    hashes; all code was committed; a trusted key has signed the engine's provenance; the chain has no problem.

    Args:
        chain: The engine and everything below it.
        store: Has their bytes.
        trusted: Whose signatures count.

    Raises:
        StoreError: The store cannot be read, or its remote cannot be reached.
    """
    head = chain.head
    subjects, altered = _engine_bytes(head, store)
    evidence = gather(store.attestations(head.version).values(), subjects, trusted)
    signature, files = check_signature(evidence, trusted), check_files(evidence, subjects)
    if signature.passed and not files.passed and not altered:
        altered = (files.why,)
    faults = _Faults(
        missing=tuple(link.asset for link in chain.links if not _is_stored(link, store)),
        altered=altered,
        uncommitted=tuple(link.asset for link in chain.links if link.record and link.record.git_dirty is not False),
        unsigned=() if signature.passed else (signature.why,),
        problems=chain.problems,
    )
    facts: dict[str, object] = {
        **{kind: list(found) for kind, found in vars(faults).items()},
        "links": len(chain.links),
        "signature": signature.why,
        "signed_by": str(evidence.provenance.signer) if evidence.provenance else None,
    }
    sentences = list(_sentences(faults, chain))
    if not sentences:
        summary = f"all {len(chain.links)} versions of the chain of {head.asset} are in the store; {signature.why}"
        return Verdict(True, summary, facts=facts)
    more = [f"and {len(sentences) - _SHOWN} more"] if len(sentences) > _SHOWN else []
    return Verdict(False, "; ".join(sentences[:_SHOWN] + more), " ".join(_fixes(faults, head)), facts)


def _is_stored(link: Link, store: Store) -> bool:
    """Whether the store has every object of a version that has bytes."""
    try:
        return not link.holds_bytes or store.has(link.version)
    except ObjectCorrupt:
        return False


def _engine_bytes(head: Link, store: Store) -> tuple[tuple[Subject, ...], tuple[str, ...]]:
    """The files of the engine in the cache, each hashed in full, and the names of the altered ones."""
    cache = Cache(store.cache)
    listing = Path(cache.path(head.version))
    store.pin(head.version)
    with explaining_os_errors("reading an engine", store.cache):
        _fetch(head, store, has_all=listing.exists())
        if not listing.exists():
            return (), ()
        payload = listing.read_bytes()
        if hashlib.md5(payload, usedforsecurity=False).hexdigest() + ".dir" != head.version:
            return (), (f"the listing of {head.asset} at {listing}",)
        tree = parse_tree(payload, head.version)
        _fetch(head, store, has_all=not cache.missing(tree.digests))
        present = [(name, md5) for name, md5 in tree.entries if cache.has(md5)]
        subjects = tuple(hash_subject(name, cache.path(md5)) for name, md5 in present)
    altered = [
        f"{name} of {head.asset} at {cache.path(md5)}"
        for (name, md5), subject in zip(present, subjects, strict=True)
        if subject.md5 != md5
    ]
    return subjects, tuple(altered)


def _fetch(head: Link, store: Store, *, has_all: bool) -> None:
    """Fetch an engine that was built on another machine. Missing objects are reported by the check, not raised here."""
    if has_all or store.remote_url is None:
        return
    try:
        store.pull(head.version)
    except ObjectMissing:
        return


def _sentences(faults: _Faults, chain: Chain) -> Iterator[str]:
    """The faults, those of the engine itself first. A link with a problem of the audit is not named twice."""
    named = {link.asset for link in chain.links if link.problems}
    yield from (f"{what} was altered" for what in faults.altered)
    yield from (f"no trusted signature: {why}" for why in faults.unsigned)
    yield from faults.problems
    yield from (f"{asset}: its bytes are no longer in the store" for asset in faults.missing if asset not in named)
    yield from (f"{asset}: its code was not committed" for asset in faults.uncommitted if asset not in named)


def _fixes(faults: _Faults, head: Link) -> Iterator[str]:
    if faults.altered:
        yield (
            "Do not use this engine. Find out who could write to the store, remove the altered file and run "
            f"`robot-assets build {head.asset}`: the same inputs give the same bytes."
        )
    if faults.unsigned:
        yield (
            "If the signer is one of yours, add its key (`robot-assets key show`, where it signs) to "
            f"provenance.trusted_keys in params.yaml; else materialize {head.asset} again: a build signs."
        )
    if faults.missing:
        yield f"Push the missing bytes from a machine that has them, or run `robot-assets build {head.asset}`."
    if faults.uncommitted:
        yield f"Commit the code, then build {_listed(faults.uncommitted)} again."
    if faults.problems and not (faults.missing or faults.uncommitted):
        yield f"`robot-assets audit {head.asset}` shows the step that has the problem."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" and others" if len(names) > _SHOWN else "")
