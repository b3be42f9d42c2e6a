"""Entries for imported data are inserted into params.yaml; everything that a person wrote stays as it is."""

from pathlib import Path

import pytest

from robot_assets.core.errors import ParamsError
from robot_assets.core.yaml_documents import load_yaml
from robot_assets.pipeline import scaffold
from robot_assets.pipeline.params import load_params
from robot_assets.pipeline.project import Project

TARGETS = """\
targets:
  cpu:
    kind: onnxruntime
    gate: {latency_ms_p95_max: 40}
"""
OTHER = """\
datasets:
  street:   # the first one
    source: {kind: dvc, pointer: data/raw/street.dvc}
    classes: [car]
    split: {train: 0.6, val: 0.2, test: 0.2}
"""
CLASSES = ("ball", "goal post")


def project(root: Path, text: str | bytes) -> Project:
    (root / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return Project(root)


def add(
    root: Path, text: str | bytes, classes=CLASSES, size=(640, 480), images=60, sessions=4
) -> tuple[str, list[str]]:
    """The text of params.yaml after an import of ``yard``, and what was said."""
    said = scaffold.write(project(root, text), "yard", scaffold.Figures(classes, size, images, sessions))
    return (root / "params.yaml").read_bytes().decode(), said


def read(text: str) -> dict:
    return load_yaml(text.encode())


def rest(text: str, before: str) -> str:
    """What ``text`` has more than ``before``, of which every character has to be there, in order."""
    letters = iter(text)
    assert all(letter in letters for letter in before), "a character is gone"
    return text


TEXTS = {
    "empty mappings": "store: {url: s}\n\ndatasets: {}   # none yet\nmodels: {}\n" + TARGETS,
    "empty sections": "store: {url: s}\ndatasets:\nmodels:   # none yet\n\n" + TARGETS,
    "sections without entries but with comments": "store: {url: s}\ndatasets:\n  # yard: soon\nmodels:\n" + TARGETS,
    "no sections": "store: {url: s}\n" + TARGETS,
    "no targets": "store: {url: s}\n",
    "entries": "# top\nstore: {url: s}\n" + OTHER + "  # tram: not yet\n\n# the robots\n" + TARGETS + "# the end",
    "four blanks": "store:\n    url: s\ndatasets:\n    street:\n        source:\n            kind: dvc\n            "
    "pointer: street.dvc\n        classes:\n        - car\n        split:\n            train: 0.6\n"
    "            val: 0.2\n            test: 0.2\n" + TARGETS,
    "no line break at the end": "store: {url: s}\n" + TARGETS + OTHER.rstrip("\n"),
    "Windows": ("store: {url: s}\n" + OTHER + "\n" + TARGETS).replace("\n", "\r\n"),
    "flow": "{store: {url: s}, datasets: {}, targets: {cpu: {kind: onnxruntime, gate: {latency_ms_p95_max: 40}}}}\n",
    "flow sections": "store: {url: s}\ndatasets: {street: {source: {kind: dvc, pointer: a.dvc}, classes: [car],\n"
    "  split: {train: 0.6, val: 0.2, test: 0.2}}, }\n" + TARGETS,
    "a byte order mark": "\ufeffstore: {url: s}\n" + TARGETS,
    "a document start and end": "---\nstore: {url: s}\n" + TARGETS + OTHER + "...\n",
    "an alias last": "store: {url: s}\n" + TARGETS + OTHER.replace("split: {", "split: &split {")
    + "  lane:\n    source: {kind: dvc, pointer: b.dvc}\n    classes: [car]\n    split: *split\n",
    "a block of text last": "store: {url: s}\n" + TARGETS + OTHER
    + "    exempt_classes:\n      car: |\n        rare\n\n",
    "tabs between": "store:\t{url: s}\t# x\n" + TARGETS.replace(": o", ":\to"),
    "indented": "".join(f"  {line}\n" for line in ("store: {url: s}\n" + OTHER + TARGETS).splitlines()),
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_entries_are_added_and_everything_else_stays(tmp_path, text):
    before = read(text)
    after, said = add(tmp_path, text)
    assert said[:2] == [f"added {name} to {tmp_path}/params.yaml" for name in ("datasets.yard", "models.yard_detector")]
    document = read(after)
    assert document["datasets"].pop("yard")["classes"] == list(CLASSES)
    assert document["models"].pop("yard_detector")["targets"] == ["cpu"]
    kept = {section: entries for section, entries in document.items() if entries or section in before}
    if "targets" not in before:
        assert kept.pop("targets") == {"cpu": scaffold.TARGET}
    assert kept == {section: entries or {} for section, entries in before.items()}
    rest(after, text.replace(" {}", "") if "datasets: {}" in text else text)
    assert ("\r\n" in text) == ("\r\n" in after)
    assert "\r\n" not in text or "\n" not in after.replace("\r\n", "")
    assert load_params(tmp_path / "params.yaml").models["yard_detector"].dataset == "yard"


def test_an_entry_reads_like_the_others(tmp_path):
    after, _ = add(tmp_path, "store: {url: s}\n" + OTHER + "  # tram: not yet\n\n" + TARGETS)
    assert after.startswith(
        "store: {url: s}\n" + OTHER + "  # tram: not yet\n"
        "  yard:\n"
        "    source: {kind: dvc, pointer: data/raw/yard.dvc}\n"
        "    classes: [ball, goal post]\n"
        "    split: {train: 0.6, val: 0.2, test: 0.2, seed: 0}\n"
        "    calibration_images: 18\n"
        "\n" + TARGETS + "models:\n"
        "  yard_detector:\n"
        "    task: detection\n"
        "    dataset: yard\n"
        "    targets: [cpu]\n"
        "    network: {input_height: 288, input_width: 384, width: 24, depth: 1}\n"
    )


def test_the_printed_entries_are_those_that_are_written(tmp_path):
    printed = scaffold.entries(
        project(tmp_path, TEXTS["empty mappings"]), "yard", scaffold.Figures(CLASSES, (640, 480), 60, 4)
    )
    after, _ = add(tmp_path, TEXTS["empty mappings"])
    document = read(after)
    assert read(printed) == {section: document[section] for section in ("datasets", "models")}


NAMES = [
    "no", "Yes", "on", "OFF", "null", "~", "1", "1.5",
    "0x1f", "1e5", "22:00", "2026-11-27", "a: b", "#x", "x # y", "- a",
    "it's", "\"q\"", "a,b", "[stop]", "{x}", "&a", "*a", "!t",
    "%d", "@h", "`b`", "|", ">", "?", ": ", "=",
    "<<", "공 모양", "ボール", "naïve", "\\d", "true", "y", "n",
    " lead", "trail ", "tab\tin", "😀", "\u2028",
]  # fmt: skip


def test_class_names_are_read_as_they_were_written(tmp_path):
    after, _ = add(tmp_path, TEXTS["empty mappings"], classes=NAMES)
    assert load_params(tmp_path / "params.yaml").datasets["yard"].classes == tuple(NAMES)
    assert "'no'" in after
    assert "공 모양" in after


@pytest.mark.parametrize("name", NAMES)
def test_each_name_alone_in_a_flow_document(tmp_path, name):
    add(tmp_path, TEXTS["flow"], classes=[name])
    assert load_params(tmp_path / "params.yaml").datasets["yard"].classes == (name,)


@pytest.mark.parametrize("name", ["no", "yes", "on", "null", "true", "y"])
def test_a_data_set_whose_name_yaml_takes_for_something_else(tmp_path, name):
    scaffold.write(project(tmp_path, TEXTS["empty mappings"]), name, scaffold.Figures(CLASSES, (64, 64), 30, 3))
    params = load_params(tmp_path / "params.yaml")
    assert params.models[f"{name}_detector"].dataset == name


def test_a_second_import_changes_nothing_and_says_what_differs(tmp_path):
    after, _ = add(tmp_path, TEXTS["empty mappings"])
    assert add(tmp_path, after)[0] == after
    again, said = add(tmp_path, after, classes=("ball", "no"))
    assert again == after
    assert said[0] == (
        "datasets.yard.classes in params.yaml is [ball, goal post], and the imported data has [ball, 'no']: "
        "correct it there"
    )


def test_another_model_on_the_data_set_is_enough(tmp_path):
    after, _ = add(tmp_path, TEXTS["empty mappings"])
    renamed = after.replace("yard_detector:", "keeper:")
    again, said = add(tmp_path, renamed)
    assert again == renamed
    assert "models.keeper in params.yaml is a model on yard already" in said
    assert scaffold.model_name(Project(tmp_path), "yard") == "keeper"


def test_a_form_without_a_place_for_entries_is_left_alone(tmp_path):
    text = "store: {url: s}\ndatasets: &none {}\nmodels: *none\n" + TARGETS
    with pytest.raises(ParamsError, match="into which no entry can be inserted") as caught:
        add(tmp_path, text)
    assert (tmp_path / "params.yaml").read_text() == text
    assert "yard_detector:" in caught.value.fix


def test_a_link_and_its_mode_stay(tmp_path):
    (tmp_path / "shared.yaml").write_text(TEXTS["no sections"])
    (tmp_path / "shared.yaml").chmod(0o640)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "params.yaml").symlink_to("../shared.yaml")
    scaffold.write(Project(tmp_path / "p"), "yard", scaffold.Figures(CLASSES, (64, 64), 30, 3))
    assert (tmp_path / "p" / "params.yaml").is_symlink()
    assert (tmp_path / "shared.yaml").stat().st_mode & 0o777 == 0o640
    assert "yard_detector" in (tmp_path / "shared.yaml").read_text()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (384, 288)),
        ((304, 400), (288, 352)),
        ((1920, 1080), (416, 256)),
        ((64, 64), (64, 64)),
        ((9000, 50), (2048, 64)),
        ((1, 1), (64, 64)),
    ],
)
def test_the_network_has_the_shape_of_the_images(tmp_path, size, expected):
    add(tmp_path, TEXTS["no sections"], size=size)
    network = load_params(tmp_path / "params.yaml").models["yard_detector"].network
    assert (network.input_width, network.input_height) == expected


@pytest.mark.parametrize(("images", "sessions"), [(1, 1), (3, 3), (12, 3), (20_000, 90)])
def test_split_and_calibration_are_what_the_data_can_satisfy(tmp_path, images, sessions):
    add(tmp_path, TEXTS["no sections"], images=images, sessions=sessions)
    params = load_params(tmp_path / "params.yaml")
    entry = params.datasets["yard"]
    assert 1 <= entry.calibration_images <= max(1, images * entry.split.train / 2)
    assert 16 <= params.models["yard_detector"].training.epochs <= 60


def test_the_model_is_on_the_targets_that_this_machine_builds(tmp_path):
    orin = "  orin: {kind: tensorrt, platform: reported, gate: {latency_ms_p95_max: 8}}\n"
    after, _ = add(tmp_path, "store: {url: s}\n" + TARGETS + orin)
    assert read(after)["models"]["yard_detector"]["targets"] == ["cpu"]


def test_masks_get_a_data_set_with_its_task_and_a_segmenter(tmp_path):
    figures = scaffold.Figures(("road", "kerb"), (640, 480), 60, 4, "segmentation")
    scaffold.write(project(tmp_path, TEXTS["empty mappings"]), "yard", figures)
    params = load_params(tmp_path / "params.yaml")
    assert params.datasets["yard"].task == params.models["yard_segmenter"].task == "segmentation"
    assert scaffold.model_name(Project(tmp_path), "street", "segmentation") == "street_segmenter"


def test_a_data_set_of_another_task_is_named_and_not_changed(tmp_path):
    figures = scaffold.Figures(("ball", "goal post"), (640, 480), 60, 4)
    scaffold.write(project(tmp_path, TEXTS["empty mappings"]), "yard", figures)
    before = (tmp_path / "params.yaml").read_bytes()
    masks = scaffold.Figures(("ball", "goal post"), (640, 480), 60, 4, "segmentation")
    said = scaffold.write(Project(tmp_path), "yard", masks)
    assert any("datasets.yard.task in params.yaml is detection" in line for line in said)
    assert (tmp_path / "params.yaml").read_bytes() == before
