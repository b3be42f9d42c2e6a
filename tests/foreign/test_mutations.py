"""Any bytes: a damaged file is refused in three parts, or is another valid graph; nothing else happens."""

import numpy as np
import pytest

from robot_assets.core.errors import RobotAssetsError
from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.placement import place
from robot_assets.foreign.reading import read_model
from tests.foreign.graphs import small
from tests.foreign.test_conversion import quantized_by_torch

GRAPHS = {"float": small, "quantized": quantized_by_torch}


def mutated(payload: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one to three others, mostly among the names and types at the start and the end."""
    found = bytearray(payload)
    edges = [*range(600), *range(len(found) - 400, len(found))]
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(found))) if rng.random() < 0.3 else int(rng.choice(edges))
        found[place] = int(rng.integers(256))
    return bytes(found)


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_refused_or_valid(tmp_path, capfd, kind, seed):
    rng, payload = np.random.default_rng(seed), GRAPHS[kind]().SerializeToString()
    path = tmp_path / "net.onnx"
    refused: list[RobotAssetsError] = []
    for _ in range(60):
        path.write_bytes(mutated(payload, rng))
        try:
            found = convert(read_model(path), str(path))
            assert isinstance([*graph_problems(found.model), *quantization_problems(found.model)], list)
            if not found.is_quantized:
                place(found.model)
        except RobotAssetsError as error:
            refused.append(error)
    assert 0 < len(refused) < 60
    for error in refused:
        assert str(path) in error.found or "layer" in error.found
        assert error.needed
        assert error.fix
    assert capfd.readouterr().out == ""
