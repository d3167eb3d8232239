"""At least two sizes where the original leaves them free."""

import numpy as np

from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.feeding import choose_feeding
from bnfold.verifier.run.session import Session
from tests.verifier.small_models import FLOAT, model, node


def shapes(declared, nodes=None, **options):
    data = model(nodes or [node("Relu", "x", "y")], {"x": (FLOAT, declared)}, {"y": (FLOAT, None)})
    feeding = choose_feeding(Session(Model.read("a model", data)), VerifyOptions(**options))
    return [setting.shapes["x"] for setting in feeding.settings]


def test_fixed_sizes_are_one_setting():
    assert shapes([1, 3, 8, 8]) == [(1, 3, 8, 8)]


def test_batch_and_extents_change():
    assert shapes(["n", 3, "h", "w"]) == [(1, 3, 64, 64), (3, 3, 96, 96)]


def test_one_symbol_keeps_one_size():
    assert shapes(["n", 3, "s", "s"])[1] == (3, 3, 96, 96)


def test_what_the_caller_says_stays():
    assert shapes(["n", 3, "h", "w"], dims={"h": 10}) == [(1, 3, 10, 64), (3, 3, 10, 96)]
    assert shapes(["n", 3, "h", "w"], shapes={"x": (2, 3, 9, 9)}) == [(2, 3, 9, 9)]


def test_one_sample_is_one_setting():
    assert shapes(["n", 4], samples=1) == [(1, 4)]


def test_a_difference_at_another_batch_size_is_found():
    # The largest and the smallest of one row are the same; of three rows they are not.
    def rows(op_type):
        nodes = [node(op_type, "x", "m", axes=[0], keepdims=1), node("Expand", "m s", "y")]
        weights = {"s": np.array([3, 4])}
        return model(nodes, {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, [3, 4])}, weights)

    assert not check(rows("ReduceMax"), rows("ReduceMin")).passed
    assert check(rows("ReduceMax"), rows("ReduceMax")).passed
