"""A fault of a YAML document is named in the words of a person, with the line and column where it is."""

import pytest

from robot_assets.core.yaml_documents import YamlFault, load_yaml

FAULTS = {
    "a tab": ("a:\n\tb: 1\n", "line 2, column 1: a tab; YAML wants spaces"),
    "a tab in a list": ("a: 1\nb:\n  - x\n\t- y\n", "line 4, column 1: a tab; YAML wants spaces"),
    "a tab behind blanks": ("a:\n  b: 1\n \tc: 2\n", "line 3, column 2: a tab; YAML wants spaces"),
    "a blank of a web page": ("a:\n  b: 1\n \u00a0c: 2\n", "line 3, column 2: the blank U+00A0; YAML wants spaces"),
    "an octal number": ("a: 1\nb: {c: 010}\n", "line 2, column 8: YAML reads 010 as 8"),
    "a number of base 60": ("epochs: 1:30\n", "line 1, column 9: YAML reads 1:30 as 90"),
    "a fraction of base 60": ("rate: -1:30.5\n", "line 1, column 7: YAML reads -1:30.5 as -90.5"),
    "an open bracket": ("a: [1, 2\nb: 3\n", "the bracket [ that opens at line 1, column 4 is not closed"),
    "an open brace": ("a: {x: 1\nb: 2\n", "the bracket { that opens at line 1, column 4 is not closed"),
    "an open bracket at the end": ("a: [", "the bracket [ that opens at line 1, column 4 is not closed"),
    "a bracket too many": ("a: 1\n]\n", "line 2, column 1: a ] without the bracket that opens it"),
    "an open quote": ("a: 'x\nb: 2\n", "the quote that opens at line 1, column 4 is not closed"),
    "text after a quote": ("a: 'b' c\n", "line 1, column 8: text after the closing quote"),
    "less indentation": ("a:\n  b: 1\n c: 2\n", "line 3, column 2: wrong indentation: the entries around it start at"),
    "more indentation": ("a: 1\n  b: 2\n", "line 2, column 4: wrong indentation: the line above has a value already"),
    "a list in a mapping": ("- a\nb: 1\n", "line 2, column 1: a list entry and a key side by side"),
    "a duplicate key": ("a: 1\na: 2\n", "line 2, column 1: duplicate key 'a', which is in line 1 already"),
    "no blank after a colon": ("a:1\nb: 2\n", "no blank after 'a:' in line 1"),
    "two colons": ("a: b: c\n", "line 1, column 5: a second ':' in one line"),
    "no colon": ("abc\nb: 2\n", "'abc' in line 1 has no ':'"),
    "an alias without anchor": ("a: *x\n", "line 1, column 4: *x has no anchor &x before it"),
    "an anchor twice": ("a: &x 1\nb: &x 2\n", "line 2, column 4: the anchor &x is defined twice"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document starts here"),
    "NUL": ("a: 1\x00\n", "line 1, column 5: a NUL character"),
    "a control character": ("a: 1\nb: \x07\n", "line 2, column 4: the control character U+0007"),
    "no date": ("a: 2026-13-45\n", "line 1, column 4: '2026-13-45' looks like a number or a date and is none"),
    "a huge number": (f"a: {'1' * 5000}\n", "looks like a number or a date and is none"),
    "a list as a key": ("[a]: 1\n", "line 1, column 1: a list or mapping as a key"),
    "a foreign tag": ("a: !!python/object/apply:os.getcwd []\n", "is not read here"),
    "an escape": ('a: "x\\qy"\n', "a backslash before 'q' in double quotes is no escape"),
    "a reserved sign": ("a: @x\n", "line 1, column 4: '@' cannot start a value"),
    "a circle": ("a: &a {b: *a}\n", "a value that contains itself"),
    "many brackets": ("[" * 5000, "too many brackets in one another"),
    "conflict markers": (
        "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b\n",
        "conflict markers of git, the first in line 1",
    ),
    "half removed conflict markers": ("a: 1\n=======\nb: 2\n", "conflict markers of git, the first in line 2"),
}


@pytest.mark.parametrize(("text", "what"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_place(text, what):
    with pytest.raises(YamlFault) as caught:
        load_yaml(text.encode())
    assert what in caught.value.what
    assert caught.value.fix
    assert "string>" not in caught.value.what


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named_with_the_command_that_converts_it(encoding):
    with pytest.raises(YamlFault, match="UTF-16") as caught:
        load_yaml("store: {url: x}\n".encode(encoding))
    assert "iconv -f UTF-16" in caught.value.fix


def test_another_encoding_is_named_with_its_byte():
    with pytest.raises(YamlFault, match="line 2, column 4: the byte 0xe9 is not UTF-8"):
        load_yaml(b"a: 1\nb: \xe9\n")


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("", None),
        ("\ufeffa: 1\r\n", {"a": 1}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}\n", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("=: 1\na: '======='\n", {"=": 1, "a": "======="}),
        ("a: [0, 00, 07, 0x1F, 1_000, 1.5, -3, '010']\n", {"a": [0, 0, 7, 31, 1000, 1.5, -3, "010"]}),
        ("a: |\n  <<<<<< six\n", {"a": "<<<<<< six\n"}),
    ],
)
def test_what_is_right_is_read(text, document):
    assert load_yaml(text.encode()) == document
