"""Edits of a YAML document as text: one key or one list entry, in block or flow style; every other byte stays.

Nodes are found in the composed document, and their places in the text are used. Callers parse the result and compare
it with the document that it should be: an edit through an alias, for example, changes more than one place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from robot_assets.core.yaml_documents import composed

_Steps = tuple[str, ...]
_Pair = tuple[yaml.Node, yaml.Node]


class CannotEdit(ValueError):
    """The text has a form in which this edit would not be safe.

    Attributes:
        has_comment: Whether a comment would be lost.
    """

    def __init__(self, why: str, *, has_comment: bool = False) -> None:
        self.has_comment = has_comment
        super().__init__(why)


def with_key(text: str, steps: _Steps, value: Any) -> str:
    """``text`` with ``value`` at ``steps``: replaced in place, else added as the last key of its mapping.

    Raises:
        CannotEdit: The mapping is not there, or is not in a form that can be edited.
    """
    mapping = _mapping_at(text, steps[:-1])
    pair = _pair(mapping, steps[-1])
    if pair is None:
        return _with_new_key(text, mapping, steps[-1], value)
    _refuse_alias(pair)
    if isinstance(value, Mapping) and _keys(pair[1]) == [str(key) for key in value]:
        for key, inner in value.items():  # the values alone, so that comments and form stay
            text = with_key(text, (*steps, key), inner)
        return text
    return _with_value(text, pair, value)


def without_key(text: str, steps: _Steps) -> str:
    """``text`` without the key at ``steps``.

    Raises:
        CannotEdit: It is not a key of its own, or a comment would be lost.
    """
    mapping = _mapping_at(text, steps[:-1])
    pair = _pair(mapping, steps[-1])
    if pair is None or len(mapping.value) < 2:
        raise CannotEdit(f"{'.'.join(steps)} is not a key beside others")
    _refuse_alias(pair)
    if mapping.flow_style:
        return _without_flow(text, [(key.start_mark.index, _last(text, key, one)) for key, one in mapping.value], pair)
    start = _line_start(text, pair[0].start_mark.index)
    if text[start : pair[0].start_mark.index].strip("\ufeff "):
        raise CannotEdit("the key is not the first of its line")
    return _without_lines(text, start, _last(text, *pair))


def is_last_key(text: str, steps: _Steps) -> bool:
    """Whether the key at ``steps`` is the last one of its mapping, where :func:`with_key` adds one."""
    mapping = _mapping_at(text, steps[:-1])
    return bool(mapping.value[-1][0].value == steps[-1])


def with_item(text: str, steps: _Steps, value: Any) -> str:
    """``text`` with ``value`` as the last entry of the list at ``steps``; a list that is missing or empty is made.

    Raises:
        CannotEdit: What is there is no list, or is not in a form that can be edited.
    """
    mapping = _mapping_at(text, steps[:-1])
    pair = _pair(mapping, steps[-1])
    if pair is None:
        return _with_new_key(text, mapping, steps[-1], [value])
    _refuse_alias(pair)
    sequence = pair[1]
    if not isinstance(sequence, yaml.SequenceNode):
        return _with_value(text, pair, [value])
    if sequence.flow_style:
        at = content_end(sequence.value[-1]) if sequence.value else sequence.start_mark.index + 1
        return text[:at] + (", " if sequence.value else "") + flow(value) + text[at:]
    last = sequence.value[-1]
    at = after_comments(text, line_end(text, content_end(last)), sequence.start_mark.column)
    return _with_lines(text, at, [" " * sequence.start_mark.column + f"- {flow(value)}"])


def without_item(text: str, steps: _Steps, index: int) -> str:
    """``text`` without one entry of the list at ``steps``; a list in block style goes with its last entry.

    Raises:
        CannotEdit: It is not there, or a comment would be lost.
    """
    mapping = _mapping_at(text, steps[:-1])
    pair = _pair(mapping, steps[-1])
    if pair is None or not isinstance(pair[1], yaml.SequenceNode) or index >= len(pair[1].value):
        raise CannotEdit(f"{'.'.join(steps)} has no entry {index + 1}")
    _refuse_alias(pair)
    sequence = pair[1]
    if len(sequence.value) == 1 and (mapping.flow_style or not sequence.flow_style):
        return without_key(text, steps)
    item = sequence.value[index]
    if sequence.flow_style:
        spans = [(one.start_mark.index, content_end(one)) for one in sequence.value]
        return _without_flow(text, spans, (item, item))
    start = _line_start(text, item.start_mark.index)
    if not re.fullmatch(r" *- +", text[start : item.start_mark.index]):
        raise CannotEdit("the entry is not the first of its line")
    return _without_lines(text, start, content_end(item))


def flow(value: Any) -> str:
    """A value on one line, quoted where YAML would read another type."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(one) for one in value) + "]"
    dumped: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf)
    return dumped.strip()[1:-1]


def content_end(node: yaml.Node) -> int:
    """Index behind the last character of a node's content. The value of an alias is somewhere else."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        key, value = node.value[-1]
        return max(int(key.end_mark.index), content_end(value))
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return max(int(node.start_mark.index), content_end(node.value[-1]))
    end: int = node.end_mark.index
    return end if node.end_mark.column or end == node.start_mark.index else end - 1


def line_end(text: str, at: int) -> int:
    """Begin of the line after ``at``; the end of the text in its last line."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def after_comments(text: str, at: int, column: int) -> int:
    """Begin of the line after the comments that follow directly and are indented as far as ``column``."""
    while True:
        end = line_end(text, at)
        line = text[at:end]
        body = line.lstrip(" ")
        if not body.startswith("#") or len(line) - len(body) < column:
            return at
        at = end


def _mapping_at(text: str, steps: _Steps) -> yaml.MappingNode:
    node = composed(text)
    for step in steps:
        pair = _pair(node, step) if isinstance(node, yaml.MappingNode) else None
        if pair is None:
            raise CannotEdit(f"{'.'.join(steps)} is not written out")
        _refuse_alias(pair)
        node = pair[1]
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise CannotEdit(f"{'.'.join(steps)} is not a mapping with keys")
    return node


def _pair(mapping: yaml.MappingNode, key: str) -> _Pair | None:
    return next(((one, value) for one, value in mapping.value if one.value == key), None)


def _keys(node: yaml.Node) -> list[str]:
    return [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []


def _refuse_alias(pair: _Pair) -> None:
    if pair[1].start_mark.index < pair[0].end_mark.index:
        raise CannotEdit(f"the value of {pair[0].value} is an alias")


def _with_new_key(text: str, mapping: yaml.MappingNode, key: str, value: Any) -> str:
    last = _last(text, *mapping.value[-1])
    if mapping.flow_style:
        return f"{text[:last]}, {flow(key)}: {flow(value)}{text[last:]}"
    column = mapping.value[0][0].start_mark.column
    lines = [f"{flow(key)}: {flow(value)}"]
    if isinstance(value, list):
        lines = [f"{flow(key)}:", *(f"  - {flow(one)}" for one in value)]
    at = after_comments(text, line_end(text, last), column)
    return _with_lines(text, at, [" " * column + line for line in lines])


def _with_value(text: str, pair: _Pair, value: Any) -> str:
    """``text`` with another value of a key, in the quotes of the present one."""
    key, node = pair
    start, end = int(node.start_mark.index), content_end(node)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        raise CannotEdit(f"the value of {key.value} is a block of text")
    if not isinstance(node, yaml.ScalarNode) and _has_comment(text, start, end):
        raise CannotEdit(f"the value of {key.value} has a comment", has_comment=True)
    if isinstance(node, yaml.ScalarNode) and start == end:  # KEY: without a value
        at = text.index(":", key.end_mark.index) + 1
        return f"{text[:at]} {flow(value)}{text[at:]}"
    if start > text.find("\n", key.end_mark.index) >= 0 and not getattr(node, "flow_style", True):
        start = text.index(":", key.end_mark.index) + 1
        return f"{text[:start]} {flow(value)}{text[end:]}"
    return text[:start] + _quoted(node, value) + text[end:]


def _quoted(node: yaml.Node, value: Any) -> str:
    quote = node.style if isinstance(node, yaml.ScalarNode) else None
    if quote in ("'", '"') and isinstance(value, str) and re.fullmatch(r"[\w.:+/=@ -]*", value):
        return f"{quote}{value}{quote}"
    return flow(value)


def _last(text: str, key: yaml.Node, value: yaml.Node) -> int:
    """Index behind the last character of a key and its value; the colon of a key without a value is a part of it."""
    end = max(int(key.end_mark.index), content_end(value))
    if end > key.end_mark.index and value.start_mark.index >= key.end_mark.index:
        return end
    rest = re.compile(r"\s*:(\s*\*[^\s,}\]]+)?").match(text, int(key.end_mark.index))
    return rest.end() if rest else end


def _without_lines(text: str, start: int, end: int) -> str:
    """``text`` without the lines from ``start`` to the one with ``end``."""
    after = line_end(text, end)
    if _has_comment(text, start, after):
        raise CannotEdit("a comment of the line would be lost", has_comment=True)
    if text[end:after].strip():
        raise CannotEdit("the line goes on behind the value")
    if after == len(text) and not text.endswith("\n"):  # the break before it was that of the last line
        start -= len(_newline_before(text, start))
    return text[:start] + text[after:]


def _without_flow(text: str, spans: Sequence[tuple[int, int]], pair: _Pair) -> str:
    """``text`` without one of the entries of a flow collection, which are at ``spans``."""
    at = next(number for number, span in enumerate(spans) if span[0] == pair[0].start_mark.index)
    start, end = spans[at]
    if at:
        start = spans[at - 1][1]
    elif len(spans) > 1:
        end = spans[1][0]
    if _has_comment(text, start, end):
        raise CannotEdit("a comment beside the value would be lost", has_comment=True)
    return text[:start] + text[end:]


def _has_comment(text: str, start: int, end: int) -> bool:
    """Whether a part of the text has a ``#`` outside of its scalars."""
    if "#" not in text[start:end]:
        return False
    rest = text[start:end]
    for first, last in _scalars(text):
        first, last = max(first, start) - start, min(last, end) - start
        if first < last:
            rest = rest[:first] + " " * (last - first) + rest[last:]
    return "#" in rest


def _scalars(text: str) -> list[tuple[int, int]]:
    """Where the scalars of a document are."""
    for loader in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        try:
            tokens = [token for token in yaml.scan(text, Loader=loader) if isinstance(token, yaml.ScalarToken)]
        except yaml.YAMLError:  # the one in Python refuses some tabs that libyaml accepts
            continue
        return [(token.start_mark.index, token.end_mark.index) for token in tokens]
    return []


def _with_lines(text: str, at: int, lines: Sequence[str]) -> str:
    """``text`` with whole lines at ``at``; where the last line of the text has no break, the new last one has none."""
    newline = _newline_before(text, at) or ("\r\n" if "\r\n" in text else "\n")
    inserted = newline.join(lines)
    if at and text[at - 1] != "\n":
        return text[:at] + newline + inserted + text[at:]
    return text[:at] + inserted + newline + text[at:]


def _newline_before(text: str, at: int) -> str:
    if text[:at].endswith("\r\n"):
        return "\r\n"
    return "\n" if text[:at].endswith("\n") else ""


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1
