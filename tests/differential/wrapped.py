"""Random nodes that hold nodes of their own: functions of the model, Loop and Scan; and other types in between."""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from tests.differential import unweighted, weighted
from tests.differential.builder import Builder, Tensor, element_type, value_info

LOCAL = "local"

_Step = Callable[[Builder, Tensor], Tensor | None]
_SAME: Sequence[_Step] = (
    weighted.same_conv,
    weighted.same_mat_mul,
    weighted.batch_norm,
    weighted.batch_norm,
    weighted.arithmetic,
    unweighted.ramp,
)


def _inner(g: Builder, x: Tensor, steps: Sequence[_Step], count: int) -> tuple[Builder, Tensor, Tensor]:
    """Nodes of a body, what they begin with and what they make."""
    inner = Builder(g.random, g.opset, count=g.count)
    begun = Tensor(inner.name("i"), x.shape, x.dtype, x.axis)
    made = inner.add("Identity", [begun], begun.shape)
    for _ in range(count):
        made = g.pick(steps)(inner, made) or made
    g.count = inner.count
    return inner, begun, made


def _nodes(inner: Builder) -> list[NodeProto]:
    return [*inner.literals, *inner.nodes]


def loop(g: Builder, x: Tensor) -> Tensor | None:
    """A tensor goes round two times; its constants lie in the body or outside of it."""
    if g.opset < 11 or x.dtype == "float16":
        return None
    inner, begun, made = _inner(g, x, _SAME, g.between(1, 4))
    turn, going, still = inner.name("turn"), inner.name("going"), inner.name("still")
    g.count = inner.count
    body = helper.make_graph(
        [*_nodes(inner), helper.make_node("Identity", [going], [still])],
        g.name("body"),
        [value_info(turn, "int64", []), value_info(going, "bool", []), value_info(begun.name, x.dtype, x.shape)],
        [value_info(still, "bool", []), value_info(made.name, x.dtype, made.shape)],
        _own(g, inner),
    )
    result = Tensor(g.name("t"), x.shape, x.dtype, x.axis)
    turns, condition = g.constant(2, "int64"), g.constant(True, "bool")
    g.node("Loop", [turns, condition, x.name], [result.name], body=body)
    return g.keep(result)


def scan(g: Builder, x: Tensor) -> Tensor | None:
    """Nodes that see one place of the first axis after the other."""
    if g.opset < 11 or x.rank < 3 or x.dtype == "float16":
        return None
    cut = Tensor(x.name, x.shape[1:], x.dtype, min(1, x.rank - 2))
    inner, begun, made = _inner(g, cut, (weighted.mat_mul, *_SAME, unweighted.transpose), g.between(1, 4))
    body = helper.make_graph(
        _nodes(inner),
        g.name("body"),
        [value_info(begun.name, x.dtype, begun.shape)],
        [value_info(made.name, x.dtype, made.shape)],
        _own(g, inner),
    )
    result = Tensor(g.name("t"), (x.shape[0], *made.shape), x.dtype, made.axis + 1)
    g.node("Scan", [x.name], [result.name], body=body, num_scan_inputs=1)
    return g.keep(result)


def fixed_if(g: Builder, x: Tensor) -> Tensor | None:
    """An If that takes the same branch always; the other one has nodes of its own, or hands the tensor on."""
    if g.opset < 11 or x.dtype == "float16":
        return None
    inner, begun, made = _inner(g, x, (weighted.conv, weighted.mat_mul, *_SAME), g.between(1, 4))
    other, seen, shown = _inner(g, x, _SAME, g.between(1, 2))
    g.count = other.count
    if made.shape != shown.shape:
        return None
    graphs = []
    for body, first, last in ((inner, begun, made), (other, seen, shown)):
        nodes = [helper.make_node("Identity", [x.name], [first.name]), *_nodes(body)]
        info = value_info(last.name, x.dtype, last.shape)
        graphs.append(helper.make_graph(nodes, g.name("body"), [], [info], _own(g, body)))
    takes_first = g.chance(0.5)
    condition = g.constant(takes_first, "bool")
    result = Tensor(g.name("t"), made.shape, x.dtype, made.axis)
    branches = graphs if takes_first else graphs[::-1]
    g.node("If", [condition], [result.name], then_branch=branches[0], else_branch=branches[1])
    return g.keep(result)


def _own(g: Builder, inner: Builder) -> list:
    """Constants of a body; now and then the graph around it has them instead."""
    own = []
    for name, values in inner.initializers.items():
        if g.chance(0.4):
            g.initializers[name] = values
        else:
            own.append(numpy_helper.from_array(values, name))
    return own


def function(g: Builder, x: Tensor) -> Tensor | None:
    """A function of the model, called once or twice; its numbers are its own, or come from the caller."""
    if g.opset < 15:
        return None
    inner, begun, made = _inner(g, x, (weighted.conv, weighted.mat_mul, *_SAME), g.between(1, 4))
    if made.name == begun.name:
        return None
    given = [name for name, values in inner.initializers.items() if values.dtype.kind == "f" and g.chance(0.6)]
    own = [name for name in inner.initializers if name not in given]
    literals = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(inner.initializers[name], name))
        for name in own
    ]
    name = g.name("Block")
    opsets = [helper.make_opsetid("", g.opset)]
    nodes = [*literals, *_nodes(inner)]
    g.functions.append(helper.make_function(LOCAL, name, [begun.name, *given], [made.name], nodes, opsets))
    for turn in range(2 if made.shape == x.shape and g.chance(0.4) else 1):
        parameters = [g.constant(np.roll(inner.initializers[key], turn), x.dtype) for key in given]
        x = g.add(name, [x, *parameters], made.shape, along=made.axis, domain=LOCAL)
    return x


def other_precision(g: Builder, x: Tensor) -> Tensor | None:
    """A BatchNorm in another type than what is around it, between two Casts."""
    other = {"float16": "float32", "float64": "float32", "float32": g.pick(["float16", "float64"])}[x.dtype]
    wide = _cast(g, x, other)
    made = weighted.batch_norm(g, wide)
    return None if made is None else _cast(g, made, x.dtype)


def _cast(g: Builder, x: Tensor, dtype: str) -> Tensor:
    result = Tensor(g.name("t"), x.shape, dtype, x.axis)
    g.node("Cast", [x.name], [result.name], to=element_type(dtype))
    return g.keep(result)


def frozen_batch_norm(g: Builder, x: Tensor) -> Tensor | None:
    """Statistics that the graph turns into a scale and a shift: w / sqrt(v + e), b - m * scale."""
    if x.rank < 2 or x.axis != 1 or x.dtype == "float16" or g.opset < 13:
        return None
    shape = (x.shape[1], *(1,) * (x.rank - 2))
    variance = 10.0 ** g.random.uniform(-2, 1, size=shape)
    weight, bias, mean = (g.constant(values, x.dtype) for values in (g.scales(shape) * np.sqrt(variance), *(
        g.random.normal(size=(2, *shape)))))  # fmt: skip
    epsilon, stored = g.constant(1e-3, x.dtype), g.constant(variance, x.dtype)
    names = [g.name("c") for _ in range(5)]
    steps = [("Add", [stored, epsilon]), ("Sqrt", names[:1])]
    steps += g.pick([[("Div", [weight, names[1]])], [("Reciprocal", [names[1]]), ("Mul", ["", weight])]])
    last = ""
    for place, (op_type, inputs) in enumerate(steps):
        last, before = names[place], last
        g.literals.append(helper.make_node(op_type, [name or before for name in inputs], [last]))
    shift = [g.name("c") for _ in range(2)]
    g.literals.append(helper.make_node("Mul", [mean, last], shift[:1]))
    g.literals.append(helper.make_node("Sub", [bias, shift[0]], shift[1:]))
    return g.add("Add", [g.add("Mul", [x, last], x.shape), shift[1]], x.shape)
