"""What the tests of placement start from."""

import pytest

from tests.cluster.parameters import cluster_document


@pytest.fixture
def document() -> dict:
    return cluster_document()
