"""Whatever becomes of params.yaml, it loads or is refused in our words; ``benchmarks.mutations_params`` makes more."""

from benchmarks.mutations_params import FOREIGN, run


def test_every_mutation_loads_or_is_refused_in_our_words(repository):
    outcomes, failures = run(300, 11, repository / "params.yaml")
    assert [(number, failure) for number, failure, _ in failures] == []
    assert outcomes["loaded"] > 20
    assert outcomes["refused"] > 100


def test_words_of_libraries_are_recognized():
    assert FOREIGN.search("datasets.x: Input should be a valid tuple")
    assert FOREIGN.search("found character that cannot start any token in <byte string>")
    assert FOREIGN.search("classes: None")
    assert not FOREIGN.search("datasets.yard.classes: needed a list, such as [ball]")
