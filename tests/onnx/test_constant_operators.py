"""Operators that exporters put between a parameter and its user: evaluated as onnxruntime does."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.indexing import index_model
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason, Refusal
from tests.folding import session
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays
from tests.onnx.parameters import (
    CHANNELS,
    conv_and_batch_norm,
    identities,
    names_of_initializers,
    put_into_constant_of_shape,
)
from tests.onnx.versions import newest_opset_that_runs

# What makes a vector of the channels: the shape stored, then operators with their attributes and integer inputs.
SPELLINGS = {
    "Identity": ((CHANNELS,), [("Identity", {}, ())]),
    "Identity twice": ((CHANNELS,), [("Identity", {}, ()), ("Identity", {}, ())]),
    "Reshape": ((2, 2), [("Reshape", {}, ([CHANNELS],))]),
    "Reshape -1": ((1, CHANNELS, 1), [("Reshape", {}, ([-1],))]),
    "Reshape 0": ((CHANNELS, 1), [("Reshape", {}, ([0, 1],)), ("Reshape", {}, ([0],))]),
    "Transpose": ((2, 2), [("Transpose", {}, ()), ("Reshape", {}, ([-1],))]),
    "Transpose perm": ((2, 1, 2), [("Transpose", {"perm": [2, 1, 0]}, ()), ("Reshape", {}, ([-1],))]),
}
SPELLINGS_BEFORE_13 = {
    "Squeeze": ((1, CHANNELS, 1), [("Squeeze", {}, ())]),
    "Squeeze axes": ((1, CHANNELS, 1), [("Squeeze", {"axes": [0, 2]}, ())]),
    "Unsqueeze": (
        (CHANNELS,),
        [("Unsqueeze", {"axes": [0, 2]}, ()), ("Squeeze", {"axes": [2]}, ()), ("Squeeze", {}, ())],
    ),
}
SPELLINGS_FROM_13 = {
    "Slice": ((CHANNELS + 3,), [("Slice", {}, ([2], [CHANNELS + 2]))]),
    "Slice steps": (
        (2, 2 * CHANNELS),
        [("Slice", {}, ([-1, 1], [2**62, 2**62], [0, 1], [1, 2])), ("Reshape", {}, ([-1],))],
    ),
    "Squeeze": ((1, CHANNELS, 1), [("Squeeze", {}, ())]),
    "Squeeze axes": ((1, CHANNELS, 1), [("Squeeze", {}, ([0, -1],))]),
    "Unsqueeze": ((CHANNELS,), [("Unsqueeze", {}, ([0, -1],)), ("Squeeze", {}, ([2],)), ("Squeeze", {}, ([0],))]),
}

SPELLINGS_FROM_8 = {
    "Expand": ((1,), [("Expand", {}, ([CHANNELS],))]),
    "Expand 1": ((CHANNELS,), [("Expand", {}, ([1, 1],)), ("Reshape", {}, ([-1],))]),
}
GRID = [
    *((opset, name, spelling) for opset in (8, 13, 21) for name, spelling in SPELLINGS_FROM_8.items()),
    *((opset, name, spelling) for opset in (7, 13, 21) for name, spelling in SPELLINGS.items()),
    *((opset, name, spelling) for opset in (7, 11, 12) for name, spelling in SPELLINGS_BEFORE_13.items()),
    *((opset, name, spelling) for opset in (13, 21) for name, spelling in SPELLINGS_FROM_13.items()),
]


def read(model, name):
    """A constant of a model as bnfold reads it."""
    return OnnxConstants(TensorStore(None)).read(index_model(model).main.values[name])


def spell(network, output, shape, steps):
    """Nodes in front of all others that make a tensor of this name."""
    value, nodes = network.weight(f"{output}.stored", *shape), []
    for number, (op, attributes, integers) in enumerate(steps):
        inputs = [network.constant(f"{output}.{number}.{slot}", i, "int64") for slot, i in enumerate(integers)]
        made = output if number == len(steps) - 1 else f"{output}.{number}"
        nodes.append(helper.make_node(op, [value, *inputs], [made], name=f"{made}_node", **attributes))
        value = made
    network.nodes[:0] = nodes


@pytest.mark.parametrize(("opset", "name", "spelling"), GRID, ids=lambda part: part if isinstance(part, str) else "")
def test_operators_on_constants(opset, name, spelling):  # noqa: ARG001
    network, inputs = conv_and_batch_norm(opset)
    for parameter in ("bias", "y.scale", "y.mean"):
        network.initializers.pop(parameter)
        spell(network, parameter, *spelling)
    folded = assert_folds_to(network.model(inputs, ["y"]), "Conv")
    assert names_of_initializers(folded.model) == {"weight", "bias"}


@pytest.mark.parametrize(("opset", "name", "spelling"), GRID, ids=lambda part: part if isinstance(part, str) else "")
def test_values_are_those_of_onnxruntime(opset, name, spelling):  # noqa: ARG001
    network = Network(opset=opset)
    spell(network, "k", *spelling)
    network.node("Add", ["x", "k"], "y")
    model = network.model({"x": (CHANNELS,)}, ["y"])
    (expected,) = session(model).run(None, {"x": np.zeros(CHANNELS, np.float32)})
    assert np.array_equal(read(model, "k"), expected)


@pytest.mark.parametrize("opset", [7, 9, 13, 19, 22])
@pytest.mark.parametrize("stored", ["float16", "float64", "float32"])
def test_cast(opset, stored):
    network, inputs = conv_and_batch_norm(opset)
    for parameter in ("weight", "bias", "y.scale", "y.bias", "y.mean", "y.var"):
        values = network.initializers.pop(parameter)
        network.constant(f"{parameter}.stored", values, stored)
        cast = helper.make_node("Cast", [f"{parameter}.stored"], [parameter], to=TensorProto.FLOAT)
        network.nodes.insert(0, cast)
    folded = assert_folds_to(network.model(inputs, ["y"]), "Conv")
    assert {(tensor.name, tensor.data_type) for tensor in folded.model.graph.initializer} == {
        ("weight", TensorProto.FLOAT),
        ("bias", TensorProto.FLOAT),
    }


@pytest.mark.parametrize("values", [[1.0, 1 + 2.0**-11, 70000.0, 1e-9], [1 + 3 * 2.0**-11, -0.0, 65519.0, -1e6]])
def test_cast_rounds_as_onnxruntime_does(values):
    network = Network()
    network.node("Cast", [network.constant("stored", values)], "half", to=TensorProto.FLOAT16)
    network.node("Identity", ["half"], "y")
    model = network.model({}, ["y"], dtype="float16")
    (expected,) = session(model).run(None, {})
    assert np.array_equal(read(model, "half"), expected)


def test_a_cast_from_integers_is_a_constant_too():
    """Exporters write the scalars of a program as integers and cast them."""
    network, inputs = conv_and_batch_norm()
    network.node("Cast", [network.constant("three", 3, "int64")], "factor", to=TensorProto.FLOAT)
    network.node("Mul", ["y", "factor"], "z")
    assert_folds_to(network.model(inputs, ["z"]), "Conv")


@pytest.mark.parametrize("opset", [15, 19, 22])
def test_cast_like(opset):
    network, inputs = conv_and_batch_norm(opset)
    for parameter in ("weight", "y.scale", "y.var"):
        network.constant(f"{parameter}.stored", network.initializers.pop(parameter), "float16")
        network.nodes.insert(0, helper.make_node("CastLike", [f"{parameter}.stored", "x"], [parameter]))
    folded = assert_folds_to(network.model(inputs, ["y"]), "Conv")
    assert {(tensor.name, tensor.data_type) for tensor in folded.model.graph.initializer} == {
        ("weight", TensorProto.FLOAT),
        ("bias", TensorProto.FLOAT),
    }


def test_cast_like_a_tensor_of_unknown_type_is_refused():
    network, inputs = conv_and_batch_norm()
    network.constant("stored", network.initializers.pop("y.scale"))
    network.nodes.insert(0, helper.make_node("CastLike", ["stored", "own"], ["y.scale"], name="cast"))
    network.nodes.insert(0, helper.make_node("Mystery", ["x"], ["own"], domain="elsewhere"))
    model = network.model(inputs, {"y": (2, CHANNELS, 4, 4)}, domains={"elsewhere": 1})
    assert_stays(model, Reason.DYNAMIC_PARAMETER, "'cast' casts to a type that is not known before run time")


@pytest.mark.parametrize(
    ("opset", "part"),
    [
        (15, {"start": 1, "end": 2}),
        (21, {"start": -3, "end": -2}),
        (newest_opset_that_runs(), {"start": 1, "end": -2}),
    ],
)
def test_a_shape_known_before_run_time(opset, part):
    network, inputs = conv_and_batch_norm(opset)
    network.constant("one", network.initializers.pop("y.bias")[:1])
    channels = helper.make_node("Shape", ["c"], ["channels"], **part)
    network.nodes[1:1] = [channels, helper.make_node("Expand", ["one", "channels"], ["y.bias"])]
    assert_folds_to(network.model({"x": ("batch", 3, "height", "width")}, ["y"]), "Conv", shapes=inputs)


def test_a_shape_of_run_time_is_refused():
    network, _ = conv_and_batch_norm(opset=15)
    network.constant("one", network.initializers.pop("y.bias")[:1])
    height = helper.make_node("Shape", ["c"], ["height"], name="shape", start=2, end=3)
    network.nodes[1:1] = [height, helper.make_node("Expand", ["one", "height"], ["y.bias"])]
    model = network.model({"x": ("batch", 3, "height", "width")}, ["y"])
    assert_stays(model, Reason.DYNAMIC_PARAMETER, "'shape' reads a shape that is not known before run time")


@pytest.mark.parametrize("value", [None, 0.5, -2.0])
@pytest.mark.parametrize("opset", [9, 13, 20, 22])
def test_constant_of_shape(value, opset):
    network, inputs = conv_and_batch_norm(opset)
    for parameter in ("bias", "y.bias", "y.scale"):
        put_into_constant_of_shape(network, parameter, value)
    network.initializers["y.var"] = np.linspace(1, 2, CHANNELS, dtype=np.float32)
    folded = assert_folds_to(network.model(inputs, ["y"]), *["ConstantOfShape"] * (value is None), "Conv")
    stored = {"weight", "bias.shape"} if value is None else {"weight", "bias"}
    assert names_of_initializers(folded.model) == stored


def test_constant_of_shape_stays_one_until_its_numbers_differ():
    network, inputs = conv_and_batch_norm()
    put_into_constant_of_shape(network, "bias", 0.5)
    network.node("Mul", ["c", network.constant("two", 2.0)], "m")
    network.node("Add", ["m", network.constant("one", 1.0)], "a")
    uniform = network.nodes.pop(2)
    assert uniform.op_type == "BatchNormalization"
    folded = assert_folds_to(network.model(inputs, ["a"]), "ConstantOfShape", "Conv")
    (fill_value,) = (numpy_helper.to_array(entry.t) for entry in folded.model.graph.node[0].attribute)
    assert fill_value.tolist() == [2.0]
    assert folded.model.graph.node[0].output == ["bias_folded"]  # under its old name it had another number
    uniform.input[0], uniform.output[0] = "a", "y"
    network.nodes.append(uniform)
    folded = assert_folds_to(network.model(inputs, ["y"]), "Conv")
    assert names_of_initializers(folded.model) == {"weight", "bias_folded"}


def test_constant_of_shape_makes_scalars():
    network, inputs = conv_and_batch_norm()
    three = helper.make_tensor("v", TensorProto.FLOAT, [1], [3.0])
    network.node("ConstantOfShape", [network.constant("shape", [], "int64")], "three", value=three)
    network.node("Mul", ["three", "y"], "z")
    assert_folds_to(network.model(inputs, ["z"]), "Conv")


def test_a_reshape_with_allowzero():
    network = Network()
    network.node("Reshape", [network.weight("k", 0, 3), network.constant("s", [3, 0], "int64")], "r", allowzero=1)
    network.node("Identity", ["r"], "y")
    assert read(network.model({}, ["y"]), "r").shape == (3, 0)


def test_a_chain_of_identities_does_not_recurse():
    network, inputs = conv_and_batch_norm()
    network.initializers["stored"] = network.initializers.pop("weight")
    network.nodes[:0] = identities("stored", "weight", 3000)
    folded = assert_folds_to(network.model(inputs, ["y"]), "Conv")
    assert names_of_initializers(folded.model) == {"weight", "bias"}


def test_a_chain_of_identities_from_the_caller_does_not_recurse():
    network, inputs = conv_and_batch_norm()
    network.initializers.pop("weight")
    network.nodes[:0] = identities("stored", "weight", 3000)
    model = network.model({**inputs, "stored": (CHANNELS, 3, 1, 1)}, ["y"])
    assert_stays(model, Reason.DYNAMIC_WEIGHT, "'stored' is an input of graph")


class CountingStore(TensorStore):
    reads = 0

    def read(self, tensor):
        self.reads += 1
        return super().read(tensor)


def test_a_chain_in_a_function_is_not_read_once_per_link():
    """Inference knows no shapes there; finding them must not take a time that grows with the square of the length."""
    network = Network()
    network.node("Block", ["x"], "y", domain="own")
    stored = numpy_helper.from_array(np.ones((CHANNELS, 3, 1, 1), np.float32), "anything")
    body = [helper.make_node("Constant", [], ["stored"], value=stored), *identities("stored", "weight", 100)]
    body.append(helper.make_node("Conv", ["x", "weight"], ["y"]))
    function = helper.make_function("own", "Block", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
    model = network.model({"x": (2, 3, 4, 4)}, {"y": (2, CHANNELS, 4, 4)}, functions=[function], domains={"own": 1})
    store = CountingStore(None)
    port = OnnxPort(model, store)
    for node in port.nodes():
        port.decode(node)
    assert 0 < store.reads < 10


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Reshape", ["k", "bad"], {}),
        ("Transpose", ["k"], {"perm": [1, 0]}),
        ("Squeeze", ["k", "bad"], {}),
        ("Unsqueeze", ["k", "bad"], {}),
    ],
)
def test_operators_that_contradict_their_operands(op, inputs, attributes):
    network = Network()
    network.weight("k", CHANNELS)
    network.constant("bad", [7], "int64")
    network.node(op, inputs, "made", **attributes)
    network.node("Identity", ["made"], "y")
    model = network.model({}, {"y": (CHANNELS,)}, check=False)
    answer = read(model, "made")
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.MALFORMED
    assert answer.evidence.startswith(f"'made_node' ({op}) cannot be evaluated: ")


@pytest.mark.parametrize("scales", [(8, 3), (8, 5), (7, 4), (4,)])
def test_blocks_without_a_scale_of_their_own(scales):
    network = Network(21)
    network.constant("q", np.ones((8, 16)), "int8")
    network.constant("s", np.ones(scales))
    network.node("DequantizeLinear", ["q", "s"], "made", axis=1, block_size=4)
    network.node("Identity", ["made"], "y")
    answer = read(network.model({}, {"y": (8, 16)}, check=False), "made")
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.MALFORMED
    assert "cannot be evaluated" in answer.evidence


def test_a_weight_joined_from_two_halves_per_gate():
    """PyTorch's exporter reorders the gates of an LSTM with Slice and Concat where constant folding is off."""
    network = Network()
    network.node("Mul", ["x", network.weight("k", 3)], "m")
    network.node("Add", ["m", network.weight("a", 3)], "n")
    halves = []
    for gate in range(4):
        bounds = [
            network.constant(f"{name}{gate}", [value], "int64")
            for name, value in zip("se", (gate, gate + 1), strict=True)
        ]
        halves.append(network.node("Slice", [f"w{gate % 2}", *bounds], f"gate{gate}"))
    for name in ("w0", "w1"):
        network.weight(name, 4, 3)
    weight = network.node("Concat", halves, "joined", axis=0)
    weight = network.node("Unsqueeze", [weight, network.constant("first", [0], "int64")], "w")
    network.node("LSTM", ["n", weight, network.weight("r", 1, 4, 1)], ["y"], hidden_size=1)
    order = ["Slice", "Concat", "Unsqueeze", "Mul", "Add", "LSTM"]
    network.nodes.sort(key=lambda node: order.index(node.op_type))
    assert_folds_to(network.model({"x": (5, 3, 3)}, {"y": (5, 1, 3, 1)}), "LSTM")
