"""Wrong answers that other tools give to legal models: wrong channels, wrong scales, weights changed for everybody."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from bnfold.refusal import Reason
from tests.folding import assert_equal_outputs, count, fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import body


def test_training_mode_with_unused_statistics_is_no_affine_map():
    """onnxscript 0.7.2 folds Conv -> BN(training_mode=1) all the same: error 92 on scale 6."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "c")
    network.batch_norm("c", "y", 4, training_mode=1)
    network.nodes[-1].output.extend(["running_mean", "running_var"])
    model = network.model({"x": [2, 3, 6, 6]}, ["y"])
    folded = fold(model)
    assert folded.reasons == [Reason.TRAINING_MODE]
    assert folded.model == model


def test_beta_of_gemm_scales_the_old_bias_and_not_the_new_one():
    """onnxscript before 0.7.2, Gemm(beta=0.5) -> BN: the old bias stays unscaled, the new one is scaled by beta."""
    network = Network()
    inputs = ["x", network.weight("w", 5, 4), network.weight("b", 4)]
    network.node("Gemm", inputs, "g", alpha=1.5, beta=0.5)
    network.batch_norm("g", "y", 4)
    assert fold_and_compare(network.model({"x": [3, 5]}, ["y"])).batch_norms_left == 0


def test_groups_of_a_conv_transpose_keep_their_channel_order():
    """coremltools 9.0, ConvTranspose(groups=2) -> BN: the order of the channels is scrambled."""
    network = Network()
    inputs = ["x", network.weight("w", 4, 3, 3, 3), network.weight("b", 6)]
    network.node("ConvTranspose", inputs, "c", group=2, strides=[2, 2])
    network.batch_norm("c", "y", 6)
    assert fold_and_compare(network.model({"x": [2, 4, 5, 5]}, ["y"])).batch_norms_left == 0


def test_a_constant_divided_by_the_activation_is_not_affine():
    """coremltools 9.0 folds `2.0 / conv(x)` as `conv(x) / 2.0`."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "c")
    network.node("Div", [network.constant("two", 2.0), "c"], "y")
    folded = fold_and_compare(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert folded.model == folded.original


@pytest.mark.parametrize("first", [True, False])
def test_one_convolution_called_twice_changes_only_where_the_batch_norm_is(first):
    """torch.fx fuse, one Conv module called twice with BN after one call: the other call changes too."""
    network = Network()
    network.weight("w", 3, 3, 3, 3)
    network.weight("b", 3)
    network.node("Conv", ["x", "w", "b"], "with" if first else "without", pads=[1, 1, 1, 1])
    network.node("Conv", ["x", "w", "b"], "without" if first else "with", pads=[1, 1, 1, 1])
    network.batch_norm("with", "y", 3)
    folded = fold_and_compare(network.model({"x": [2, 3, 6, 6]}, ["y", "without"]))
    assert folded.batch_norms_left == 0


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_on_the_middle_axis_of_a_linear_layer(bias):
    """torch.fx fuse and torch.jit.freeze, Linear -> BatchNorm1d on (N, C, L) with C == L: folded on the wrong axis."""
    network = Network()
    product = network.node("MatMul", ["x", network.weight("w", 7, 5)], "m")
    if bias:
        product = network.node("Add", ["m", network.weight("b", 5)], "a")
    network.batch_norm(product, "y", 5)
    folded = fold_and_compare(network.model({"x": [2, 5, 7]}, ["y"]))
    assert folded.reasons == [Reason.WRONG_AXIS]


def test_square_conv_transpose_is_scaled_on_its_output_channels():
    """torch.compile with freezing, ConvTranspose2d(4, 4) -> BN: in and out channels are confused."""
    network = Network()
    network.node("ConvTranspose", ["x", network.weight("w", 4, 4, 3, 3)], "c")
    network.batch_norm("c", "y", 4)
    assert fold_and_compare(network.model({"x": [2, 4, 5, 5]}, ["y"])).batch_norms_left == 0


@pytest.mark.parametrize("order", [["c", "k"], ["k", "c"]])
def test_a_vector_along_the_width_is_not_one_along_the_channels(order):
    """OnnxSlim 0.1.98, Conv [1,6,6,6] * c[6]: the constant runs along the width; folded as channels, error 0.88."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 6, 3, 3, 3)], "c", pads=[1, 1, 1, 1])
    network.weight("k", 6)
    network.node("Mul", order, "y")
    folded = fold_and_compare(network.model({"x": [1, 3, 6, 6]}, ["y"]))
    assert folded.kept[0].refusals[0].reason is Reason.WRONG_AXIS


def test_the_other_reader_of_a_gemm_keeps_its_values():
    """OnnxSlim 0.1.98, Gemm -> Reshape -> Mul, the Gemm used elsewhere too: the other user is wrong."""
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 5, 6), network.weight("b", 6)], "g")
    network.node("Reshape", ["g", network.constant("shape", [-1, 6, 1], "int64")], "r")
    network.node("Mul", ["r", network.weight("k", 1, 6, 1)], "y")
    network.node("Relu", ["g"], "other")
    folded = fold_and_compare(network.model({"x": [4, 5]}, ["y", "other"]))
    assert folded.kept[0].refusals[0].reason is Reason.OTHER_CONSUMERS


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_a_node_of_another_domain_is_not_what_its_name_says(op_type):
    """onnxoptimizer, onnxsim, OnnxSlim and tf2onnx treat a node named Conv in another domain as ONNX's Conv."""
    network = Network()
    network.node(op_type, ["x", network.weight("w", 3, 3, 1, 1)], "c", domain="vendor.ops")
    network.batch_norm("c", "y", 3)
    model = network.model({"x": [2, 3, 4, 4]}, {"y": [2, 3, 4, 4]}, domains={"vendor.ops": 1})
    model.graph.value_info.append(helper.make_tensor_value_info("c", 1, [2, 3, 4, 4]))
    folded = fold(model)
    assert folded.reasons == [Reason.FOREIGN_DOMAIN]
    assert folded.model == model


def test_a_batch_norm_of_another_domain_is_left_alone():
    """onnxoptimizer, onnxsim, OnnxSlim and tf2onnx go by the operator's name; the same mistake on the BN's side."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 3, domain="vendor.ops")
    model = network.model({"x": [2, 3, 4, 4]}, {"y": [2, 3, 4, 4]}, domains={"vendor.ops": 1})
    assert fold(model).model == model


def test_a_shared_weight_changes_for_one_reader_only():
    """AIMET changes a weight that two Convs share in place, for both: error 2."""
    network = Network()
    network.weight("w", 3, 3, 1, 1)
    network.batch_norm(network.node("Conv", ["x", "w"], "c"), "y", 3)
    network.batch_norm(network.node("Conv", ["y", "w"], "d"), "z", 3)
    network.node("Conv", ["z", "w"], "plain")
    assert fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["plain", "z"])).batch_norms_left == 0


def test_a_shared_bias_changes_for_one_reader_only():
    """AIMET changes a bias that two Convs share in place, for both."""
    network = Network()
    network.weight("b", 4)
    network.batch_norm(network.node("Conv", ["x", network.weight("w1", 4, 3, 1, 1), "b"], "c"), "y", 4)
    network.node("Conv", ["x", network.weight("w2", 4, 3, 1, 1), "b"], "plain")
    assert fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y", "plain"])).batch_norms_left == 0


def test_a_weight_that_is_also_an_embedding_table_stays_one():
    """AIMET changes a weight that a Gather reads too."""
    network = Network()
    network.weight("w", 4, 4)
    network.batch_norm(network.node("Gemm", ["x", "w"], "g"), "y", 4)
    network.node("Gather", ["w", network.constant("rows", [2, 0], "int64")], "z")
    assert fold_and_compare(network.model({"x": [3, 4]}, ["y", "z"])).batch_norms_left == 0


@pytest.mark.parametrize("condition", [True, False])
def test_a_weight_that_an_if_body_captures_stays(condition):
    """AIMET changes a weight that the body of an If reads too."""
    network = Network()
    network.weight("w", 4, 4)
    network.batch_norm(network.node("Gemm", ["x", "w"], "g"), "y", 4)
    branches = {}
    for name, op_type in (("then_branch", "Neg"), ("else_branch", "Abs")):
        inner = Network()
        inner.node(op_type, ["w"], "inside")
        branches[name] = body(inner, {}, {"inside": [4, 4]})
    network.node("If", [network.constant("condition", condition, "bool")], "z", **branches)
    assert fold_and_compare(network.model({"x": [3, 4]}, ["y", "z"])).batch_norms_left == 0


def test_batch_norm_before_a_reshape_that_mixes_rows():
    """AIMET folds BN -> Reshape that mixes rows -> Gemm all the same."""
    network = Network()
    network.batch_norm("x", "n", 4)
    network.node("Reshape", ["n", network.constant("shape", [4, 6], "int64")], "r")
    network.node("Gemm", ["r", network.weight("w", 6, 5)], "y")
    folded = fold_and_compare(network.model({"x": [2, 4, 3]}, ["y"]))
    assert [refusal.reason for refusal in folded.kept[0].refusals] == [Reason.GRAPH_INPUT, Reason.WRONG_AXIS]


@pytest.mark.parametrize("behind", [True, False])
def test_alpha_and_beta_of_gemm_count(behind):
    """AIMET folds a BN before or behind a Gemm as if alpha and beta were 1."""
    network = Network()
    source = "x" if behind else network.batch_norm("x", "n", 5)
    inputs = [source, network.weight("w", 4, 5), network.weight("b", 4)]
    network.node("Gemm", inputs, "g", alpha=0.25, beta=-2.0, transB=1)
    if behind:
        network.batch_norm("g", "y", 4)
    assert fold_and_compare(network.model({"x": [3, 5]}, ["y" if behind else "g"])).batch_norms_left == 0


def test_epsilon_of_a_batch_norm_behind_a_concat_is_its_own():
    """Brevitas moves a BN before a concat and replaces its eps by the default."""
    network = Network()
    network.node("Conv", ["x", network.weight("w1", 2, 3, 1, 1)], "c1")
    network.node("Conv", ["x", network.weight("w2", 3, 3, 1, 1)], "c2")
    network.node("Concat", ["c1", "c2"], "c", axis=1)
    network.batch_norm("c", "y", 5, epsilon=0.7)
    assert fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"])).batch_norms_left == 0


def test_two_batch_norms_in_a_row_each_have_their_own_epsilon():
    """Brevitas replaces a moved BN's eps by the default; the same where one BN goes into another."""
    network = Network()
    network.batch_norm("x", "n", 3, epsilon=0.7)
    network.batch_norm("n", "y", 3, epsilon=0.2)
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"]))
    assert count(folded.model, "BatchNormalization") == 1


def test_a_dead_channel_in_float16_with_a_tiny_epsilon():
    """onnxscript, OnnxSlim, onnxruntime and tf2onnx write inf into float16 weights for eps 1e-8 and a variance of 0."""
    model = _float16_with_a_dead_channel(gain=1.0)
    folded = fold(model)
    assert folded.batch_norms_left == 0
    assert all(np.isfinite(numpy_helper.to_array(tensor)).all() for tensor in folded.model.graph.initializer)
    assert_equal_outputs(model, folded.model)


def test_a_weight_that_float16_cannot_hold_is_refused():
    """The same tools, one step on: the exact weight itself exceeds 65504, so that no rounding is right."""
    model = _float16_with_a_dead_channel(gain=1000.0)
    folded = fold(model)
    assert folded.reasons == [Reason.OVERFLOW]
    assert folded.model == model


def _float16_with_a_dead_channel(gain: float):
    network = Network()
    weight = network.random.normal(size=(3, 2, 1, 1))
    weight[1] = [[[0.125]], [[-0.25]]]
    network.constant("w", weight, "float16")
    network.node("Conv", ["x", "w"], "c")
    network.batch_norm("c", "y", 3, dtype="float16", epsilon=1e-8)
    network.constant("y.var", [1.0, 0.0, 0.5], "float16")
    network.constant("y.scale", [1.0, 0.25 * gain, -2.0], "float16")
    network.constant("y.mean", [0.5, 0.0, 3.0], "float16")
    return network.model({"x": [2, 2, 4, 4]}, ["y"], dtype="float16")
