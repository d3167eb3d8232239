"""Damaged and hostile ONNX files for `benchmarks.fuzz`: small valid models, mutated as messages and as bytes."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper, numpy_helper

from benchmarks.fuzz_bytes import NUMBERS, TEXTS, mutate_bytes


def make(rng: random.Random) -> onnx.ModelProto:
    """A small valid model with BatchNormalizations in its graph, in a body, or in a function."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    channels = rng.choice([1, 2, 3, 6])
    nodes, stored, last = [], {}, "x"
    for index in range(rng.randrange(1, 5)):
        kind = rng.choice(["Conv", "ConvTranspose", "Mul", "Add", "Relu", "MaxPool", "Transpose", "Reshape", "Resize"])
        inputs, attributes = _operands(kind, f"p{index}", channels, numbers, stored)
        nodes.append(helper.make_node(kind, [last, *inputs], [f"c{index}"], f"node {index}", **attributes))
        parameters = [f"n{index}.{name}" for name in ("scale", "bias", "mean", "var")]
        stored |= {name: np.abs(numbers.normal(size=channels)) + 0.1 for name in parameters}
        nodes.append(helper.make_node("BatchNormalization", [f"c{index}", *parameters], [f"n{index}"], f"bn {index}"))
        last = f"n{index}"
    opset = rng.choice([9, 11, 13, 17, 21])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, 6, 6]) for name in ("x", last)]
    tensors = [
        numpy_helper.from_array(np.asarray(values, np.float32) if values.dtype.kind == "f" else values, name)
        for name, values in stored.items()
    ]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    return rng.choice([_plain, _in_a_body, _in_a_function])(model)


def _operands(kind: str, name: str, channels: int, numbers: np.random.Generator, stored: dict[str, np.ndarray]):  # noqa: ANN202
    """The names of further inputs, whose values are stored, and the attributes."""
    match kind:
        case "Conv" | "ConvTranspose":
            stored[name] = numbers.normal(size=(channels, channels, 3, 3))
            return [name], {"pads": [1, 1, 1, 1]}
        case "Mul" | "Add":
            stored[name] = numbers.normal(size=(channels, 1, 1))
            return [name], {}
        case "MaxPool":
            return [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        case "Transpose":
            return [], {"perm": [0, 1, 3, 2]}
        case "Reshape":
            stored[name] = np.array([0, 0, -1, 6])
            return [name], {}
        case "Resize":
            stored[name] = np.ones(4)
            return ["", name], {}
    return [], {}


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def _in_a_body(model: onnx.ModelProto) -> onnx.ModelProto:
    body = onnx.GraphProto.FromString(model.graph.SerializeToString())
    del body.input[:], body.initializer[:], model.graph.node[:]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    last = body.output[0].name
    model.graph.node.append(helper.make_node("If", ["flag"], [last], "if", then_branch=body, else_branch=body))
    return model


def _in_a_function(model: onnx.ModelProto) -> onnx.ModelProto:
    inputs = ["x", *(tensor.name for tensor in model.graph.initializer)]
    last = model.graph.output[0].name
    model.functions.append(
        helper.make_function("own", "F", inputs, [last], list(model.graph.node), list(model.opset_import))
    )
    del model.graph.node[:]
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("F", inputs, [last], "call", domain="own"))
    return model


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if isinstance(value, list) or hasattr(value, "__len__") else [value]:
                yield from _messages(inner)


def mutate_message(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change one field somewhere in a model, to a value of its type."""
    message = rng.choice(list(_messages(model)))
    fields = list(message.DESCRIPTOR.fields)
    set_fields = [field for field, _ in message.ListFields()]
    field = rng.choice(set_fields if set_fields and rng.random() < 0.7 else fields)
    repeated = hasattr(getattr(message, field.name), "__len__") and not isinstance(
        getattr(message, field.name), (str, bytes)
    )
    with contextlib.suppress(ValueError, TypeError, AttributeError, IndexError):
        if repeated:
            _mutate_list(getattr(message, field.name), field, rng)
        elif field.message_type is not None:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _value(field, rng))


def _mutate_list(values, field, rng: random.Random) -> None:  # noqa: ANN001 - protobuf's containers are not public
    place = rng.randrange(len(values)) if len(values) else 0
    choice = rng.random()
    if choice < 0.3 and len(values):
        del values[place]
    elif choice < 0.5 and len(values):
        values.extend([values[place]] * rng.choice([1, 1, 2, 50]))
    elif field.message_type is not None:
        values.add()
    elif len(values) and choice < 0.9:
        values[place] = _value(field, rng)
    else:
        values.append(_value(field, rng))


def _value(field, rng: random.Random):  # noqa: ANN001, ANN202 - as above
    if field.cpp_type in (field.CPPTYPE_STRING,):
        text = rng.choice(TEXTS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice([0.0, -1.0, 1e-40, 1e38, float("nan"), float("inf"), float(rng.randrange(-9, 9))])
    if field.cpp_type == field.CPPTYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    return rng.choice([*NUMBERS, rng.randrange(-5, 40)])


def case(seed: int) -> dict[str, bytes]:
    """The files of a seed: a model, and for some its external data."""
    rng = random.Random(seed)
    model = make(rng)
    beside = _with_external_data(model, rng) if rng.random() < 0.15 else {}
    if rng.random() < 0.75:
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            mutate_message(model, rng)
    data: bytes = model.SerializeToString()
    return {"model.onnx": mutate_bytes(data, rng) if rng.random() < 0.35 else data, **beside}


def _with_external_data(model: onnx.ModelProto, rng: random.Random) -> dict[str, bytes]:
    """Put the initializers of a model into a file beside it, which may be too short."""
    data = b""
    for tensor in model.graph.initializer:
        entries = {"location": "model.data", "offset": str(len(data)), "length": str(len(tensor.raw_data))}
        data += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    return {"model.data": data if rng.random() < 0.8 else data[: rng.randrange(len(data) + 1)]}
