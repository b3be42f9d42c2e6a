"""Licences require the notice of a work in every derived work; artifacts are derived works."""

from robot_assets.lineage.license_notice import carry_notice


def test_the_notice_of_an_input_is_copied_into_the_output(tmp_path):
    for name, text in {"one": "by one", "two": "by two", "three": None, "output": None}.items():
        (tmp_path / name).mkdir()
        if text:
            (tmp_path / name / "NOTICE").write_text(text)
    carry_notice([tmp_path / "three"], tmp_path / "output")
    assert not list((tmp_path / "output").iterdir())
    carry_notice([tmp_path / "one", tmp_path / "two", tmp_path / "one"], tmp_path / "output")
    assert (tmp_path / "output" / "NOTICE").read_text() == "by one\nby two"
    carry_notice([tmp_path / "one"], tmp_path / "output")
    assert (tmp_path / "output" / "NOTICE").read_text() == "by one\nby two"
