"""Mutations of params.yaml: every one loads, or is refused with an error in our words.

    python -m benchmarks.mutations_params [--count 10000] [--seed 0]

Half are mutations of the text (bytes changed, removed, repeated; lines moved or indented; signs of YAML put in), half
of the document (values of other types, keys misspelt, removed, moved). Prints the failures, and how many loaded
and how many were refused. Exit code 1 when one raised something else, or has words of a library in its message.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline import scaffold
from robot_assets.pipeline.params import load_params
from robot_assets.pipeline.project import Project

FOREIGN = re.compile(
    r"Input should|Traceback|<byte string>|<unicode string>|Value error|validation error|pydantic|\bNoneType\b|"
    r"\b(list|dict|tuple|str|int|float|bool)_type\b|<class |\b\w+(Spec|Entry|Source|Target|Params)\b|object at 0x|"
    r"valid dictionary|valid tuple|type=|\bTrue\b|\bFalse\b|\bNone\b"
)
"""Words of libraries, and Python's names, which no message has."""
_SIGNS = (
    "\t", ":", ": ", "- ", "[", "]", "{", "}", "'", '"', "#", "&a ", "*a", "!x ", "!!int ", "|", ">", "?", "%", "@",
    "`", "\x00", "\x07", "\ufeff", "\u2028", "\n---\n", "\n...\n", "<<<<<<< HEAD\n", "=======\n", ">>>>>>> x\n", "<<: ",
    "~", "$HOME", "$NOPE_NOT_SET", "\\", "\r", "\r\n", ",", "no", "null", "0x_", "2026-99-99", "é", "공", "=", "<<",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**400, float("nan"), float("inf"), "", " ", "x", "no", "1", "a" * 5000, [], {},
    [None], [[1]], {"a": 1}, {1: 2}, [{"a": 1}], "~/x", "$NOPE_NOT_SET/x", "../x", "/x", "s3://b/p", ["x"] * 500, "공",
    "\x07", "a\nb", "[stop]", "2026-11-27", 1320,
)  # fmt: skip


def text_mutation(text: bytes, rng: random.Random) -> bytes:
    """A few changes of the text."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice((_byte, _cut, _repeat, _sign, _line, _indentation, _encoding))(text, rng)
    return text


def document_mutation(document: Any, rng: random.Random) -> bytes:
    """A few changes of the values and keys, written as YAML."""
    document = deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holder, key = rng.choice(list(_places(document)))
        change = rng.choice(("value", "value", "value", "remove", "rename", "copy"))
        if change == "value":
            holder[key] = deepcopy(rng.choice(_VALUES))
        elif change == "remove":
            del holder[key]
        elif change == "copy":
            other, there = rng.choice(list(_places(document)))
            holder[key] = deepcopy(other[there])
        elif isinstance(holder, dict):
            holder[_misspelt(str(key), rng)] = holder.pop(key)
        if not isinstance(document, dict) or not list(_places(document)):
            break
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def failure_of(payload: bytes, folder: Path) -> tuple[str, str | None]:
    """What happened ("loaded" or "refused") to one params.yaml, and what is wrong with that."""
    path = folder / "params.yaml"
    path.write_bytes(payload)
    try:
        load_params(path)
    except ParamsError as error:
        return "refused", _fault_of(error, payload)
    except Exception as error:  # what this looks for
        return "raised", f"{type(error).__name__}: {error}"
    return "loaded", _fault_of_scaffold(folder, payload)


def run(count: int, seed: int, base: Path) -> tuple[Counter[str], list[tuple[int, str, bytes]]]:
    """``count`` mutations of ``base``: how many loaded and were refused, and the failures with their numbers."""
    text = base.read_bytes()
    document = yaml.safe_load(text)
    outcomes: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            payload = text_mutation(text, rng) if number % 2 else document_mutation(document, rng)
            outcome, failure = failure_of(payload, Path(folder))
            outcomes[outcome] += 1
            if failure:
                failures.append((number, failure, payload))
    return outcomes, failures


def _fault_of(error: ParamsError, payload: bytes) -> str | None:
    if not (error.found and error.needed and error.fix):
        return f"a part is missing: {error!r}"
    ours = re.sub(r"'[^'\n]*'|\(found [^\n]*\)", "", str(error))  # values are quoted as they were typed
    found = FOREIGN.search(ours)
    return f"{found[0]!r} in: {error}" if found and found[0].encode() not in payload else None


def _fault_of_scaffold(folder: Path, payload: bytes) -> str | None:
    """Entries are inserted into every file that loads, or it is left as it is."""
    path = folder / "params.yaml"
    try:
        scaffold.write(Project(folder), "mutated", scaffold.Figures(["no", "a: b"], (640, 480), 60, 4))
    except ParamsError:
        return None if path.read_bytes() == payload else "refused, and yet written"
    except Exception as error:  # what this looks for
        return f"scaffold: {type(error).__name__}: {error}"
    return None if load_params(path).datasets["mutated"].classes == ("no", "a: b") else "the entry is another"


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    pending = [document]
    while pending:
        one = pending.pop()
        for key, value in list(one.items() if isinstance(one, dict) else enumerate(one)):
            yield one, key
            if isinstance(value, dict | list):
                pending.append(value)


def _misspelt(key: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(key)))
    return rng.choice((key[:at] + key[at + 1 :], key[:at] + "x" + key[at:], key.upper(), key.replace("_", "-"), ""))


def _byte(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) or 1)
    return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]


def _cut(text: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(text) or 1), rng.choice((1, 1, 2, 5, 40, 400))
    return text[:at] + text[at + length :]


def _repeat(text: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(text) or 1), rng.choice((1, 5, 40, 400))
    return text[: at + length] + text[at : at + length] + text[at + length :]


def _sign(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_SIGNS).encode() + text[at:]


def _line(text: bytes, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True) or [b""]
    line = lines.pop(rng.randrange(len(lines)))
    if rng.random() < 0.7:
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _indentation(text: bytes, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((b" ", b"  ", b"\t", b"")) + lines[at].lstrip(rng.choice((b" ", b"")) or None)
    return b"".join(lines)


def _encoding(text: bytes, rng: random.Random) -> bytes:
    readable = text.decode("utf-8", "replace")
    return readable.encode(rng.choice(("utf-16", "utf-16-le", "utf-8-sig", "utf-32")), "replace")


def main() -> int:
    """Run, and print the failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base", type=Path, default=Path(__file__).parents[1] / "params.yaml")
    options = parser.parse_args()
    outcomes, failures = run(options.count, options.seed, options.base)
    for number, failure, _ in failures[:20]:
        print(f"{number}: {failure[:600]}")
    shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"{options.count} mutations of {options.base.name}, seed {options.seed}: {shown}, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
