"""BatchNorms in float32 between operators in half precision: folded where the result is rounded to half either way."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators

HALF = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}


def mixed(network, dtype, *between):
    """Conv in half precision, Cast up, these operators on float32, Cast down, Conv in half precision."""
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3, dtype=dtype)], "c")
    source = network.node("Cast", ["c"], "wide", to=TensorProto.FLOAT)
    for number, build in enumerate(between):
        source = build(network, source, f"t{number}")
    network.node("Cast", [source], "half", to=HALF[dtype])
    network.node("Conv", ["half", network.weight("v", 2, 4, 1, 1, dtype=dtype)], "y")
    return network.model({"x": (2, 3, 6, 6)}, ["y"], dtype=dtype)


def batch_norm(network, source, output):
    network.batch_norm(source, output, 4)
    network.constant(f"{output}.mean", network.random.normal(size=4))
    network.constant(f"{output}.var", network.random.uniform(0.5, 2, size=4))
    return output


def op(op_type, **attributes):
    return lambda network, source, output: network.node(op_type, [source], output, **attributes)


def with_constant(op_type):
    return lambda network, source, output: network.node(
        op_type, [source, network.weight(f"{output}.k", 4, 1, 1)], output
    )


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("between", [[batch_norm], [batch_norm, op("Relu")], [op("Relu"), batch_norm]])
def test_a_batch_norm_between_casts_goes_into_the_half_precision_weights(dtype, between):
    model = mixed(Network(), dtype, *between)
    folded = fold(model)
    assert folded.batch_norms_left == 0
    if dtype == "float16":
        assert fold_and_compare(model).batch_norms_left == 0


def test_a_scale_and_a_shift_written_out():
    folded = fold_and_compare(mixed(Network(), "float16", with_constant("Mul"), with_constant("Add")))
    assert operators(folded.model) == ["Conv", "Cast", "Cast", "Conv"]


def test_two_scales_could_overflow_in_between():
    """The first one alone would be folded, and what it makes rounded to float16, though the second makes it small."""
    network = Network()
    network.constant("small", np.full((4, 4), 1e-4))
    model = mixed(network, "float16", batch_norm, lambda n, source, output: n.node("Mul", [source, "small"], output))
    folded = fold(model)
    assert folded.batch_norms_left == 1
    assert folded.kept[0].refusals[0].reason is Reason.NOT_LINEAR


def test_wide_digits_that_somebody_else_reads_are_kept():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3, dtype="float16")], "c")
    network.node("Cast", ["c"], "wide", to=TensorProto.FLOAT)
    batch_norm(network, "wide", "n")
    network.node("Cast", ["n"], "half", to=TensorProto.FLOAT16)
    network.node("Sigmoid", ["n"], "s")
    network.node("Cast", ["s"], "s16", to=TensorProto.FLOAT16)
    network.node("Add", ["half", "s16"], "y")
    folded = fold(network.model({"x": (2, 3, 6, 6)}, ["y"], dtype="float16"))
    assert folded.batch_norms_left == 1
    assert "keeps digits that float16 in front of it does not have" in folded.kept[0].refusals[0].evidence


def test_wide_digits_that_come_from_elsewhere_are_kept():
    """In front of the Cast are means far from zero: rounded there, little would be left of what the BatchNorm makes."""
    network = Network()
    batch_norm(network, "x", "n")
    network.node("Cast", ["n"], "half", to=TensorProto.FLOAT16)
    network.node("Conv", ["half", network.weight("w", 4, 4, 1, 1, dtype="float16")], "c")
    network.node("Cast", ["c"], "y", to=TensorProto.FLOAT)
    model = network.model({"x": (2, 4, 6, 6)}, ["y"])
    folded = fold(model)
    assert folded.batch_norms_left == 1
    assert "in front of the Cast are digits that float16 does not keep" in folded.kept[0].refusals[-1].evidence


def test_casts_to_integers_let_nothing_pass():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.node("Cast", ["c"], "i", to=TensorProto.INT32)
    network.node("Cast", ["i"], "f", to=TensorProto.FLOAT)
    batch_norm(network, "f", "y")
    model = network.model({"x": (2, 3, 4, 4)}, ["y"])
    onnx.checker.check_model(model)
    assert fold(model).batch_norms_left == 1
