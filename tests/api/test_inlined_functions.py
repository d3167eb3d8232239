"""Functions of a model whose BatchNorms fold only where they are called are inlined there; others stay."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bnfold
from bnfold import FoldOptions
from tests.folding import assert_equal_outputs
from tests.networks import Network

DOMAIN = "local"
CHANNELS = 4
SHAPE = (2, CHANNELS, 6, 6)
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
PARAMETERS = ["scale", "bias", "mean", "var"]


def function(name, inputs, nodes):
    return helper.make_function(DOMAIN, name, inputs, ["r"], nodes, OPSETS)


def conv_block(name="ConvBlock"):
    """Conv, BatchNorm and Relu; all parameters come from the caller."""
    return function(
        name,
        ["a", "w", *PARAMETERS],
        [
            helper.make_node("Conv", ["a", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
            helper.make_node("BatchNormalization", ["c", *PARAMETERS], ["n"], name="bn"),
            helper.make_node("Relu", ["n"], ["r"]),
        ],
    )


def normalised(name, nodes_before=()):
    """A BatchNorm with parameters of its own."""
    values = {"scale": [0.5, -2.0, 0.0, 1.5], "bias": [1.0, 2.0, -3.0, 0.5], "mean": [0.1] * 4, "var": [0.5] * 4}
    constants = [
        helper.make_node("Constant", [], [key], value=helper.make_tensor(key, TensorProto.FLOAT, [4], numbers))
        for key, numbers in values.items()
    ]
    return function(
        name, ["c"], [*nodes_before, *constants, helper.make_node("BatchNormalization", ["c", *values], ["r"])]
    )


def parameters(network, stem):
    """Weight and statistics of one block."""
    network.weight(f"{stem}.weight", CHANNELS, CHANNELS, 3, 3)
    for key, low in zip(PARAMETERS, (-2, -2, -2, 0.1), strict=True):
        network.constant(f"{stem}.{key}", network.random.uniform(low, 2, CHANNELS))
    return [f"{stem}.{key}" for key in ("weight", *PARAMETERS)]


def call(network, name, inputs, output):
    return network.node(name, inputs, output, domain=DOMAIN)


def model_of(network, functions):
    return network.model({"x": SHAPE}, {"y": SHAPE}, functions=functions, domains={DOMAIN: 1})


def two_calls(name="ConvBlock"):
    network = Network(opset=18)
    call(network, name, ["x", *parameters(network, "first")], "m")
    call(network, name, ["m", *parameters(network, "second")], "y")
    return network


def folded(model, **options):
    result = bnfold.fold(model, **options)
    assert_equal_outputs(model, result.model)
    onnx.checker.check_model(result.model)
    return result


def operators(model):
    return [node.op_type for node in model.graph.node]


def test_a_function_that_is_called_twice():
    model = model_of(two_calls(), [conv_block()])
    result = folded(model)
    assert operators(result.model) == ["Conv", "Relu", "Conv", "Relu"]
    expected = "functions of the model were inlined, because more BatchNorms fold then: local::ConvBlock"
    assert result.report.warnings == (expected,)
    assert not any(node.metadata_props for node in result.model.graph.node)


def test_a_file(tmp_path):
    source, target = tmp_path / "model.onnx", tmp_path / "folded.onnx"
    onnx.save(model_of(two_calls(), [conv_block()]), source)
    before = source.read_bytes()
    report = bnfold.fold_file(source, target, FoldOptions())
    assert len(report.outcome.folds) == 2
    assert operators(onnx.load(target)) == ["Conv", "Relu", "Conv", "Relu"]
    assert source.read_bytes() == before


def test_functions_in_functions():
    """The BatchNorm comes out of both."""
    stage = function(
        "Stage", ["a", "w", *PARAMETERS], [helper.make_node("ConvBlock", ["a", "w", *PARAMETERS], ["r"], domain=DOMAIN)]
    )
    result = folded(model_of(two_calls("Stage"), [conv_block(), stage]))
    assert operators(result.model) == ["Conv", "Relu", "Conv", "Relu"]


def test_a_batch_norm_in_a_function_behind_a_convolution_outside():
    network = Network(opset=18)
    network.node("Conv", ["x", network.weight("w", CHANNELS, CHANNELS, 1, 1)], "m")
    call(network, "Norm", ["m"], "y")
    assert operators(folded(model_of(network, [normalised("Norm")])).model) == ["Conv"]


def convolution(name):
    return function(name, ["a", "w"], [helper.make_node("Conv", ["a", "w"], ["r"], pads=[1, 1, 1, 1])])


@pytest.mark.parametrize("where", ["functions of their own", "graph and function"])
def test_convolution_and_batch_norm_on_two_sides_of_a_call(where):
    network = Network(opset=18)
    weight, *statistics = parameters(network, "first")
    call(network, "Convolve", ["x", weight], "c")
    if where == "functions of their own":
        call(network, "Norm", ["c"], "y")
    else:
        network.node("BatchNormalization", ["c", *statistics], "y")
    call(network, "Other", ["x", weight], "z")
    functions = [convolution("Convolve"), normalised("Norm"), convolution("Other")]
    outputs = {"y": SHAPE, "z": SHAPE}
    model = network.model({"x": SHAPE}, outputs, functions=functions, domains={DOMAIN: 1})
    result = folded(model)
    assert operators(result.model) == ["Conv", "Other"]


def test_a_call_in_a_body():
    network = two_calls()
    nodes, network.nodes = network.nodes, []
    nodes[1].output[0] = "r"
    branches = [
        helper.make_graph(nodes, "then", [], [helper.make_empty_tensor_value_info("r")]),
        helper.make_graph(
            [helper.make_node("Neg", ["x"], ["q"])], "else", [], [helper.make_empty_tensor_value_info("q")]
        ),
    ]
    network.constant("condition", True, "bool")
    network.node("If", ["condition"], "y", then_branch=branches[0], else_branch=branches[1])
    result = folded(model_of(network, [conv_block()]))
    body = next(entry.g for entry in result.model.graph.node[0].attribute if entry.name == "then_branch")
    assert [node.op_type for node in body.node] == ["Conv", "Relu", "Conv", "Relu"]


def useless_call(network, source, output):
    """Its parameters are known only at run time."""
    for key in PARAMETERS:
        network.node("ReduceMean", ["x", network.constant(f"{key}.axes", [0, 2, 3], "int64")], f"{key}.m", keepdims=0)
        network.node("Abs", [f"{key}.m"], f"{key}.abs")
    names = [f"{key}.abs" for key in PARAMETERS]
    return call(network, "Late", [source, network.weight("late.weight", CHANNELS, CHANNELS, 3, 3), *names], output)


def test_where_it_does_not_help_not_a_byte_changes():
    network = Network(opset=18)
    useless_call(network, "x", "y")
    model = model_of(network, [conv_block("Late")])
    result = bnfold.fold(model)
    assert result.model.SerializeToString() == model.SerializeToString()
    assert result.report.warnings == ()


def test_only_those_are_inlined_that_help():
    network = two_calls()
    network.nodes[1].output[0], network.nodes[1].name = "k", "second_call"
    useless_call(network, "k", "y")
    result = folded(model_of(network, [conv_block(), conv_block("Late")]))
    assert [function.name for function in result.model.functions] == ["Late"]
    assert operators(result.model)[:4] == ["Conv", "Relu", "Conv", "Relu"]
    assert len(result.report.outcome.folds) == 2


def test_what_folds_inside_stays_inside():
    weight = np.random.default_rng(0).normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    inside = [
        helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(weight)),
        helper.make_node("Conv", ["a", "w"], ["c"]),
    ]
    block = normalised("Block", inside)
    block.input[:] = ["a"]
    network = Network(opset=18)
    call(network, "Block", ["x"], "y")
    result = folded(model_of(network, [block]))
    assert operators(result.model) == ["Block"]
    assert [node.op_type for node in result.model.functions[0].node if node.op_type != "Constant"] == ["Conv"]
    assert result.report.warnings == ()


@pytest.mark.parametrize("pattern", ["bn", "conv", "b*"])
def test_what_is_excluded_is_not_found_under_another_name(pattern):
    model = model_of(two_calls(), [conv_block()])
    result = bnfold.fold(model, exclude=(pattern,))
    assert result.model.SerializeToString() == model.SerializeToString()


def test_the_same_model_gives_the_same_bytes():
    model = model_of(two_calls(), [conv_block()])
    assert bnfold.fold(model).model.SerializeToString() == bnfold.fold(model).model.SerializeToString()


def test_a_file_whose_large_weights_stay_in_its_bytes(tmp_path, monkeypatch):
    """Each reading of the file has marks of its own for them."""
    for place in ("bnfold.intake.protobuf_scan", "bnfold.frontends.onnx.large_weights"):
        monkeypatch.setattr(f"{place}.LARGEST_INSIDE", 64)
    model = model_of(two_calls(), [conv_block()])
    onnx.save(model, tmp_path / "m.onnx")
    report = bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "out.onnx", FoldOptions())
    assert report.batch_norms.folded == 2
    expected = bnfold.fold(model).model
    assert (tmp_path / "out.onnx").read_bytes() == expected.SerializeToString(deterministic=True)
