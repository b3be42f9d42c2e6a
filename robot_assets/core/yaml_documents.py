"""Reads YAML documents that people write: a fault is named in the words of a person, with its line and column."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:  # the one in C takes a fifth of the time, and the rebuild sensor reads params.yaml at every tick
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CONFLICT = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)
_LEFTOVER = re.compile(r"={7}|\|{7}.*")
_NOT_TEXT = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ODD_BLANK = re.compile(r"[ ]*([\t\u00a0\u2000-\u200a\u3000])")
"""Indentation with a tab, or with a blank that was copied from a web page."""
_UTF_16 = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_LARGEST_BYTES = 4 << 20
_UNREADABLE = (ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError)
"""What PyYAML raises for a date of month 13, a number of 5,000 digits, or an explicit tag on another text."""
_MERGE = "tag:yaml.org,2002:merge"


class YamlFault(ValueError):
    """A document that is not YAML, or not one that is read here.

    Attributes:
        what: The fault with its place, such as ``line 6, column 1: a tab``.
        fix: How to correct it.
        has_conflict: Whether the file has conflict markers of git.
    """

    def __init__(self, what: str, fix: str, *, has_conflict: bool = False) -> None:
        self.what = what
        self.fix = fix
        self.has_conflict = has_conflict
        super().__init__(what)


@dataclass(frozen=True)
class Place:
    """A place in a text; both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def load_yaml(payload: bytes) -> Any:
    """The one document in ``payload``; a mapping with the same key twice is refused.

    Raises:
        YamlFault: It is not YAML in UTF-8, has conflict markers, or cannot be read as plain values.
    """
    text = decoded(payload)
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise _fault(text, _worded(text, error)) from None
    except RecursionError:
        raise YamlFault("it is nested too deeply", "write it with fewer levels") from None
    except _UNREADABLE:
        raise YamlFault(*_unreadable_value(text)) from None


def decoded(payload: bytes) -> str:
    """The text of a YAML file.

    Raises:
        YamlFault: It is not UTF-8, has characters that no text has, or conflict markers.
    """
    if len(payload) > _LARGEST_BYTES:
        raise YamlFault(f"it has {len(payload)} bytes", f"needed at most {_LARGEST_BYTES >> 20} MiB")
    zeros = {(False, True): "UTF-16LE", (True, False): "UTF-16BE"}
    encoding = _UTF_16.get(payload[:2]) or zeros.get((payload[:1] == b"\0", payload[1:2] == b"\0"), "")
    if encoding:
        raise YamlFault("it is UTF-16 text", f"save it as UTF-8, for example with: iconv -f {encoding} -t UTF-8")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place(payload[: error.start].decode("utf-8"), error.start)
        found = f"{place}: the byte 0x{payload[error.start]:02x} is not UTF-8"
        raise YamlFault(found, "save it as UTF-8") from None
    if match := _CONFLICT.search(text):
        raise _conflict(_place(text, match.start()).line)
    body = text.removeprefix("\ufeff")
    if match := _NOT_TEXT.search(body):
        place = _place(body, match.start())
        name = "a NUL character" if match[0] == "\0" else f"the control character U+{ord(match[0]):04X}"
        raise YamlFault(f"{place}: {name}", "remove that character")
    return text


def _conflict(line: int) -> YamlFault:
    return YamlFault(
        f"it has conflict markers of git, the first in line {line}",
        "keep one of the two versions and remove the lines with <<<<<<<, ======= and >>>>>>>",
        has_conflict=True,
    )


def composed(text: str) -> yaml.Node | None:
    """The nodes of a document, with their places in the text. The text is one that :func:`load_yaml` has read."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # it refuses some tabs that libyaml accepts
        node = yaml.compose(text, Loader=_Loader)
    return node


def node_at(node: yaml.Node | None, steps: tuple[int | str, ...]) -> yaml.Node | None:
    """The deepest node on the way that ``steps`` (keys and indices) describe; None for no document."""
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            following = next((value for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            following = node.value[step]
        else:
            following = None
        if following is None:
            return node
        node = following
    return node


class _UniqueKeyLoader(_Loader):
    """PyYAML silently keeps the last of two equal keys; here a duplicate key is an error."""


def _unique_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a list or mapping as a key", key_node.start_mark)
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            first = seen[key].line + 1
            problem = f"duplicate key {key_node.value!r}, which is in line {first} already"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        seen[key] = key_node.start_mark
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return mapping


def _number(loader: Any, node: yaml.ScalarNode) -> int | float:
    """YAML 1.1 reads 010 as 8 and 1:30 as 90: such numbers are refused, since few people mean them."""
    number: int | float = getattr(loader, f"construct_yaml_{node.tag.rpartition(':')[2]}")(node)
    digits = node.value.lstrip("+-").replace("_", "")
    if ":" in digits or (re.fullmatch("0[0-7]+", digits) and int(digits) != abs(number)):
        problem = f"the number {node.value} would be read as {number}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return number


class _WordedLoader(yaml.SafeLoader):
    """The same in Python, whose errors have exact places."""


_loaders: tuple[Any, ...] = (_UniqueKeyLoader, _WordedLoader)
for _one in _loaders:
    _one.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
    _one.add_constructor("tag:yaml.org,2002:value", yaml.SafeLoader.construct_yaml_str)
    _one.add_constructor("tag:yaml.org,2002:int", _number)
    _one.add_constructor("tag:yaml.org,2002:float", _number)


def _worded(text: str, error: yaml.YAMLError) -> yaml.YAMLError:
    """The error of PyYAML's own parser, whose wording is known here; that of libyaml where it has none."""
    try:
        yaml.load(text, Loader=_WordedLoader)
    except yaml.YAMLError as found:
        return found
    except (RecursionError, *_UNREADABLE):
        return error
    return error


def _fault(text: str, error: yaml.YAMLError) -> YamlFault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return YamlFault("it is not YAML", "correct it by hand")
    lines = text.split("\n")
    if leftover := next((row for row, line in enumerate(lines) if _LEFTOVER.fullmatch(line.rstrip("\r"))), None):
        return _conflict(leftover + 1)
    for row in _suspected(error, mark.line, len(lines)):
        if match := _ODD_BLANK.match(lines[row]):
            blank = match[1]
            name = "a tab" if blank == "\t" else f"the blank U+{ord(blank):04X}"
            place = Place(row + 1, match.start(1) + 1)
            return YamlFault(f"{place}: {name}; YAML wants spaces", f"replace {name.replace('a ', 'the ')} by spaces")
    if "stream end" in str(getattr(error, "problem", "")) and (opened := _unclosed(text)):
        bracket, opening = opened
        close = "]" if bracket == "[" else "}"
        return YamlFault(f"the bracket {bracket} that opens at {_of(opening)} is not closed", f"add the {close}")
    what, fix = _in_words(lines, error, mark)
    return YamlFault(f"{Place(mark.line + 1, mark.column + 1)}: {what}", fix)


def _unclosed(text: str) -> tuple[str, Any] | None:
    """The innermost bracket that is open at the end, and where it opens."""
    opened: list[tuple[str, Any]] = []
    with contextlib.suppress(yaml.YAMLError):
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                opened.append(("[" if isinstance(token, yaml.FlowSequenceStartToken) else "{", token.start_mark))
            elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken) and opened:
                opened.pop()
    return opened[-1] if opened else None


def _suspected(error: yaml.YAMLError, line: int, lines: int) -> Iterator[int]:
    """Lines whose indentation the fault may be about: from its context on, and the line before."""
    context = getattr(error, "context_mark", None)
    first = min(context.line if context else line, max(0, line - 1))
    yield from (row for row in range(first, line + 1) if row < lines)


def _in_words(lines: list[str], error: Any, mark: Any) -> tuple[str, str]:
    """What is wrong and how to correct it."""
    problem = str(error.problem or error.context or "")
    context = str(getattr(error, "context", "") or "")
    line = lines[mark.line] if mark.line < len(lines) else ""
    opened = getattr(error, "context_mark", None)
    if "document separator" in problem or ("quoted scalar" in context and "end of" in problem):
        return f"the quote that opens at {_of(opened or mark)} is not closed", "close the quote"
    if "flow sequence" in context or "flow mapping" in context:
        bracket = "[" if "sequence" in context else "{"
        return (
            f"the bracket {bracket} that opens at {_of(opened)} is not closed, or a comma is missing before this",
            f"close the bracket with {']' if bracket == '[' else '}'}, or add the comma",
        )
    if "could not find expected ':'" in problem:
        return _no_colon(lines, (opened or mark).line)
    if "mapping values are not allowed" in problem:
        return _second_colon(lines, mark)
    if "block end" in problem:
        return _block_end(line, problem, mark, opened)
    return _of_table(f"{problem}; {context}") or (f"not YAML here ({_plain(problem)})", "correct that place")


def _block_end(line: str, problem: str, mark: Any, opened: Any) -> tuple[str, str]:
    """Something at a column where only an entry of the block, or its end, can be."""
    if match := re.search(r"found '([]}])'", problem):
        return f"a {match[1]} without the bracket that opens it", f"remove the {match[1]}"
    if opened and opened.column == mark.column:
        return "a list entry and a key side by side", "write only list entries, or only keys, in this column"
    if re.search("['\"]", line[: mark.column]):
        return "text after the closing quote", "put the quotes around the whole value"
    column = f"column {opened.column + 1}" if opened else "the same column"
    return f"wrong indentation: the entries around it start at {column}", "indent it like the entries around it"


def _of_table(problem: str) -> tuple[str, str] | None:
    for pattern, what, fix in _PROBLEMS:
        if match := re.search(pattern, problem):
            return what.format(*match.groups()), fix.format(*match.groups())
    return None


_PROBLEMS = (
    (r"character '\\t' that cannot start", "a tab; YAML wants spaces", "replace the tab by spaces"),
    (r"character '(.)' that cannot start", "{0!r} cannot start a value", "quote the value: '{0}...'"),
    (r"undefined alias '(.*?)'", "*{0} has no anchor &{0} before it", "define &{0}, or write the value out"),
    (r"duplicate anchor '(.*?)';", "the anchor &{0} is defined twice", "rename one of the two"),
    (
        r"but found another document|expected '<document start>'",
        "a second document starts here",
        "keep one document: remove the rest of the file, or the line ---",
    ),
    (r"constructor for the tag '(.*?)'", "the tag {0} is not read here", "remove the tag"),
    (r"(duplicate key .*);", "{0}", "remove one of the two"),
    (
        r"the number (\S+) would be read as (\S+);",
        "YAML reads {0} as {1}",
        "write a decimal number, or quote it",
    ),
    (r"a list or mapping as a key|unhashable key", "a list or mapping as a key", "write a name as the key"),
    (
        r"unknown escape character (.*?);",
        "a backslash before {0} in double quotes is no escape",
        "write two backslashes, or use single quotes",
    ),
    (r"expected the node content", "a value is missing here", "write the value, or quote it if it begins with a sign"),
    (r"unconstructable recursive node", "a value that contains itself", "write the value out instead of the alias"),
    (r"maximum nesting", "too many brackets in one another", "write it with fewer levels"),
    (r"for merging", "<< needs a mapping", "merge a mapping with <<, or remove the line"),
    (r"sequence entries are not allowed", "a list entry '-' is not allowed here", "start the list in the next line"),
    (
        r"chomping or indentation indicators|expected a comment or a line break",
        "text after | or >, which begin a block of text",
        "put the text in the next line, or quote the value",
    ),
    (r"directive|expected alphabetic or numeric", "% , & or * without a name after it", "quote the value"),
    (r"but found (scalar|sequence|mapping)", "a tag (!!) that its value does not fit", "remove the tag"),
)
"""Pattern in PyYAML's problem -> the fault, and how to correct it."""


def _no_colon(lines: list[str], row: int) -> tuple[str, str]:
    line = lines[row] if row < len(lines) else ""
    if match := re.match(r"\s*(?:- )?([\w.-]+):(\S.*)", line):
        return f"no blank after '{match[1]}:' in line {row + 1}", f"write: {match[1]}: {match[2]}"
    return f"'{line.strip()[:60]}' in line {row + 1} has no ':'", "write it as KEY: VALUE, or remove the line"


def _second_colon(lines: list[str], mark: Any) -> tuple[str, str]:
    above = lines[mark.line - 1] if mark.line else ""
    if re.match(r"\s*(?:- )?[\w.-]+:[^\s/]", above):
        return _no_colon(lines, mark.line - 1)
    if above.strip() and ":" not in above and not above.lstrip().startswith(("-", "#")):
        return _no_colon(lines, mark.line - 1)
    if re.search(r":\s", lines[mark.line][: mark.column]):
        return "a second ':' in one line", "quote the value that has it, or start a line for the second key"
    return (
        "wrong indentation: the line above has a value already",
        "indent it like its neighbours, or close the value above",
    )


def _unreadable_value(text: str) -> tuple[str, str]:
    """A scalar that PyYAML takes for a date or a number and then cannot convert."""
    for node in _scalars(composed(text)):
        try:
            yaml.SafeLoader("").construct_object(node, deep=True)
        except _UNREADABLE:
            shown = node.value if len(node.value) <= 40 else f"{node.value[:40]}..."
            return f"{_of(node.start_mark)}: {shown!r} looks like a number or a date and is none", "quote it"
        except yaml.YAMLError:
            continue
    return "a tag (!!) that its value does not fit", "remove the tag"


def _scalars(node: Any) -> Iterator[yaml.ScalarNode]:
    pending, seen = [node], set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.ScalarNode):
            yield one
        elif isinstance(one, yaml.MappingNode):
            pending += [part for pair in one.value for part in pair]
        else:
            pending += one.value


def _of(mark: Any) -> str:
    return str(Place(mark.line + 1, mark.column + 1))


def _plain(problem: str) -> str:
    return problem.replace("<byte string>", "the file").replace("<unicode string>", "the file")


def _place(text: str, at: int) -> Place:
    before = text[:at]
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
