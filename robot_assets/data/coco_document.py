"""COCO documents: loads the JSON, and says what is wrong with a file that is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLES = ("images", "annotations", "categories")
_LFS = b"version https://git-lfs.github.com/spec/"


class NotJson(ValueError):
    """A file that cannot be read as JSON; its text is the fault, for people."""


class NotCoco(ValueError):
    """JSON that is not a COCO document; its text is the fault, for people."""


def load_json(path: Path) -> Any:
    """Parse a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    NaN and infinity are numbers, as Python's ``json`` writes them; a key that an object has twice is refused.

    Raises:
        NotJson: The file is a symlink, not text, incomplete or malformed.
    """
    if path.is_symlink():
        raise NotJson("it is a symlink")
    encoded = path.read_bytes()
    if not encoded.strip():
        raise NotJson("it is empty")
    if encoded.startswith(_LFS):
        raise NotJson("it is a Git LFS pointer, and its content has not been fetched (git lfs pull)")
    return _parsed(encoded)


def _parsed(encoded: bytes) -> Any:
    try:
        return json.loads(encoded.decode(json.detect_encoding(encoded)), object_pairs_hook=_object)
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(_syntax_error(error)) from None
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not {error.encoding.upper()} text") from None
    except RecursionError:
        raise NotJson("its values are nested too deeply") from None
    except ValueError:
        raise NotJson("an integer has more digits than Python reads (4300)") from None


def document_of(loaded: Any) -> dict[str, Any]:
    """Check that parsed JSON has the three tables of a COCO document.

    Raises:
        NotCoco: It is not an object, or lacks images, annotations or categories.
    """
    if not isinstance(loaded, dict):
        raise NotCoco(f"the top level is {json_type(loaded)}, not an object")
    absent = [table for table in TABLES if table not in loaded]
    if absent:
        raise NotCoco(f"it has no {' and no '.join(absent)}")
    for table in TABLES:
        if not isinstance(loaded[table], list):
            raise NotCoco(f"{table} is {json_type(loaded[table])}, not a list")
    return loaded


def json_type(value: Any) -> str:
    """JSON's name of the type of a value, with its article."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names[type(value)]


def is_int(value: Any) -> bool:
    """Whether a value is an integer and not ``true`` or ``false``."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number; integers that a float cannot represent exactly are none."""
    return isinstance(value, float) or (is_int(value) and abs(value) < 2**53)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate keys: ``json`` would silently take the last value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise NotJson(f"an object has the key {twice[:80]!r} twice")
    return found


def _syntax_error(error: json.JSONDecodeError) -> str:
    """The place of an error of syntax; at the end of the text, the file is incomplete."""
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"it ends in the middle, at line {error.lineno}: an incomplete copy or download"
    return f"line {error.lineno}, column {error.colno} is not JSON ({error.msg})"
