"""Class names of a YOLO source: every file that has them has to agree, and names are taken as they are written."""

from pathlib import Path

import pytest

from robot_assets.core.errors import DataError
from robot_assets.data.importing.yolo.class_names import agreed_names, class_files_of, read_class_files
from robot_assets.data.tree import walk


def names_of(root: Path, **files: str) -> tuple[str, ...]:
    """Class names of a folder with these files; ``__`` in a name is a dot, ``___`` a slash."""
    for name, text in files.items():
        path = root / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    tree = walk(root)
    return agreed_names(root, read_class_files(tree, class_files_of(tree)))


def refused(root: Path, **files: str) -> DataError:
    with pytest.raises(DataError) as error:
        names_of(root, **files)
    assert error.value.needed
    assert error.value.fix
    return error.value


@pytest.mark.parametrize(
    "text",
    [
        "names: [ball, human]\n",
        "names: ['ball', \"human\"]\n",
        "names:\n  - ball\n  - human\n",
        "names: {0: ball, 1: human}\n",
        "names:\n  1: human\n  0: ball\n",
        "nc: 2\nnames: [ball, human]\n",
        "path: ../x\ntrain: images/train\nnames:\n  '0': ball\n  '1': human\n",
        "{names: [ball, human]}",
        "\ufeffnames: [ball, human]\r\n",
    ],
)
def test_both_forms_of_names_in_yaml_are_read(tmp_path: Path, text: str) -> None:
    assert names_of(tmp_path, data__yaml=text) == ("ball", "human")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[no, yes]", ("no", "yes")),
        ("[on, off, y, n]", ("on", "off", "y", "n")),
        ("[True, FALSE]", ("True", "FALSE")),
        ("[0, 1]", ("0", "1")),
        ("[1.0, 1e3, 0x10, 1_000]", ("1.0", "1e3", "0x10", "1_000")),
        ("[2024-01-01, 12:30]", ("2024-01-01", "12:30")),
        ("{0: no, 1: 007}", ("no", "007")),
        ("['null', \"~\"]", ("null", "~")),
    ],
)
def test_names_are_read_as_they_are_written(tmp_path: Path, names: str, expected: tuple[str, ...]) -> None:
    assert names_of(tmp_path, data__yaml=f"names: {names}\n") == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("names: {0: ball, 2: human, 3: post}", "names has no 1; its ids are 0, 2, 3"),
        ("names: {1: ball, 2: human}", "names has no 0; its ids are 1, 2"),
        ("names: {0: ball, 0: human}", "names has 0 twice, again in line 1"),
        ("names: {-1: ball, 0: human}", "names has the key '-1'"),
        ("names: {ball: 0, human: 1}", "names has the key 'ball'"),
        ("names: {0: ball,\n 1.5: human}", "line 2: names has the key '1.5'"),
        ("names: {? [a] : ball}", "names has the key of several values"),
        ("names: [ball, null]", "the name 'null', which YAML reads as null"),
        ("names: [ball, ~]", "the name '~', which YAML reads as null"),
        ("names:\n  - ball\n  -\n", "line 3: an empty name"),
        ("names: [ball, '']", "line 1: an empty name"),
        ("names: [ball, ball]", "the name 'ball' twice, in line 1 and line 1"),
        ("names: [ball, [human]]", "a list or mapping as a class name"),
        ("names: [{0: ball}]", "a list or mapping as a class name"),
        ("names: ball, human", "names is one value, 'ball, human'"),
        ("names: []", "no class name"),
        ("names: {}", "no class name"),
        ("names:", "names is one value, ''"),
        ("names: [a]\nnames: [b]", "names is given twice, again in line 2"),
        ("- ball\n- human", "not a mapping of keys to values"),
        ("names: [ball, human", "not valid YAML"),
        ("names:\n\t- ball\n", "line 2: a tab; YAML is indented by spaces: '- ball'"),
        ("names: [a]\n---\nnames: [b]\n", "not valid YAML"),
        ('names: ["a\\u202eb"]', "unprintable characters in the name 'a\\u202eb'"),
        ("names: [a\x1b]", "characters that YAML does not allow"),
        ("a: " + "[" * 3000, "nested too deep"),
        ("nc: 3\nnames: [ball, human]", "nc is 3, and names has 2: 'ball', 'human'"),
    ],
)
def test_a_faulty_data_yaml_is_named_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    error = refused(tmp_path, data__yaml=text)
    assert f"{tmp_path}/data.yaml" in error.found
    assert found in error.found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no class name"),
        ("ball\n\nhuman\n", "line 2: an empty name"),
        ("ball\nhuman\nball\n", "the name 'ball' twice, in line 1 and line 3"),
        ("ball\nhu\x1b[31mman\n", "line 2: unprintable characters in the name 'hu\\x1b[31mman'"),
        ("ball\n\u200bhuman\n", "line 2: unprintable characters"),
    ],
)
def test_a_faulty_text_file_is_named_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    error = refused(tmp_path, classes__txt=text)
    assert f"{tmp_path}/classes.txt" in error.found
    assert found in error.found


def test_lines_of_windows_a_byte_order_mark_and_trailing_blanks_are_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "obj.names").write_bytes(b"\xef\xbb\xbfball\r\ngoal post \r\n\r\n")
    assert names_of(tmp_path) == ("ball", "goal post")


def test_names_in_utf16_with_its_mark_are_read_and_other_encodings_are_named(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("ball\r\n사람\r\n".encode("utf-16"))
    assert names_of(tmp_path) == ("ball", "사람")
    (tmp_path / "classes.txt").write_bytes("ball\nécran\n".encode("latin-1"))
    assert "classes.txt: not UTF-8 text" in refused(tmp_path).found


def test_names_in_two_unicode_forms_are_one_name(tmp_path: Path) -> None:
    assert names_of(tmp_path, classes__txt="e\u0301cran\n", data__yaml="names: [\u00e9cran]\n") == ("\u00e9cran",)
    assert "twice" in refused(tmp_path, classes__txt="e\u0301cran\n\u00e9cran\n").found


def test_files_that_agree_are_one_list(tmp_path: Path) -> None:
    names = names_of(
        tmp_path,
        classes__txt="no\nyes\n",
        obj__names="no\nyes\n",
        data__yaml="nc: 2\nnames: [no, yes]\n",
        labels___classes__txt="no\nyes\n",
        obj__data="classes = 2\nnames = data/obj.names\n",
        notes__json='{"categories": [{"id": 1, "name": "yes"}, {"id": 0, "name": "no"}]}',
    )
    assert names == ("no", "yes")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            {"classes__txt": "human\nball\n", "data__yaml": "names: [ball, human]"},
            "classes.txt and data.yaml disagree: class 0 is 'human' in classes.txt and 'ball' in data.yaml",
        ),
        (
            {"obj__names": "ball\nhuman\n", "coco128__yaml": "names: [ball, human, post]"},
            "coco128.yaml and obj.names disagree: only coco128.yaml has 'post'",
        ),
        (
            {"day1___classes__txt": "ball\nhuman\n", "day2___classes__txt": "ball\nperson\n"},
            "day1/classes.txt and day2/classes.txt disagree: class 1 is 'human' in day1/classes.txt",
        ),
        (
            {"train____darknet__labels": "a\nb\n", "valid____darknet__labels": "b\na\n"},
            "disagree: class 0 is 'a'",
        ),
        (
            {
                "classes__txt": "a\nb\n",
                "notes__json": '{"categories": [{"id": 0, "name": "b"}, {"id": 1, "name": "a"}]}',
            },
            "classes.txt and notes.json disagree",
        ),
        (
            {"obj__names": "a\nb\n", "obj__data": "classes = 3\n"},
            "obj.data: classes is 3, and names of obj.names has 2",
        ),
        ({"classes__txt": "a\nb\n", "data__yaml": "nc: 1\n"}, "data.yaml: nc is 1, and names of classes.txt has 2"),
    ],
)
def test_files_that_disagree_are_named_with_their_difference(tmp_path: Path, files: dict[str, str], found: str) -> None:
    assert found in refused(tmp_path, **files).found


def test_files_without_class_names_are_no_source_of_them(tmp_path: Path) -> None:
    names = names_of(
        tmp_path,
        obj__names="ball\n",
        hyp__yaml="lr0: 0.1\n",
        broken__yaml="a: [",
        notes__json='["no categories"]',
        package__json="{",
    )
    assert names == ("ball",)


def test_a_source_without_class_names_is_refused_with_the_command_that_writes_them(tmp_path: Path) -> None:
    error = refused(tmp_path, a__txt="0 0.5 0.5 0.1 0.1\n")
    assert "has no class names" in error.found
    assert error.fix.startswith("printf '%s\\n' NAME_0 NAME_1 > ")


def test_a_pointer_of_git_lfs_is_no_list_of_names(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    error = refused(tmp_path, obj__names=pointer)
    assert "obj.names: a pointer of Git LFS" in error.found
    assert error.fix == f"git -C {tmp_path} lfs pull"
