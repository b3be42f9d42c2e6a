"""Licences ask that a notice travels with derived works; artifacts are derived works."""

from robot_assets.lineage.license_notice import carry_notice


def test_a_notice_travels_with_what_is_made_of_it(tmp_path):
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
