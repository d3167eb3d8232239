"""Models and files that the tests of the API share."""

import pytest

from tests.networks import Network

SHAPE = [2, 3, 8, 8]


@pytest.fixture
def network() -> Network:
    """Conv -> BN -> Sigmoid -> BN: the first folds, the second stays."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "c", pads=[1, 1, 1, 1])
    network.batch_norm("c", "n", 4)
    network.batch_norm(network.node("Sigmoid", ["n"], "s"), "y", 4)
    return network


@pytest.fixture
def model(network):
    return network.model({"x": SHAPE}, ["y"])


@pytest.fixture
def two_convs():
    """Conv -> BN -> Sigmoid -> Conv: large weights (9 KB), small parameters (64 bytes)."""
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 16, 16, 3, 3)], "c"), "n", 16)
    network.node("Conv", [network.node("Sigmoid", ["n"], "s"), network.weight("v", 16, 16, 3, 3)], "y")
    return network.model({"x": [2, 16, 6, 6]}, ["y"])


@pytest.fixture
def folders(tmp_path):
    """One for the input and one for the output."""
    paths = tmp_path / "in", tmp_path / "out"
    for path in paths:
        path.mkdir()
    return paths
