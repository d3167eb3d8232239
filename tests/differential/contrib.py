"""Random nodes of com.microsoft, as onnxruntime's optimisers write them, and attention spelled out and fused.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

import numpy as np

from tests.differential import unweighted
from tests.differential.builder import Builder, Tensor

MICROSOFT = "com.microsoft"

_ACTIVATIONS: list[dict] = [
    {},
    {"activation": "Relu"},
    {"activation": "Relu"},
    {"activation": "Tanh"},
    {"activation": "Sigmoid"},
    {"activation": "LeakyRelu", "activation_params": [0.3]},
    {"activation": "Clip", "activation_params": [-1.0, 2.0]},
    {"activation": "HardSigmoid", "activation_params": [0.2, 0.5]},
]


def fused_conv(g: Builder, x: Tensor) -> Tensor | None:
    """A convolution with an activation of its own, and now and then a tensor that it adds."""
    if x.rank != 4 or x.dtype != "float32":
        return None
    channels, outputs, side = x.shape[1], g.between(1, 6), g.pick([1, 1, 3])
    shape = (x.shape[0], outputs, *x.shape[2:])
    addend = g.partner(x, lambda other: other.shape == shape and other.axis == 1)
    if addend is None and g.chance(0.4):
        addend = g.add("Conv", [x, g.weight(x.dtype, (outputs, channels, 1, 1), channels)], shape, along=1)
    bias = [g.vector(x.dtype, (outputs,))] if g.chance(0.6) else []
    inputs = [x, g.weight(x.dtype, (outputs, channels, side, side), channels * side * side), *bias]
    if addend is not None:
        inputs += [*([] if bias else [""]), addend]
    given = {"pads": [side // 2] * 4, **g.pick(_ACTIVATIONS)}
    return g.add("FusedConv", inputs, shape, along=1, domain=MICROSOFT, **given)


def fused_gemm(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 2 or x.dtype != "float32":
        return None
    columns = g.between(1, 6)
    inputs = [x, g.weight(x.dtype, (columns, x.shape[1]), x.shape[1]), g.vector(x.dtype, (columns,))]
    given = g.pick([{"activation": "Relu"}, {"activation": "LeakyRelu", "activation_alpha": 0.3}])
    scales = {"alpha": 0.5, "beta": -2.0} if g.chance(0.3) else {}
    return g.add("FusedGemm", inputs, (x.shape[0], columns), along=1, domain=MICROSOFT, transB=1, **given, **scales)


def gelu(g: Builder, x: Tensor) -> Tensor | None:
    """Gelu, BiasGelu, FastGelu, QuickGelu."""
    if x.dtype != "float32":
        return None
    op_type = g.pick(["Gelu", "BiasGelu", "FastGelu", "FastGelu", "QuickGelu"])
    biased = op_type == "BiasGelu" or (op_type == "FastGelu" and g.chance(0.7))
    if biased and g.chance(0.5):
        x = g.add("Add", [x, g.vector(x.dtype, x.shape[-1:])], x.shape)
    bias = [g.vector(x.dtype, x.shape[-1:])] if biased else []
    return g.add(op_type, [x, *bias], x.shape, domain=MICROSOFT)


def embed_layer_norm(g: Builder, x: Tensor) -> Tensor | None:
    """A norm of embeddings, which do not depend on x."""
    if x.dtype != "float32" or g.chance(0.6):
        return None
    shape, width = (2, 3), 4
    words = g.input("int32", shape)
    tables = [g.weight(x.dtype, (rows, width), 1) for rows in (7, 3)]
    norm = [g.vector(x.dtype, (width,)) for _ in range(2)]
    result = Tensor(g.name("t"), (*shape, width), x.dtype, 2)
    inputs = [words, "", *tables, "", *norm]
    g.node("EmbedLayerNormalization", inputs, [result.name, g.name("t")], domain=MICROSOFT, epsilon=0.5)
    return g.keep(result)


def fused_attention(g: Builder, x: Tensor) -> Tensor | None:
    """Attention with its own weights."""
    if x.rank != 3 or x.dtype != "float32":
        return None
    heads, width = g.pick([1, 2]), g.pick([2, 4])
    inputs = [x, g.weight(x.dtype, (x.shape[2], 3 * width), x.shape[2]), g.vector(x.dtype, (3 * width,))]
    shape = (*x.shape[:2], width)
    return g.add("Attention", inputs, shape, along=2, domain=MICROSOFT, num_heads=heads)


def attention(g: Builder, x: Tensor) -> Tensor | None:
    """Softmax of Q K', times V: with heads or without, with biases or without, scaled and masked."""
    if x.rank != 3 or x.dtype == "float16":
        return None
    batch, length, _ = x.shape
    heads, width = g.pick([1, 1, 2]), 2
    q, k, v = (_projected(g, x, heads, width, turned=turned) for turned in (False, True, False))
    scores = g.add("MatMul", [q, k], (*q.shape[:-1], length), along=q.rank - 1)
    steps = g.pick([[], ["Mul"], ["Div"], ["Add"], ["Mul", "Add"], ["mask"], ["Mul", "mask"]])
    for op_type in steps:
        if op_type == "mask":
            scores = _masked(g, scores)
            continue
        shape = (length, length) if op_type == "Add" else ()
        values = g.random.normal(size=shape) if op_type == "Add" else g.random.uniform(0.3, 2.0)
        scores = g.add(op_type, [scores, g.constant(values, x.dtype)], scores.shape)
    weights = g.add(
        "Softmax" if "mask" in steps else g.pick(["Softmax", "Softmax", "LogSoftmax"]),
        [scores],
        scores.shape,
        axis=g.pick([-1, scores.rank - 1]) if g.opset >= 13 else scores.rank - 1,
    )
    mixed = g.add("MatMul", [weights, v], (*weights.shape[:-1], width), along=v.rank - 1)
    if heads > 1:
        turned = g.add("Transpose", [mixed], (batch, length, heads, width), along=3, perm=[0, 2, 1, 3])
        mixed = g.add("Reshape", [turned, g.integers([0, 0, -1])], (batch, length, heads * width), along=2)
    out = g.weight(x.dtype, (heads * width, 4), heads * width)
    made = g.add("MatMul", [mixed, out], (batch, length, 4), along=2)
    return g.add("Add", [made, g.vector(x.dtype, (4,))], made.shape) if g.chance(0.7) else made


def multi_head_attention(g: Builder, x: Tensor) -> Tensor | None:
    """Attention without weights: with a bias of its own or without, causal or not, between projections."""
    if x.rank != 3 or x.dtype != "float32":
        return None
    batch, length, _ = x.shape
    width = 2 * g.pick([1, 2])
    q, k, v = (_projected(g, x, 1, width, turned=False) for _ in range(3))
    bias = [g.vector(x.dtype, (3 * width,))] if g.chance(0.3) else []
    attributes = {"num_heads": g.pick([1, 2]), "unidirectional": g.pick([0, 0, 1])}
    mixed = g.add("MultiHeadAttention", [q, k, v, *bias], q.shape, along=2, domain=MICROSOFT, **attributes)
    if g.chance(0.4):
        return mixed
    made = g.add("MatMul", [mixed, g.weight(x.dtype, (width, 4), width)], (batch, length, 4), along=2)
    return g.add("Add", [made, g.vector(x.dtype, (4,))], made.shape)


def _masked(g: Builder, scores: Tensor) -> Tensor:
    """Minus infinity in the place of some scores, or added to them; the first of each row is shown.

    Nothing but the softmax reads them: the difference of two is no number.
    """
    made = Tensor(g.name("t"), scores.shape, scores.dtype, scores.axis)
    shown = g.random.random((scores.shape[-2], scores.shape[-1])) < 0.6
    shown[:, 0] = True
    if g.opset < 9 or g.chance(0.5):
        hidden = np.where(shown, 0.0, -np.inf)
        g.node("Add", [scores.name, g.constant(hidden, scores.dtype)], [made.name])
    else:
        never = g.constant(-np.inf, scores.dtype)
        g.node("Where", [g.constant(shown, "bool"), scores.name, never], [made.name])
    return made


def _projected(g: Builder, x: Tensor, heads: int, width: int, *, turned: bool) -> Tensor:
    """(batch, length, width), with an axis for heads in front of the length if there are several; K is turned."""
    batch, length, inputs = x.shape
    total = heads * width
    made = g.add("MatMul", [x, g.weight(x.dtype, (inputs, total), inputs)], (batch, length, total), along=2)
    if g.chance(0.5):
        made = g.add("Add", [made, g.vector(x.dtype, (total,))], made.shape)
    if g.chance(0.1):
        made = unweighted.ramp(g, made)
    if heads > 1:
        made = g.add("Reshape", [made, g.integers([0, 0, heads, width])], (batch, length, heads, width), along=3)
        order = [0, 2, 3, 1] if turned else [0, 2, 1, 3]
        shape = tuple(made.shape[axis] for axis in order)
        return g.add("Transpose", [made], shape, along=order.index(3), perm=order)
    return g.add("Transpose", [made], (batch, total, length), along=1, perm=[0, 2, 1]) if turned else made


def integer_conv(g: Builder, x: Tensor) -> Tensor | None:
    """Integers of an input through a convolution of integers: QLinearConv, and numbers again behind it."""
    if x.rank != 4 or x.dtype != "float32" or g.opset < 10 or x.name not in g.inputs:
        return None
    outputs, channels = g.between(1, 5), x.shape[1]
    steps = [g.constant(value, "float32") for value in (0.05, 0.02, 0.1)]
    zeros = [g.constant(zero, "uint8") for zero in (128, 120, 126)]
    weight = g.constant(g.random.integers(0, 256, size=(outputs, channels, 1, 1)), "uint8")
    names = [g.name("c") for _ in range(2)]
    g.node("QuantizeLinear", [x.name, steps[0], zeros[0]], names[:1])
    bias = [g.constant(g.random.integers(-500, 500, size=outputs), "int32")] if g.chance(0.5) else []
    inputs = [names[0], steps[0], zeros[0], weight, steps[1], zeros[1], steps[2], zeros[2], *bias]
    g.node("QLinearConv", inputs, names[1:])
    result = Tensor(g.name("t"), (x.shape[0], outputs, *x.shape[2:]), "float32", 1)
    g.node("DequantizeLinear", [names[1], steps[2], zeros[2]], [result.name])
    return g.keep(result)


def quantized(g: Builder, x: Tensor) -> Tensor | None:
    """Rounded to integers and back, in ONNX's own operators or in those of com.microsoft."""
    if x.dtype != "float32" or g.opset < 10:
        return None
    domain = {"domain": MICROSOFT} if g.chance(0.3) else {}
    step, zero = g.constant(g.pick([0.05, 0.1]), "float32"), g.constant(g.pick([0, 3]), "int8")
    name, result = g.name("c"), Tensor(g.name("t"), x.shape, x.dtype, x.axis)
    g.node("QuantizeLinear", [x.name, step, zero], [name], **domain)
    g.node("DequantizeLinear", [name, step, zero], [result.name], **domain)
    return g.keep(result)


def trained_layer(g: Builder, x: Tensor) -> Tensor | None:
    """A layer as quantisation-aware training exports it: its float weight is rounded to integers and back."""
    if x.rank not in (2, 4) or x.dtype != "float32" or g.opset < 13:
        return None
    x = quantized(g, x) or x
    outputs, inputs = g.between(1, 5), x.shape[1]
    shape = (inputs, outputs) if x.rank == 2 else (outputs, inputs, 1, 1)
    axis = 1 - x.rank // 4
    cells = () if g.chance(0.4) else (outputs,)
    step = np.full(cells, 0.02) if not cells else g.random.uniform(0.01, 0.03, size=cells)
    names = [g.name("c") for _ in range(2)]
    domain = {"domain": MICROSOFT} if g.chance(0.2) else {}
    scale, zero = g.constant(step, "float32"), g.constant(np.zeros(cells), "int8")
    weight = g.constant(g.random.normal(size=shape) / np.sqrt(inputs), "float32")
    g.node("QuantizeLinear", [weight, scale, zero], names[:1], axis=axis, **domain)
    g.node("DequantizeLinear", [names[0], scale, zero], names[1:], axis=axis, **domain)
    bias = []
    if g.chance(0.6):
        small = g.constant(np.broadcast_to(step * 0.05, (outputs,)) if cells else step * 0.05, "float32")
        stored = g.constant(g.random.integers(-900, 900, size=outputs), "int32")
        bias = [g.name("c")]
        g.node("DequantizeLinear", [stored, small], bias, axis=0)
    if x.rank == 2:
        return g.add("Gemm", [x, names[1], *bias], (x.shape[0], outputs), along=1)
    return g.add("Conv", [x, names[1], *bias], (x.shape[0], outputs, *x.shape[2:]), along=1)
