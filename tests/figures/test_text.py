"""Text in any script in charts and on images. Warnings are errors here, and Matplotlib's log has to stay empty."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from robot_assets.figures.balance import class_balance, session_split
from robot_assets.figures.comparison import per_class_comparison, variant_comparison
from robot_assets.figures.curves import training_curves
from robot_assets.figures.detections import draw_detections, labelled_sheet
from robot_assets.figures.latency import latency_histogram
from robot_assets.figures.sensitivity import layer_losses
from robot_assets.figures.sheet import contact_sheet
from robot_assets.figures.style import CARD, rgb_colour
from robot_assets.figures.text import draw_text, drawable, font_families, line_height, shortened, text_width
from tests.figures.test_timeline import lane

SCRIPTS = {
    "Hangul": ("공", "사", "골대"),
    "Kana": ("あ", "ア", "コーン"),
    "Han": ("球", "锥", "交通錐"),
    "Greek": ("Ω", "λ", "Μπάλα"),
    "Cyrillic": ("Ж", "ё", "Мяч"),
    "Arabic": ("ب", "م", "كرة"),
    "Hebrew": ("ש", "ל", "כדור"),
    "Devanagari": ("अ", "श", "गेंद"),
    "Thai": ("ก", "ย", "ลูกบอล"),
    "Tamil": ("அ", "க", "பந்து"),
    "emoji": ("🚗", "💡", "🚗💡"),
}
NAMES = [word for _, _, word in SCRIPTS.values()]


def drawn(text: str) -> np.ndarray:
    canvas = Image.new("RGB", (200, line_height(20) + 12), "white")
    draw_text(canvas, (4, 6), text, 20, (0, 0, 0))
    return np.asarray(canvas)


@pytest.fixture(autouse=True)
def _log_is_empty(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="matplotlib"):
        yield
    assert not caplog.records


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_has_glyphs_and_not_the_same_box_for_each_character(script):
    one, other, word = SCRIPTS[script]
    assert drawable(word) == word
    assert (drawn(one) == 0).any()
    assert not np.array_equal(drawn(one), drawn(other))


def test_a_character_without_a_glyph_and_a_control_character_are_escaped():
    assert drawable("a\nb\x1b[31m\U00012345") == r"a\nb\x1b[31m\U00012345"
    assert drawable("\u202egnp.exe \ud800") == r"\u202egnp.exe \ud800"
    assert (drawn(drawable("\n\u202e\ud800")) == 0).any()


def test_decomposed_text_of_macos_is_drawn_as_the_composed_one():
    assert drawable("\u1100\u1169\u11bc e\u0301") == "공 é"


def test_a_combining_mark_alone_and_a_variation_selector_are_drawn_without_a_box():
    assert drawable("\u0301a") == "\u0301a"
    assert drawable("💡\ufe0f") == "💡"


@pytest.mark.parametrize("name", ["공" * 40, "temporary construction barrier 17", "كرة " * 30, "कि" * 40, "x" * 50_000])
def test_a_long_name_is_shortened_in_the_middle_to_its_width(name):
    short = shortened(name, 100, 12)
    assert text_width(short, 12) <= 100
    start, end = short.split("…")
    assert drawable(name).startswith(start)
    assert drawable(name).endswith(end)
    assert start


def test_an_escape_is_not_cut_and_a_mark_stays_with_its_letter():
    parts = {shortened("\n" * 40, width, 12).replace(r"\n", "") for width in range(20, 120)}
    assert parts == {"…"}
    for width in range(20, 120):
        assert shortened("कि" * 40, width, 12).replace("कि", "") == "…"


def test_a_name_that_fits_and_a_width_without_space():
    assert shortened("goal post", 200, 12) == "goal post"
    assert shortened("goal post", 0, 12) == "…"
    assert shortened("", 0, 12) == ""


CHARTS = {
    "balance": lambda names: class_balance({"train": {name: 3 + i for i, name in enumerate(names)}, names[0]: {}}),
    "one class": lambda names: class_balance({"train": {names[0]: 3}}),
    "sessions": lambda names: session_split({"train": dict.fromkeys(names, 9), "test": {names[0]: 2}}),
    "classes": lambda names: per_class_comparison({names[0]: dict.fromkeys(names, 0.5)}, names),
    "variants": lambda names: variant_comparison(dict.fromkeys(names, 0.5), names[1], measure="mIoU"),
    "curves": lambda names: training_curves(
        [{"epoch": 1, f"loss_{names[0]}": 0.5, "val_map50": 0.1}], {"val_map50": names[0]}
    ),
    "latency": lambda names: latency_histogram({name: [1.0 + i] for i, name in enumerate(names)}, 4.0),
    "layers": lambda names: layer_losses(
        dict.fromkeys(names, 1.5),
        errors=dict.fromkeys(names, 0.1),
        in_float=names[:1],
        latency_added={},
        images=1,
        measure="mIoU",
    ),
}
HOSTILE = ["$x_1$ ${", "a_b^c \\frac", "line\nbreak\ttab", "\x1b[31mred\x07", "\u202eright", "\ud800", "", " "]


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize(
    "names", [NAMES, HOSTILE, ["공" * 99 + "1", "W" * 99]], ids=["scripts", "hostile characters", "long"]
)
def test_names_of_any_kind_stay_on_the_card(chart, names, pixels):
    image = pixels(CHARTS[chart](names))
    border = np.concatenate([image[:, :5].reshape(-1, 3), image[:, -5:].reshape(-1, 3)])
    assert (border == rgb_colour(CARD)).all(), "a name is cut off at the edge of the card"


def test_a_chart_has_glyphs_and_not_the_same_box_for_each_name(pixels):
    def names_drawn(name):
        return pixels(class_balance({"train": {name: 3, "ball": 9}}))[115:150, :125]

    for one, other, _ in SCRIPTS.values():
        assert not np.array_equal(names_drawn(one), names_drawn(other))


def test_a_dollar_sign_starts_no_formula_in_any_text(pixels):
    plain, formula = (pixels(class_balance({"train": {"ball": 3}, split: {"ball": 1}})) for split in ("xx", "$x$"))
    assert plain.shape == formula.shape
    assert class_balance({"$\\undefined{": {"ball": 3}})


@pytest.mark.parametrize("names", [NAMES, HOSTILE, ["공" * 99 + "1", "W" * 9999]])
def test_classes_of_any_kind_are_drawn_on_images(names, photo, pixels):
    boxes = [[20 + i, 30, 60 + i, 70] for i in range(len(names))]
    assert (draw_detections(photo, boxes, range(len(names)), None, names, scale=4) != 0).any()
    assert pixels(labelled_sheet([photo], [boxes], [range(len(names))], names)).shape[1] == 840
    assert pixels(contact_sheet([photo] * len(names), 3, names)).shape[1] == 840


def test_a_long_class_keeps_its_tag(photo):
    def tagged(name):
        return (draw_detections(photo, [[20, 30, 60, 70]], [0], None, [name], scale=4) == 0).all(axis=-1).sum()

    assert tagged("W" * 500 + "7") > tagged("W")


def test_names_of_engines_in_any_script_are_drawn_on_the_timeline():
    from dataclasses import replace

    from robot_assets.figures.timeline import engine_timeline

    assert engine_timeline([replace(lane(), name="골대 감지기" * 20, note="$로봇_{")], "골대", "월요일")


def test_the_fonts_of_matplotlib_are_ours_whatever_the_system_has():
    from matplotlib.font_manager import fontManager

    files = {entry.fname for entry in fontManager.ttflist if entry.name in font_families()}
    assert files
    assert all("site-packages" in file for file in files)


def test_a_read_only_home_is_not_mentioned(tmp_path):
    code = "from robot_assets.figures.balance import class_balance; class_balance({'train': {'\uacf5': 3}})"
    (tmp_path / "file").touch()
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(tmp_path / "file" / "home"))
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"} | home
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout + done.stderr == ""


def test_without_the_font_packages_other_scripts_are_escaped():
    code = """
import sys, warnings
warnings.simplefilter("error")
sys.modules.update(noto_cjk_sans_jp_regular=None, manimgx_fonts=None)
from robot_assets.figures.balance import class_balance
from robot_assets.figures.text import drawable
class_balance({"train": {"\uacf5": 3}})
print(ascii(drawable("ball \uacf5")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (r"'ball \\uacf5'", "")
