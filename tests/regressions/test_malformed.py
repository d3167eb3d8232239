"""Graphs that contradict themselves are an error of the file, in one line; never a crash, never a fold."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.errors import ModelFormatError
from tests.networks import Network
from tests.regressions.bodies import body

SHAPE = [2, 3, 4, 4]


def well_formed():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "y", 3)
    return network.model({"x": SHAPE}, ["y"])


def dangling_input(model):
    model.graph.node[0].input[0] = "nowhere"


def dangling_parameter(model):
    del model.graph.initializer[1]


def dangling_output(model):
    model.graph.output[0].name = "nowhere"


def output_without_a_name(model):
    model.graph.output[0].name = ""


def cycle(model):
    model.graph.node[0].input[0] = "y"


def two_nodes_make_one_tensor(model):
    model.graph.node.append(helper.make_node("Relu", ["x"], ["c"]))


def one_node_makes_a_tensor_twice(model):
    model.graph.node.append(helper.make_node("Split", ["x"], ["half", "half"], axis=0))


def node_makes_an_initializer(model):
    model.graph.node.insert(0, helper.make_node("Relu", ["x"], ["w"]))


def node_makes_an_input(model):
    model.graph.node.append(helper.make_node("Relu", ["y"], ["x"]))


def two_initializers_of_one_name(model):
    model.graph.initializer.append(model.graph.initializer[0])


def two_inputs_of_one_name(model):
    model.graph.input.append(model.graph.input[0])


def dangling_capture(model):
    inner = Network()
    inner.node("Neg", ["nowhere"], "inside")
    branch = body(inner, {}, {"inside": SHAPE})
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    model.graph.node.append(helper.make_node("If", ["go"], ["z"], then_branch=branch, else_branch=branch))


def dangling_input_in_a_function(model):
    nodes = [helper.make_node("Neg", ["nowhere"], ["b"])]
    model.functions.append(helper.make_function("local", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)]))


def weight_with_too_little_data(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def weight_of_an_unknown_type(model):
    model.graph.initializer[0].data_type = 99


def no_graph(model):
    model.ClearField("graph")


def no_ir_version(model):
    model.ClearField("ir_version")


@pytest.mark.parametrize(
    "damage",
    [
        dangling_input,
        dangling_parameter,
        dangling_output,
        output_without_a_name,
        cycle,
        two_nodes_make_one_tensor,
        one_node_makes_a_tensor_twice,
        node_makes_an_initializer,
        node_makes_an_input,
        two_initializers_of_one_name,
        two_inputs_of_one_name,
        dangling_capture,
        dangling_input_in_a_function,
        weight_with_too_little_data,
        weight_of_an_unknown_type,
        no_graph,
        no_ir_version,
    ],
    ids=lambda damage: damage.__name__,
)
def test_contradictions(damage):
    model = well_formed()
    damage(model)
    with pytest.raises(ModelFormatError) as caught:
        bnfold.fold(model, verify=None)
    assert "\n" not in str(caught.value)


def batch_norm_without_a_variance(model):
    del model.graph.node[1].input[4]


def batch_norm_without_an_output(model):
    del model.graph.node[1].output[:]
    model.graph.output[0].name = "c"


def batch_norm_whose_first_output_is_absent(model):
    model.graph.node[1].output[:] = [""]
    model.graph.output[0].name = "c"


def batch_norm_of_a_number(model):
    model.graph.node[1].input[0] = "x"
    del model.graph.input[0].type.tensor_type.shape.dim[:]


def batch_norm_of_a_vector(model):
    model.graph.node[1].input[0] = "x"
    del model.graph.input[0].type.tensor_type.shape.dim[1:]


def epsilon_without_a_value(model):
    model.graph.node[1].attribute.add(name="epsilon")


def epsilon_that_is_a_text(model):
    model.graph.node[1].attribute.append(helper.make_attribute("epsilon", "small"))


def group_that_is_a_list(model):
    model.graph.node[0].attribute.append(helper.make_attribute("group", [1, 1]))


def group_that_divides_nothing(model):
    model.graph.node[0].attribute.append(helper.make_attribute("group", 2))


def weight_without_dimensions(model):
    _give_weight(model, numpy_helper.from_array(np.array(1.0, np.float32)))


def weight_of_rank_1(model):
    _give_weight(model, numpy_helper.from_array(np.ones(3, np.float32)))


def weight_of_integers(model):
    _give_weight(model, numpy_helper.from_array(np.ones((3, 3, 1, 1), np.int64)))


def _give_weight(model, tensor):
    model.graph.initializer[0].CopyFrom(tensor)
    model.graph.initializer[0].name = "w"
    model.graph.input[0].type.tensor_type.ClearField("shape")


def gemm_with_a_text_for_alpha(model):
    _make_gemm(model).attribute.append(helper.make_attribute("alpha", "half"))


def gemm_with_a_beta_without_a_value(model):
    _make_gemm(model).attribute.add(name="beta")


def gemm_with_a_bias_of_another_width(model):
    _make_gemm(model)
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "c.bias"))


def _make_gemm(model):
    _give_weight(model, numpy_helper.from_array(np.ones((3, 3), np.float32)))
    model.graph.node[0].CopyFrom(helper.make_node("Gemm", ["x", "w", "c.bias"], ["c"]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "c.bias"))
    return model.graph.node[0]


@pytest.mark.parametrize(
    "damage",
    [
        batch_norm_without_a_variance,
        batch_norm_without_an_output,
        batch_norm_whose_first_output_is_absent,
        batch_norm_of_a_number,
        batch_norm_of_a_vector,
        epsilon_without_a_value,
        epsilon_that_is_a_text,
        group_that_is_a_list,
        group_that_divides_nothing,
        weight_without_dimensions,
        weight_of_rank_1,
        weight_of_integers,
        gemm_with_a_text_for_alpha,
        gemm_with_a_beta_without_a_value,
        gemm_with_a_bias_of_another_width,
    ],
    ids=lambda damage: damage.__name__,
)
def test_nodes_that_contradict_their_operator_are_refused_and_left(damage):
    """The graph holds together, one node does not: its BatchNorm stays, with a reason, and nothing changes."""
    model = well_formed()
    damage(model)
    result = bnfold.fold(model, verify=None)
    assert [len(entry.refusals) > 0 for entry in result.report.outcome.kept] == [True]
    assert result.model == model


def test_arithmetic_without_an_output():
    """All outputs of a node may be absent; there is nothing to fold and nothing to fall over."""
    model = well_formed()
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    model.graph.node.append(helper.make_node("Mul", ["x", "half"], []))
    assert [entry.node for entry in bnfold.explain(model).outcome.folds] == ["y_node"]


def test_parameters_of_unequal_length():
    model = well_formed()
    for tensor in model.graph.initializer:
        if tensor.name == "y.mean":
            tensor.CopyFrom(helper.make_tensor("y.mean", TensorProto.FLOAT, [2], [1.0, 2.0]))
    report = bnfold.explain(model)
    assert report.outcome.kept[0].refusals[0].reason.slug == "malformed"


def test_more_channels_than_the_conv_makes():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 5)
    report = bnfold.explain(network.model({"x": SHAPE}, {"y": SHAPE}, check=False))
    assert report.batch_norms.kept == 1


def test_two_batch_norms_that_disagree_on_their_channels():
    network = Network()
    network.batch_norm("x", "n", 1)
    network.batch_norm("n", "y", 3)
    report = bnfold.explain(network.model({"x": [2, "c", 4, 4]}, {"y": SHAPE}, check=False))
    assert report.batch_norms.kept == 2
