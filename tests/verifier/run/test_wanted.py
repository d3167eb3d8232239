"""Integers that index something stay inside it, as the graph says."""

import numpy as np
import pytest

from bnfold.verifier import check
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.wanted import wanted_by
from tests.verifier.small_models import FLOAT, INT64, model, node

TABLE = {"table": np.arange(60, dtype=np.float32).reshape(20, 3)}


def bounds(nodes, initializers, outputs=None):
    data = model(nodes, {"i": (INT64, [2, 5])}, outputs or {"y": (FLOAT, [2, 5, 3])}, initializers)
    assert check(data, data).passed
    return wanted_by(Structure(Model.read("a model", data))).bounds


def test_rows_of_a_table():
    assert bounds([node("Gather", "table i", "y")], TABLE) == {"i": 20}


def test_columns_of_a_table():
    assert bounds([node("Gather", "table i", "y", axis=1)], TABLE, {"y": (FLOAT, [20, 2, 5])}) == {"i": 3}


def test_through_what_keeps_values():
    nodes = [node("Cast", "i", "a", to=INT64), node("Transpose", "a", "b"), node("Gather", "table b", "y")]
    assert bounds(nodes, TABLE, {"y": (FLOAT, [5, 2, 3])}) == {"i": 20}


def test_the_smallest_of_several():
    nodes = [node("Gather", "table i", "a"), node("Gather", "small i", "b"), node("Add", "a b", "y")]
    assert bounds(nodes, {**TABLE, "small": np.ones((4, 3), np.float32)}) == {"i": 4}


def test_one_hot():
    values = {"depth": np.array(7), "values": np.array([0, 1], np.float32)}
    assert bounds([node("OneHot", "i depth values", "y")], values, {"y": (FLOAT, [2, 5, 7])}) == {"i": 7}


@pytest.mark.parametrize("op_type", ["Neg", "Abs"])
def test_arithmetic_ends_the_trace(op_type):
    nodes = [node(op_type, "i", "a"), node("Cast", "a", "y", to=FLOAT)]
    assert bounds(nodes, {}, {"y": (FLOAT, [2, 5])}) == {}


def test_an_empty_table_bounds_nothing():
    data = model(
        [node("Gather", "table i", "y")],
        {"i": (INT64, [0])},
        {"y": (FLOAT, [0, 3])},
        {"table": np.ones((0, 3), np.float32)},
    )
    assert wanted_by(Structure(Model.read("a model", data))).bounds == {}
    assert check(data, data).passed
