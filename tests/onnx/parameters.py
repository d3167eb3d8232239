"""A convolution with a BatchNorm behind it, and the ways in which a file can hold their parameters."""

from itertools import pairwise

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.networks import Network

CHANNELS = 4


def conv_and_batch_norm(opset=17, ir_version=None):
    """x -- Conv(weight, bias) -- c -- BatchNormalization(y.scale, y.bias, y.mean, y.var) -- y; and x's shape."""
    network = Network(opset=opset, ir_version=ir_version)
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1), network.weight("bias", CHANNELS)], "c")
    network.batch_norm("c", "y", CHANNELS)
    return network, {"x": (2, 3, 4, 4)}


def put_into_constant_node(network, name, form="value"):
    """Move an initializer into a Constant node in front of all others."""
    values = network.initializers.pop(name)
    content = {
        "value": lambda: numpy_helper.from_array(values, "anything"),
        "value_float": values.item,
        "value_int": values.item,
        "value_floats": values.tolist,
        "value_ints": values.tolist,
        "sparse_value": lambda: sparse_tensor(values, "anything"),
    }[form]()
    network.nodes.insert(0, helper.make_node("Constant", [], [name], name=f"{name}_node", **{form: content}))


def put_into_constant_of_shape(network, name, number=None):
    """Let a ConstantOfShape in front of all other nodes make a parameter."""
    network.initializers.pop(name)
    network.constant(f"{name}.shape", [CHANNELS], "int64")
    attributes = {} if number is None else {"value": helper.make_tensor("v", TensorProto.FLOAT, [1], [number])}
    network.nodes.insert(0, helper.make_node("ConstantOfShape", [f"{name}.shape"], [name], **attributes))


def sparse_tensor(values, name):
    flat = values.reshape(-1)
    (places,) = np.nonzero(flat)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(flat[places], name),
        numpy_helper.from_array(places.astype(np.int64), f"{name}.indices"),
        list(values.shape),
    )


def identities(source, result, length):
    """A chain of Identity nodes from one tensor to another."""
    names = [source, *(f"{result}.{number}" for number in range(length - 1)), result]
    return [helper.make_node("Identity", [before], [after]) for before, after in pairwise(names)]


def names_of_initializers(model):
    return {tensor.name for tensor in model.graph.initializer}
