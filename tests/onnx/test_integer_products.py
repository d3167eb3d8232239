"""Products of com.microsoft with a weight of integers: a map behind goes into the scales and the bias."""

import numpy as np
import pytest

import bnfold
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.kernels import needs_newer_kernels
from tests.networks import Network
from tests.onnx.checks import assert_stays, operators

DOMAIN = "com.microsoft"
COLUMNS, INPUTS = 6, 40


def model_of(network, x=(3, INPUTS), outputs=None, **options):
    shapes = outputs or {"y": [f"d{axis}" for axis in range(len(x))]}
    return network.model({"x": x}, shapes, domains={DOMAIN: 1}, check=False, **options)


def to_float(network, *, per_channel=True, zero=True, bias=True, output="c", source="x"):
    """A MatMulIntegerToFloat behind a DynamicQuantizeLinear."""
    network.node("DynamicQuantizeLinear", [source], ["xq", "xs", "xz"])
    weight, scale, *rest = stored(network, per_channel=per_channel, zero=zero, bias=bias)
    return network.node("MatMulIntegerToFloat", ["xq", weight, "xs", scale, "xz", *rest], output, domain=DOMAIN)


def dynamic(network, *, per_channel=True, zero=True, bias=True, output="c", source="x"):
    weight, scale, *rest = stored(network, per_channel=per_channel, zero=zero, bias=bias)
    return network.node("DynamicQuantizeMatMul", [source, weight, scale, *rest], output, domain=DOMAIN)


def stored(network, *, per_channel, zero, bias):
    cells = (COLUMNS,) if per_channel else ()
    network.constant("w", network.random.integers(0, 256, size=(INPUTS, COLUMNS)), "uint8")
    network.constant("ws", network.random.uniform(0.5, 2.0, size=cells) / 100)
    network.constant("wz", np.full(cells, 128), "uint8")
    return ["w", "ws", "wz" if zero else "", *([network.weight("b", COLUMNS)] if bias else [])]


def of_bits(network, *, bits=4, zero="", bias=True, output="c", source="x", dtype="float32", **attributes):
    """A MatMulNBits with blocks of 16 inputs, of which the last is half full."""
    blocks = -(-INPUTS // 16)
    network.constant("w", network.random.integers(0, 256, size=(COLUMNS, blocks, 2 * bits)), "uint8")
    network.constant("ws", network.random.uniform(0.5, 2.0, size=(COLUMNS, blocks)) / 2**bits, dtype)
    if zero == "packed":
        network.constant("wz", network.random.integers(0, 256, size=(COLUMNS, -(-blocks * bits // 8))), "uint8")
    elif zero:
        network.constant("wz", network.random.uniform(3, 9, size=(COLUMNS, blocks)), dtype)
    inputs = [
        source,
        "w",
        "ws",
        "wz" if zero else "",
        "",
        *([network.weight("b", COLUMNS, dtype=dtype)] if bias else []),
    ]
    sizes = {"N": COLUMNS, "K": INPUTS, "block_size": 16, "bits": bits}
    return network.node("MatMulNBits", inputs, output, domain=DOMAIN, **sizes, **attributes)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("layer", [to_float, dynamic])
@pytest.mark.parametrize("x", [(3, INPUTS), (2, 3, INPUTS)])
def test_a_product_of_bytes(x, layer, per_channel, zero, bias):
    network = Network()
    layer(network, per_channel=per_channel, zero=zero, bias=bias)
    ended(network, len(x))
    model = model_of(network, x)
    folded = fold_and_compare(model)
    assert operators(folded.model) == operators(model)[: -len(ENDS[len(x)])]
    assert stores(folded.model, "w") == stores(model, "w")


ENDS = {2: ["BatchNormalization"], 3: ["Mul", "Add"]}


def ended(network, rank):
    """A BatchNorm, or what it is where the channels stand last."""
    if rank == 2:
        network.batch_norm("c", "y", COLUMNS)
        return
    network.node("Mul", ["c", network.constant("k", [1.5, -2.0, 0.0, 0.5, 3.0, 1e-3])], "m")
    network.node("Add", ["m", network.weight("t", COLUMNS)], "y")


def stores(model, name):
    return next((tensor.raw_data for tensor in model.graph.initializer if tensor.name == name), None)


KERNELS = [(2, ""), (2, "packed"), (2, "floats"), (4, ""), (4, "packed"), (4, "floats"), (8, ""), (8, "packed")]


@needs_newer_kernels
@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("bits", "zero"), KERNELS)
def test_a_product_of_packed_integers(bits, zero, bias, level):
    network = Network()
    of_bits(network, bits=bits, zero=zero, bias=bias, accuracy_level=level)
    network.batch_norm("c", "y", COLUMNS)
    model = model_of(network)
    folded = fold_and_compare(model)
    assert operators(folded.model) == ["MatMulNBits"]
    assert [stores(folded.model, name) for name in ("w", "wz")] == [stores(model, name) for name in ("w", "wz")]


def test_packed_integers_with_scales_in_half_precision():
    network = Network()
    of_bits(network, dtype="float16")
    network.node("Mul", ["c", network.constant("k", [1.5, -2.0, 0.0, 0.5, 3.0, 1.0], "float16")], "m")
    network.node("Add", ["m", network.weight("t", COLUMNS, dtype="float16")], "y")
    assert operators(fold_and_compare(model_of(network, dtype="float16")).model) == ["MatMulNBits"]


@pytest.mark.parametrize("kind", [0, 1])
def test_four_bits_in_one_row_of_blocks(kind):
    """Blocks of MatMulBnb4 run on over the rows of the weight: they must end where those do."""
    network = Network()
    network.constant("w", network.random.integers(0, 256, size=COLUMNS * 32 // 2), "uint8")
    network.constant("ws", network.random.uniform(0.5, 2.0, size=COLUMNS * 2))
    sizes = {"N": COLUMNS, "K": 32, "block_size": 16, "quant_type": kind}
    network.node("MatMulBnb4", ["x", "w", "ws"], "c", domain=DOMAIN, **sizes)
    network.batch_norm("c", "y", COLUMNS)
    assert operators(fold_and_compare(model_of(network, (3, 32))).model) == ["MatMulBnb4", "Add"]


def test_blocks_of_two_rows_take_nothing():
    network = Network()
    network.constant("w", network.random.integers(0, 256, size=COLUMNS * 24 // 2), "uint8")
    network.constant("ws", network.random.uniform(0.5, 2.0, size=COLUMNS * 24 // 16))
    sizes = {"N": COLUMNS, "K": 24, "block_size": 16, "quant_type": 1}
    network.node("MatMulBnb4", ["x", "w", "ws"], "c", domain=DOMAIN, **sizes)
    network.batch_norm("c", "y", COLUMNS)
    assert_stays(model_of(network, (3, 24)), Reason.QUANTIZED, "blocks of 16 numbers belong to several outputs")


def test_a_weight_that_is_packed_for_a_device_takes_nothing():
    network = Network()
    of_bits(network, weight_prepacked=1)
    network.batch_norm("c", "y", COLUMNS)
    assert_stays(model_of(network), Reason.QUANTIZED, "packed for one device")


IN_FRONT = {
    dynamic: (Reason.NOT_LINEAR, "rounds what it reads to integers"),
    of_bits: (Reason.QUANTIZED, "one scale for each block of inputs"),
}


@pytest.mark.parametrize("layer", IN_FRONT)
def test_nothing_goes_in_from_the_front(layer):
    network = Network()
    network.batch_norm("x", "n", INPUTS)
    layer(network, source="n", output="y")
    (kept,) = fold(model_of(network)).kept
    assert [refusal.reason for refusal in kept.refusals] == [Reason.GRAPH_INPUT, IN_FRONT[layer][0]]
    assert IN_FRONT[layer][1] in kept.refusals[1].evidence


def test_eight_bits_in_between_are_a_rounding():
    network = Network()
    network.batch_norm("x", "n", INPUTS)
    of_bits(network, source="n", output="y", accuracy_level=4)
    assert fold(model_of(network)).kept[0].refusals[1].reason is Reason.NOT_LINEAR


@pytest.mark.parametrize("layer", [to_float, dynamic, of_bits])
def test_scales_that_others_read_are_copied(layer):
    """Two products of one weight, of which one has a BatchNorm."""
    network = Network()
    layer(network)
    twin = network.nodes[-1]
    network.node(twin.op_type, twin.input, "z", domain=DOMAIN, **{entry.name: entry.i for entry in twin.attribute})
    network.batch_norm("c", "y", COLUMNS)
    model = model_of(network, outputs={"y": ["a", "b"], "z": ["c", "d"]})
    assert fold_and_compare(model).batch_norms_left == 0


@pytest.mark.parametrize("layer", [to_float, dynamic, of_bits])
def test_a_second_map_starts_from_what_the_first_left(layer):
    network = Network()
    layer(network)
    network.node("Mul", ["c", network.weight("k", COLUMNS)], "m")
    network.node("Add", ["m", network.weight("t", COLUMNS)], "a")
    network.batch_norm("a", "y", COLUMNS)
    assert operators(fold_and_compare(model_of(network)).model) == operators(model_of(network))[:-3]


@pytest.mark.parametrize("layer", [to_float, dynamic, of_bits])
def test_scales_that_are_too_small_are_refused(layer):
    network = Network()
    layer(network)
    network.node("Mul", ["c", network.constant("k", [1e-37] * COLUMNS)], "y")
    (kept,) = fold(model_of(network)).kept
    assert kept.refusals[0].reason is Reason.UNDERFLOW


@pytest.mark.parametrize("layer", [to_float, dynamic, of_bits])
def test_scales_and_biases_of_the_run_time_take_nothing(layer):
    network = Network()
    layer(network)
    network.batch_norm("c", "y", COLUMNS)
    for name, reason in (("ws", Reason.DYNAMIC_PARAMETER), ("b", Reason.DYNAMIC_BIAS)):
        given = network.initializers.pop(name)
        model = network.model(
            {"x": (3, INPUTS), name: given.shape}, {"y": ["a", "b"]}, domains={DOMAIN: 1}, check=False
        )
        assert fold(model).kept[0].refusals[0].reason is reason
        network.initializers[name] = given


@pytest.mark.parametrize("layer", [to_float, dynamic, of_bits])
def test_the_check_computes_them_in_float64(layer):
    network = Network(ir_version=8)
    layer(network)
    network.batch_norm("c", "y", COLUMNS)
    network.random.shuffle(network.initializers["y.scale"])
    model = model_of(network)
    report = bnfold.fold(model).report
    assert report.verification.status == "passed"
    assert [tensor.excess <= 1 for tensor in report.verification.tensors] == [True]
