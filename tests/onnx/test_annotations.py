"""What a model says of its tensors beside its graph names nothing that is gone, and nothing that is no more so."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import function

SHAPE = [2, 3, 4, 4]


def conv_and_batch_norm():
    network = Network(ir_version=10)
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.batch_norm("c", "n", 3)
    network.node("Relu", ["n"], "r")
    network.node("Conv", ["r", network.weight("v", 2, 3, 1, 1)], "y")
    network.constant("s", 0.1)
    network.node("Mul", ["y", "s"], "z", name="keep")
    return network.model({"x": SHAPE}, ["z"])


def annotate(model, tensor, **parameters):
    entry = model.graph.quantization_annotation.add(tensor_name=tensor)
    for key, value in parameters.items():
        entry.quant_parameter_tensor_names.add(key=key, value=value)


def annotated(model):
    return [entry.tensor_name for entry in model.graph.quantization_annotation]


@pytest.mark.parametrize(
    ("tensor", "parameters", "stays"),
    [
        ("w", {}, False),  # its numbers are others
        ("c", {}, False),  # it is gone
        ("n", {}, True),
        ("v", {}, True),
        ("v", {"SCALE_TENSOR": "s"}, True),
        ("v", {"SCALE_TENSOR": "n.scale"}, False),  # the parameter of a BatchNorm that is gone
    ],
)
def test_annotations_of_quantisation(tensor, parameters, stays):
    model = conv_and_batch_norm()
    annotate(model, tensor, **parameters)
    folded = fold(model, exclude=["keep"])
    assert folded.batch_norms_left == 0
    assert annotated(folded.model) == [tensor] * stays


def test_a_tensor_that_holds_other_values_loses_its_annotation_with_its_name():
    network = Network()
    network.node("Mul", ["x", network.constant("k", np.full((3, 1, 1), 2.0))], "m")
    network.node("Transpose", ["m"], "t", perm=[0, 2, 3, 1])
    network.node("MatMul", ["t", network.weight("w", 3, 5)], "y")
    model = network.model({"x": SHAPE}, ["y"])
    for name in ("x", "t", "y"):
        annotate(model, name)
    folded = fold_and_compare(model)
    assert len(folded.folds) == 1
    assert annotated(folded.model) == ["x", "y"]


def training_step(*, key="v", reads=("v",), initializes="v"):
    """A step that writes a new value for one initializer, out of others."""
    output = [helper.make_tensor_value_info("new", TensorProto.FLOAT, None)]
    step = helper.make_graph([helper.make_node("Sum", list(reads), ["new"])], "step", [], output)
    start = helper.make_graph([helper.make_node("Constant", [], ["first"], value_float=0.0)], "start", [], [])
    start.output.add(name="first")
    return helper.make_training_info(step, [(key, "new")], start, [(initializes, "first")])


@pytest.mark.parametrize(
    ("step", "stays"),
    [
        ({}, True),
        ({"reads": ("v", "n.scale")}, False),
        ({"key": "n.bias"}, False),
        ({"initializes": "n.mean"}, False),
        ({"reads": ("w",)}, False),  # a step from other numbers is another step
        ({"reads": ("c",)}, False),
    ],
)
def test_training_steps(step, stays):
    model = conv_and_batch_norm()
    model.training_info.append(training_step(**step))
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    folded = fold(copy, exclude=["keep"])
    assert folded.batch_norms_left == 0
    assert len(folded.model.training_info) == stays


def test_nothing_goes_where_nothing_folds():
    model = conv_and_batch_norm()
    annotate(model, "w")
    model.training_info.append(training_step(reads=("w", "c")))
    assert fold(model, exclude=["*"]).model == model


def test_types_in_a_function_follow_the_names_of_its_tensors():
    inner = Network(ir_version=10)
    weight = inner.node("Constant", [], "w", value=onnx.numpy_helper.from_array(np.ones((5, 3, 1, 1), np.float32)))
    inner.node("Relu", [inner.node("Conv", ["a", weight], "c")], "r")
    inner.node("Mul", ["r", inner.node("Constant", [], "two", value_float=2.0)], "b")
    local = function("local", "Block", ["a"], ["b"], inner)
    for name in ("c", "r"):
        local.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    network = Network(ir_version=10)
    network.node("Block", ["x"], "y", domain="local")
    model = network.model({"x": SHAPE}, {"y": [2, 5, 4, 4]}, functions=[local], domains={"local": 1})
    folded = fold_and_compare(model)
    assert len(folded.folds) == 1
    (body,) = folded.model.functions
    made = {name for node in body.node for name in node.output}
    assert [entry.name for entry in body.value_info] == ["c_folded"]
    assert "c_folded" in made


def test_devices_of_tensors_that_are_gone():
    model = conv_and_batch_norm()
    configuration = model.graph.node[0].device_configurations.add(configuration_id="two")
    for name in ("x", "w", "c"):
        configuration.sharding_spec.add(tensor_name=name)
    model.ir_version = 11
    folded = fold(model, exclude=["keep"])
    (specs,) = folded.model.graph.node[0].device_configurations
    assert [entry.tensor_name for entry in specs.sharding_spec] == ["x", "w"]
