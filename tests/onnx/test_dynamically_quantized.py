"""Products of integers with scales that are measured at run time: a map goes into the constant factor and the Add."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from bnfold.refusal import Reason
from tests.folding import assert_equal_outputs, fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_stays, operators

SCALES = {"positive": [0.5, 2.0, 1e-3, 7.0], "any": [0.5, -2.0, 0.0, 7.0]}
ANY_SCALES = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())


def quantized(network, source="x"):
    return network.node("DynamicQuantizeLinear", [source], ["xq", "xs", "xz"])


def product(network, op_type, weight_shape, per_channel, *, bias=True, output="c"):
    """(integers of x times integers of w) to float, times their scales, plus a bias."""
    channels = weight_shape[0] if op_type == "ConvInteger" else weight_shape[-1]
    network.initializers["wq"] = network.random.integers(0, 256, size=weight_shape).astype(np.uint8)
    network.initializers["wz"] = np.array(128, np.uint8)
    network.node(op_type, ["xq", "wq", "xz", "wz"], "i")
    network.node("Cast", ["i"], "f", to=onnx.TensorProto.FLOAT)
    aligned = (channels, 1, 1) if op_type == "ConvInteger" else (channels,)
    cells = aligned if per_channel else ()
    network.constant("ws", network.random.uniform(0.5, 2.0, size=cells) / 100)
    network.node("Mul", ["xs", "ws"], "scales")
    network.node("Mul", ["f", "scales"], "p" if bias else output)
    if bias:
        network.node("Add", ["p", network.weight("b", *aligned)], output)


def batch_norm(network, scale, output="y"):
    network.batch_norm("c", output, len(scale))
    network.constant(f"{output}.scale", scale)


@ANY_SCALES
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("opset", [11, 17, 21])
def test_a_convolution(opset, per_channel, scale):
    network = Network(opset=opset)
    quantized(network)
    product(network, "ConvInteger", (4, 3, 3, 3), per_channel)
    batch_norm(network, scale)
    folded = fold_and_compare(network.model({"x": ("N", 3, 6, 6)}, ["y"]), {"x": (2, 3, 6, 6)})
    assert operators(folded.model) == ["DynamicQuantizeLinear", "ConvInteger", "Cast", "Mul", "Mul", "Add"]


@ANY_SCALES
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_product(per_channel, scale):
    network = Network()
    quantized(network)
    product(network, "MatMulInteger", (5, 4), per_channel)
    batch_norm(network, scale)
    folded = fold_and_compare(network.model({"x": (3, 5)}, ["y"]))
    assert operators(folded.model) == ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul", "Add"]


def test_no_shape_is_told_of_a_factor_that_has_another():
    """Shapes that exporters note between nodes: that of the scales is not so any more."""
    network = Network()
    quantized(network)
    product(network, "ConvInteger", (4, 3, 3, 3), per_channel=False)
    batch_norm(network, SCALES["any"])
    model = network.model({"x": (2, 3, 6, 6)}, ["y"])
    noted = onnx.shape_inference.infer_shapes(model)
    assert "scales" in {entry.name for entry in noted.graph.value_info}
    folded = fold_and_compare(noted)
    assert folded.batch_norms_left == 0
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(folded.model, strict_mode=True), full_check=True)


def read_twice(reader, *, bias=True):
    """A product whose scales somebody else sees as well."""
    network = Network()
    quantized(network)
    product(network, "ConvInteger", (4, 3, 3, 3), per_channel=False, bias=bias)
    batch_norm(network, SCALES["any"])
    outputs = {"y": ("n", 4, "h", "w")}
    if reader == "product":
        network.node("Mul", ["f", "scales"], "q")
        network.node("Sigmoid", ["q"], "z")
        outputs["z"] = ("n", 4, "h", "w")
    elif reader == "output":
        outputs["scales"] = ()
    else:
        bodies = [
            helper.make_graph(
                [helper.make_node(op, ["scales"], ["r"])], op, [], [helper.make_empty_tensor_value_info("r")]
            )
            for op in ("Neg", "Abs")
        ]
        network.constant("condition", True, "bool")
        network.node("If", ["condition"], "z", then_branch=bodies[0], else_branch=bodies[1])
        outputs["z"] = ()
    return network.model({"x": (2, 3, 6, 6)}, outputs)


READERS = pytest.mark.parametrize("reader", ["product", "output", "body"])


@READERS
def test_scales_that_others_see_are_made_once_more(reader):
    """A product of a few numbers takes the place of a BatchNorm of all."""
    model = read_twice(reader)
    folded = fold_and_compare(model, affine=False)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(folded.model, strict_mode=True), full_check=True)
    assert_equal_outputs(model, fold(model).model)


@READERS
def test_scales_are_made_once_more_where_an_addition_is_needed_too(reader):
    """Runtimes make one node of the product, its scales and the Add."""
    model = read_twice(reader, bias=False)
    folded = fold_and_compare(model, affine=False)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node) + 1
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(folded.model, strict_mode=True), full_check=True)
    assert_equal_outputs(model, fold(model).model)


def fused(model, tmp_path):
    """How many nodes onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return len(onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("count", [2, 3])
def test_products_that_share_their_scales_are_fused_where_each_has_its_own(count, tmp_path):
    model = sharing(count, bias=False)
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert (fused(model, tmp_path), fused(folded.model, tmp_path)) == (2 + 4 * count, 1 + count)


@pytest.mark.parametrize("operator", ["Mul", "Div"])
def test_a_scale_behind_one_of_them_goes_to_scales_of_its_own(operator):
    model = sharing(2, bias=False, ends=lambda n, x, y: n.node(operator, [x, n.weight(f"{y}.k", 4)], y))
    folded = fold_and_compare(model)
    assert len(folded.model.graph.node) == len(model.graph.node) - 1


def test_a_copy_of_a_factor_that_is_no_number_is_counted():
    """It would cost as much as what goes."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 1, 3, 1, 1)], "c")
    network.node("Sigmoid", ["c"], "g")
    network.node("Mul", ["g", network.constant("k", 0.3)], "h")
    network.node("Sigmoid", ["x"], "s")
    network.node("Mul", ["s", "h"], "p")
    network.node("Mul", ["p", network.weight("m", 3, 1, 1)], "y")
    network.node("Softsign", ["h"], "z")
    model = network.model({"x": (2, 3, 6, 6)}, ["y", "z"])
    assert operators(fold_and_compare(model).model) == operators(model)


def sharing(count, *, bias=True, ends=lambda network, source, name: network.batch_norm(source, name, 4)):
    """Several products with one product of scales."""
    network = Network()
    quantized(network)
    network.node("Mul", ["xs", network.constant("ws", 0.01)], "scales")
    network.constant("wz", 128, "uint8")
    outputs = [f"y{number}" for number in range(count)]
    for name in outputs:
        network.constant(f"{name}.w", network.random.integers(0, 256, size=(5, 4)), "uint8")
        network.node("MatMulInteger", ["xq", f"{name}.w", "xz", "wz"], f"{name}.i")
        network.node("Cast", [f"{name}.i"], f"{name}.f", to=onnx.TensorProto.FLOAT)
        network.node("Mul", [f"{name}.f", "scales"], f"{name}.p")
        if bias:
            network.node("Add", [f"{name}.p", network.weight(f"{name}.b", 4)], f"{name}.c")
        ends(network, f"{name}.c" if bias else f"{name}.p", name)
    return network.model({"x": (3, 5)}, outputs)


@pytest.mark.parametrize("count", [2, 3])
def test_several_products_that_share_their_scales(count):
    model = sharing(count)
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert len(folded.model.graph.node) == len(model.graph.node) - 1


@ANY_SCALES
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("op_type", ["ConvInteger", "MatMulInteger"])
def test_without_an_addition_the_shift_becomes_one(op_type, per_channel, scale):
    """As dynamic quantisation writes it for a bias, which exporters leave out in front of a BatchNorm."""
    network = Network()
    quantized(network)
    shape, weight = ((2, 3, 6, 6), (4, 3, 3, 3)) if op_type == "ConvInteger" else ((3, 5), (5, 4))
    product(network, op_type, weight, per_channel, bias=False)
    batch_norm(network, scale)
    folded = fold_and_compare(network.model({"x": shape}, ["y"]))
    assert operators(folded.model) == ["DynamicQuantizeLinear", op_type, "Cast", "Mul", "Mul", "Add"]


@pytest.mark.parametrize("affine", [True, False])
def test_of_two_products_one_that_is_an_output_keeps_its_values(affine):
    network = Network()
    quantized(network)
    product(network, "ConvInteger", (4, 3, 3, 3), per_channel=False, bias=False)
    batch_norm(network, SCALES["any"])
    model = network.model({"x": (2, 3, 6, 6)}, {"y": ("n", 4, "h", "w"), "c": ("n", 4, "h", "w")})
    assert_equal_outputs(model, fold(model, affine=affine).model)


def test_an_addition_is_not_made_out_of_an_addition():
    network = Network()
    quantized(network)
    product(network, "MatMulInteger", (5, 4), per_channel=True)
    folded = fold(network.model({"x": (3, 5)}, ["c"]))
    assert folded.folds == ()
    assert folded.kept[-1].refusals[0].reason is Reason.NO_BIAS


def test_a_product_of_other_tensors_keeps_no_shift():
    network = Network()
    network.node("Sigmoid", ["x"], "s")
    network.node("Cast", ["k"], "f", to=onnx.TensorProto.FLOAT)
    network.node("Mul", ["s", "f"], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": (2, 4, 3, 3), "k": (2, 4, 3, 3)}, ["y"])
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT32
    assert_stays(model, Reason.NOT_LINEAR)


def test_a_scale_alone_needs_no_addition():
    network = Network()
    quantized(network)
    product(network, "MatMulInteger", (5, 4), per_channel=True, bias=False)
    network.node("Mul", ["c", network.constant("m", SCALES["any"])], "y")
    folded = fold_and_compare(network.model({"x": (3, 5)}, ["y"]))
    assert operators(folded.model) == ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]


@pytest.mark.parametrize("op_type", ["Mul", "Div"])
def test_a_gate_of_one_number_takes_a_scale_for_each_channel(op_type):
    """Not of integers alone: any factor that is made by a multiplication."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 1, 3, 6, 6)], "g")
    network.node(op_type, ["g", network.constant("k", 0.3)], "h")
    network.node("Sigmoid", ["x"], "s")
    network.node("Mul", ["s", "h"], "p")
    network.node("Mul", ["p", network.weight("m", 3, 1, 1)], "y")
    folded = fold_and_compare(network.model({"x": (2, 3, 6, 6)}, ["y"]))
    assert operators(folded.model) in (["Conv", "Mul", "Sigmoid", "Mul"], ["Conv", "Sigmoid", "Mul", "Mul"])
