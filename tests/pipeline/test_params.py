"""params.yaml is parsed once, into frozen models, and a mistake is named with its key."""

from copy import deepcopy

import pytest

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import load_params, parse_params
from robot_assets.tasks.registry import task_of
from tests.sample_params import sample_document


@pytest.fixture
def document() -> dict:
    return sample_document()


def test_the_parameters_of_the_repository_load(repository):
    assert build_graph(load_params(repository / "params.yaml"))


def test_an_unknown_key_is_refused_with_its_path_and_the_near_miss(document):
    document["models"]["sidewalk_detector"]["training"]["epoch"] = 3
    with pytest.raises(ParamsError, match=r"models\.sidewalk_detector\.training\.epoch: unknown key.*'epochs'"):
        parse_params(document)


def test_every_mistake_is_listed_at_once(document):
    document["datasets"]["sidewalk"]["split"]["val"] = 0.5
    document["targets"]["cpu"]["threads"] = 0
    with pytest.raises(ParamsError) as caught:
        parse_params(document)
    assert "datasets.sidewalk.split: train + val + test is 1.35" in str(caught.value)
    assert "targets.cpu.threads" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("models", "sidewalk_detector", "dataset"),
            "pavement",
            "unknown data set 'pavement'; data sets: robocup, sidewalk",
        ),
        (("models", "sidewalk_detector", "targets"), ["orin"], "unknown target 'orin'; targets: cpu"),
        (("datasets", "sidewalk", "classes"), ["car", "car"], "duplicate name"),
        (("datasets", "sidewalk", "classes"), ["car", "tram"], "the simulation has"),
        (("datasets", "sidewalk", "exempt_classes"), {"tram": "rare"}, "which is not in classes"),
        (("datasets", "robocup", "source", "pointer"), "../elsewhere.dvc", "inside the project"),
        (("datasets", "robocup", "source", "pointer"), "/etc/x.dvc", "inside the project"),
        (("datasets", "robocup", "source", "kind"), "ftp", "datasets.robocup.source"),
        (("models", "sidewalk_detector", "training", "learning_rate"), float("nan"), "learning_rate"),
        (("models", "sidewalk_detector", "network", "input_width"), 250, "multiple of"),
    ],
)
def test_a_value_that_contradicts_the_rest_is_refused(document, path, value, message):
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ParamsError, match=message):
        parse_params(document)


ORIN = {"kind": "tensorrt", "platform": "reported", "gate": {"latency_ms_p95_max": 8}}


def test_a_jetson_is_a_target_like_any_other(document):
    document["targets"]["orin"] = ORIN
    document["models"]["sidewalk_detector"]["targets"] = ["cpu", "orin"]
    graph = build_graph(parse_params(document))
    cpu, orin = (graph[f"sidewalk_detector/engine/{target}"] for target in ("cpu", "orin"))
    assert cpu.code[0] == orin.code[0] == "robot_assets.pipeline.kinds.engine:run"
    decoder = task_of("detection").own_decoder.code
    assert cpu.code[-len(decoder) :] == orin.code[-len(decoder) :] == decoder
    assert all(".engines.onnxruntime." in entry for entry in cpu.code[1 : -len(decoder)])
    assert all(".engines.tensorrt." in entry for entry in orin.code[1 : -len(decoder)])
    assert orin.params["target"]["precision"] == "int8_fp16"
    assert [gate.name for gate in orin.gates] == [gate.name for gate in cpu.gates]
    assert "platform" not in orin.params["target"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "tensort"}, "kind: unknown kind 'tensort'; did you mean 'tensorrt'? kinds: onnxruntime, tensorrt"),
        ({"kind": None}, "kind: unknown kind"),
        ({"precison": "int8_fp32"}, "precison: unknown key; did you mean 'precision'?"),
        ({"threads": 2}, "threads: unknown key"),
        ({"workspace_mib": 1}, "workspace_mib: needed 16 or more (found 1)"),
        ({"batch": {"max": 2, "optimal": 3}}, "batch: optimal is 3 and max 2"),
        ({"dla": {"core": 2}}, "dla.core: needed 1 or less (found 2)"),
        ({"dla": {}, "batch": {"max": 4}}, "batch.max is 4 with dla"),
        ({"dla": {}, "precision": "int8_fp32"}, "precision is int8_fp32 with dla"),
        ({"dla": {}, "weight_stripped": True}, "weight_stripped is true with dla"),
    ],
)
def test_a_mistake_in_a_target_is_named_with_its_key(document, changes, message):
    document["targets"]["tensorrt"] = ORIN | changes  # a name that is also a kind
    with pytest.raises(ParamsError) as caught:
        parse_params(document)
    assert "targets.tensorrt." in caught.value.found or "targets.tensorrt: " in caught.value.found
    assert message in caught.value.found


@pytest.mark.parametrize("name", ["raw", "datasets", "platform", "profile"])
def test_a_model_whose_assets_would_be_taken_for_others_is_refused(document, name):
    document["models"][name] = deepcopy(document["models"]["sidewalk_detector"])
    with pytest.raises(ParamsError, match=rf"models\.{name}: .*another name"):
        parse_params(document)


@pytest.mark.parametrize("name", ["Side-Walk", "side walk", "../x", "9lives", ""])
def test_names_that_cannot_be_asset_keys_and_paths_are_refused(document, name):
    document["models"][name] = deepcopy(document["models"]["sidewalk_detector"])
    with pytest.raises(ParamsError, match="lower-case letters"):
        parse_params(document)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("store: {url: a}\nstore: {url: b}\n")
    with pytest.raises(ParamsError, match="duplicate key 'store'"):
        load_params(path)


def test_a_missing_file_and_bad_yaml_say_what_to_do(tmp_path):
    with pytest.raises(ParamsError, match="fix:"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("store: [")
    with pytest.raises(ParamsError, match=r"the bracket \[ that opens at line 1, column 8 is not closed"):
        load_params(tmp_path / "params.yaml")


def test_parameters_cannot_be_changed_after_parsing(document):
    params = parse_params(document)
    with pytest.raises(Exception, match="frozen"):
        params.store.url = "elsewhere"


@pytest.mark.parametrize(
    ("path", "key", "words"),
    [
        (("models", "sidewalk_detector", "training"), "batch-size", "; did you mean 'batch_size'?"),
        (("models", "sidewalk_detector", "training"), "learning_rat", "; did you mean 'learning_rate'?"),
        (("models", "sidewalk_detector"), "epochs", "; it belongs below training"),
        (("models", "sidewalk_detector"), "input_width", "; it belongs below network"),
        (("datasets", "robocup", "source"), "revison", "; did you mean 'revision'?"),
        (("targets", "cpu"), "thread", "; did you mean 'threads'?"),
        (("targets", "cpu"), "latency_ms_p95_max", "; it belongs below gate"),
        (("targets", "cpu", "gate"), "latency_ms_p59_max", "; did you mean 'latency_ms_p"),
        ((), "dataset", "; did you mean 'datasets'?"),
        ((), "xyzzy", ": unknown key"),
    ],
)
def test_an_unknown_key_has_the_near_miss_of_its_place(document, path, key, words):
    place = document
    for step in path:
        place = place[step]
    place[key] = 1
    with pytest.raises(ParamsError) as caught:
        parse_params(document)
    assert f"{'.'.join((*path, key))}: unknown key" in caught.value.found
    assert words in caught.value.found


def test_what_yaml_reads_as_another_type_is_to_be_quoted_as_it_was_typed(tmp_path, repository):
    text = (
        (repository / "params.yaml").read_text().replace("[ball, obstacle, human, parking, goal post]", "[no, 12, ~]")
    )
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError) as caught:
        load_params(tmp_path / "params.yaml")
    line = text.splitlines().index("    classes: [no, 12, ~]") + 1
    for index, typed in enumerate(("no", "12", "~")):
        needed = f"needed a string: YAML reads {typed} as another type; write it in quotes"
        assert f"line {line}: datasets.robocup.classes.{index}: {needed}" in caught.value.found
    assert caught.value.fix == f"correct line {line} of {tmp_path}/params.yaml"


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("threads: 1", "threads: yes", "targets.cpu.threads"),
        ("accuracy_drop_points_max: 1.0", "accuracy_drop_points_max: on", "targets.cpu.gate.accuracy_drop_points_max"),
        ("seed: 0", "seed: true", "datasets.sidewalk.split.seed"),
    ],
)
def test_a_truth_value_is_not_a_number(tmp_path, repository, before, after, place):
    text = (repository / "params.yaml").read_text()
    assert before in text
    (tmp_path / "params.yaml").write_text(text.replace(before, after, 1))
    with pytest.raises(ParamsError) as caught:
        load_params(tmp_path / "params.yaml")
    assert f"{place}: needed a number (found {after.partition(': ')[2]})" in caught.value.found


def test_conflict_markers_are_named_with_a_fix_that_works_in_that_state(tmp_path):
    (tmp_path / "params.yaml").write_text("store:\n<<<<<<< HEAD\n  url: a\n=======\n  url: b\n>>>>>>> other\n")
    with pytest.raises(ParamsError, match="conflict markers of git, the first in line 2") as caught:
        load_params(tmp_path / "params.yaml")
    assert caught.value.fix.startswith("git status ")


@pytest.mark.parametrize(("text", "what"), [("", "is empty"), ("- a\n", "has no keys"), ("just text\n", "has no keys")])
def test_another_document_is_named(tmp_path, text, what):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=what):
        load_params(tmp_path / "params.yaml")


def test_sections_whose_entries_are_all_commented_out_are_empty(tmp_path):
    (tmp_path / "params.yaml").write_text("store: {url: a}\ndatasets:\n  # yard: ...\nmodels:\ntargets:\n")
    params = load_params(tmp_path / "params.yaml")
    assert (params.datasets, params.models, params.targets) == ({}, {}, {})
