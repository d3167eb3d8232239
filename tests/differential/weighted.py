"""Random nodes with parameters: contractions, norms, recurrent operators, affine maps, tables.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

import numpy as np

from tests.differential.builder import Builder, Tensor

MICROSOFT = "com.microsoft"


def batch_norm(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank < 2 or (x.axis != 1 and g.chance(0.7)):
        return None
    channels = x.shape[1]
    variance = 10.0 ** g.random.uniform(-3, 1, size=channels)
    gamma = g.scales((channels,)) * np.sqrt(variance)
    mean = g.random.normal(size=channels) * 3
    beta = g.random.normal(size=channels) * 2
    if g.chance(0.35):
        mean, beta = np.zeros(channels), np.zeros(channels)
    parameters = [g.constant(values, x.dtype) for values in (gamma, beta, mean, variance)]
    return g.add("BatchNormalization", [x, *parameters], x.shape, along=1, epsilon=g.pick([1e-5, 1e-3]))


def arithmetic(g: Builder, x: Tensor) -> Tensor:
    """Mul, Add, Sub or Div by a constant, along the channels in most cases, on either side."""
    op_type = g.pick(["Mul", "Mul", "Add", "Add", "Sub", "Div"])
    axes = [g.pick([[x.axis], [x.axis], [x.axis], [], [g.between(0, x.rank - 1)], list(range(x.rank))])][0]
    shape = [length if axis in axes else 1 for axis, length in enumerate(x.shape)]
    while shape and shape[0] == 1 and g.chance(0.6):
        shape = shape[1:]
    values = g.scales(tuple(shape)) if op_type in ("Mul", "Div") else g.random.normal(size=shape) * 2
    if op_type == "Div":
        values = np.where(np.abs(values) < 0.3, 0.7, values)
    if op_type == "Mul" and g.chance(0.15):
        values = np.abs(values)
    constant = g.parameter(values, x.dtype)
    inputs = [constant, x] if op_type != "Div" and g.chance(0.3) else [x, constant]
    return g.add(op_type, inputs, x.shape)


def _window(g: Builder, length: int, largest: int = 3) -> tuple[int, int, int, int, int]:
    """Kernel, stride, dilation, padding before and behind along one axis."""
    kernel = g.between(1, min(largest, length))
    dilation = g.pick([1, 1, 2]) if kernel > 1 and 2 * (kernel - 1) + 1 <= length else 1
    padded = g.chance(0.4)
    return kernel, g.pick([1, 1, 2]), dilation, *(g.between(0, kernel - 1) if padded else 0 for _ in range(2))


def conv(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank not in (3, 4) or x.dtype == "float64":
        return None
    channels, spatial = x.shape[1], x.shape[2:]
    groups = g.pick([1, 1, *(d for d in range(1, channels + 1) if channels % d == 0)])
    outputs = groups * g.pick([1, 2]) if groups > 1 else g.between(1, 6)
    kernel, strides, dilations, before, behind = zip(*(_window(g, n) for n in spatial), strict=True)
    attributes: dict = {"strides": strides, "group": groups}
    if g.chance(0.15) and all(s <= k for s, k in zip(strides, kernel, strict=True)):
        attributes["auto_pad"] = g.pick(["SAME_UPPER", "SAME_LOWER"])
        result = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
    else:
        attributes |= {"dilations": dilations, "pads": before + behind}
        windows = zip(spatial, kernel, strides, dilations, before, behind, strict=True)
        result = [(n - d * (k - 1) - 1 + p + q) // s + 1 for n, k, s, d, p, q in windows]
    weight = g.weight(x.dtype, (outputs, channels // groups, *kernel), channels // groups * int(np.prod(kernel)))
    bias = [g.vector(x.dtype, (outputs,))] if g.chance(0.6) else [""] if g.chance(0.1) else []
    return g.add("Conv", [x, weight, *bias], (x.shape[0], outputs, *result), along=1, **attributes)


def widening_conv(g: Builder, x: Tensor) -> Tensor | None:
    """A pointwise convolution to a number of channels that DepthToSpace can take apart."""
    if x.rank != 4 or x.dtype == "float64":
        return None
    outputs = g.pick([4, 8])
    weight = g.weight(x.dtype, (outputs, x.shape[1], 1, 1), x.shape[1])
    return g.add("Conv", [x, weight], (x.shape[0], outputs, *x.shape[2:]), along=1)


def same_conv(g: Builder, x: Tensor) -> Tensor | None:
    """A convolution that keeps the shape, pointwise or padded, for residual branches."""
    if x.rank not in (3, 4) or x.dtype == "float64":
        return None
    channels, spatial = x.shape[1], x.rank - 2
    kernel = (g.pick([1, 1, 3]),) * spatial
    weight = g.weight(x.dtype, (channels, channels, *kernel), channels * int(np.prod(kernel)))
    bias = [g.vector(x.dtype, (channels,))] if g.chance(0.5) else []
    return g.add("Conv", [x, weight, *bias], x.shape, along=1, pads=[(k - 1) // 2 for k in kernel] * 2)


def conv_transpose(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank not in (3, 4) or x.dtype == "float64":
        return None
    channels, spatial = x.shape[1], x.shape[2:]
    groups = g.pick([1, 1, *(d for d in range(1, channels + 1) if channels % d == 0)])
    outputs = g.between(1, 3)
    kernel = tuple(g.pick([1, 2, 3]) for _ in spatial)
    strides = tuple(g.pick([1, 1, 2]) for _ in spatial)
    pads = tuple(g.pick([0, 0, 1]) if k > 2 and n > 1 else 0 for k, n in zip(kernel, spatial, strict=True))
    extra = tuple(g.pick([0, 1]) if s > 1 else 0 for s in strides)
    result = [(n - 1) * s + k - 2 * p + e for n, k, s, p, e in zip(spatial, kernel, strides, pads, extra, strict=True)]
    weight = g.weight(x.dtype, (channels, outputs, *kernel), channels // groups * int(np.prod(kernel)))
    bias = [g.vector(x.dtype, (outputs * groups,))] if g.chance(0.5) else []
    attributes = {"strides": strides, "pads": pads * 2, "group": groups}
    if any(extra):
        attributes["output_padding"] = extra
    return g.add("ConvTranspose", [x, weight, *bias], (x.shape[0], outputs * groups, *result), along=1, **attributes)


def deform_conv(g: Builder, x: Tensor) -> Tensor | None:
    """Offsets and mask are numbers that the graph has, or that another tensor gives."""
    if x.rank != 4 or x.dtype != "float32" or g.opset < 19:
        return None
    batch, channels, *spatial = x.shape
    groups = g.pick([d for d in range(1, channels + 1) if channels % d == 0])
    outputs = groups * g.between(1, 3)
    kernel = [g.between(1, min(2, n)) for n in spatial]
    pad = g.pick([0, 0, 1])
    result = [n - k + 1 + 2 * pad for n, k in zip(spatial, kernel, strict=True)]
    places = int(np.prod(kernel))
    inputs = [x, g.weight(x.dtype, (outputs, channels // groups, *kernel), channels // groups * places)]
    inputs.append(g.vector(x.dtype, (batch, 2 * places, *result)))
    has_mask = g.chance(0.3)
    if has_mask or g.chance(0.6):
        inputs.append(g.vector(x.dtype, (outputs,)))
    if has_mask:
        inputs.append(g.vector(x.dtype, (batch, places, *result)))
    shape = (batch, outputs, *result)
    return g.add("DeformConv", inputs, shape, along=1, group=groups, pads=[pad] * 4, kernel_shape=kernel)


def dynamic_product(g: Builder, x: Tensor) -> Tensor | None:
    """Integers of an input times integers of a weight, then their scales, as onnxruntime quantises dynamically.

    What another node makes may change by a rounding, which a quantizer makes a whole step of.
    """
    if x.rank not in (2, 4) or x.dtype != "float32" or g.opset < 11 or x.name not in g.inputs:
        return None
    names = [g.name("c") for _ in range(8)]
    g.node("DynamicQuantizeLinear", [x.name], names[:3])
    outputs = g.between(1, 5)
    kernel = tuple(g.between(1, min(2, n)) for n in x.shape[2:])
    is_product = x.rank == 2
    shape = (x.shape[1], outputs) if is_product else (outputs, x.shape[1], *kernel)
    weight = g.constant(g.random.integers(0, 256, size=shape), "uint8")
    zero = g.constant(128, "uint8")
    g.node("MatMulInteger" if is_product else "ConvInteger", [names[0], weight, names[2], zero], [names[3]])
    g.node("Cast", [names[3]], [names[4]], to=1)
    aligned = (outputs,) if is_product else (outputs, 1, 1)
    factor = g.constant(g.random.uniform(0.3, 2.0, size=aligned if g.chance(0.5) else ()) / 200, "float32")
    g.node("Mul", [names[1], factor], [names[5]])
    result = (x.shape[0], outputs, *(n - k + 1 for n, k in zip(x.shape[2:], kernel, strict=True)))
    made = Tensor(names[6], result, "float32", 1)
    g.node("Mul", [names[4], names[5]], [made.name])
    g.keep(made)
    return g.add("Add", [made, g.vector("float32", aligned)], result, along=1) if g.chance(0.7) else made


def fused_mat_mul(g: Builder, x: Tensor) -> Tensor | None:
    """A product of com.microsoft, with a factor and a transposed weight."""
    if x.dtype != "float32" or x.rank < 2:
        return None
    outputs, transposed = g.between(1, 6), g.pick([0, 1])
    shape = (outputs, x.shape[-1]) if transposed else (x.shape[-1], outputs)
    inputs = [x, g.weight(x.dtype, shape, x.shape[-1])]
    attributes = {"alpha": g.pick([0.5, -1.5])} if g.chance(0.5) else {}
    result = (*x.shape[:-1], outputs)
    return g.add("FusedMatMul", inputs, result, along=x.rank - 1, domain=MICROSOFT, transB=transposed, **attributes)


def skip_layer_norm(g: Builder, x: Tensor) -> Tensor | None:
    """A layer norm of com.microsoft, of a tensor and itself."""
    if x.dtype != "float32" or x.rank != 3:
        return None
    inputs = [x, x, *(g.vector(x.dtype, x.shape[-1:]) for _ in range(g.pick([1, 2, 3])))]
    return g.add("SkipLayerNormalization", inputs, x.shape, along=2, domain=MICROSOFT, epsilon=0.5)


def scaler(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 2 or x.dtype != "float32":
        return None
    length = g.pick([1, x.shape[1]])
    offset = [float(number) for number in g.random.normal(size=length) * 2]
    scale = [float(number) for number in g.scales((length,))]
    return g.add("Scaler", [x], x.shape, domain="ai.onnx.ml", offset=offset, scale=scale)


def gemm(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 2:
        return None
    attributes = {}
    rows, inputs = x.shape
    if g.chance(0.1):
        attributes["transA"] = 1
        rows, inputs = inputs, rows
    columns = g.between(1, 6)
    shape = (inputs, columns)
    if g.chance(0.5):
        attributes["transB"] = 1
        shape = (columns, inputs)
    weight = g.weight(x.dtype, shape, inputs)
    if g.chance(0.3):
        attributes |= {"alpha": g.pick([0.5, -1.5]), "beta": g.pick([0.5, -2.0, 0.0])}
    addend = g.pick([(columns,), (columns,), (columns,), (1, columns), (1,), (rows, columns), (rows, 1), ()])
    inputs = [x, weight]
    if g.opset < 11 or g.chance(0.7):
        inputs.append(g.vector(x.dtype, addend))
    return g.add("Gemm", inputs, (rows, columns), along=1, **attributes)


def mat_mul(g: Builder, x: Tensor) -> Tensor:
    """A constant on the right or, now and then, on the left; now and then of rank 3."""
    outputs = g.between(1, 6)
    if x.rank >= 2 and g.chance(0.25):
        weight = g.weight(x.dtype, (outputs, x.shape[-2]), x.shape[-2])
        return g.add("MatMul", [weight, x], (*x.shape[:-2], outputs, x.shape[-1]), along=x.rank - 2)
    if x.rank == 3 and g.chance(0.1):
        weight = g.weight(x.dtype, (x.shape[0], x.shape[2], outputs), x.shape[2])
    else:
        weight = g.weight(x.dtype, (x.shape[-1], outputs), x.shape[-1])
    return g.add("MatMul", [x, weight], (*x.shape[:-1], outputs), along=x.rank - 1)


def same_mat_mul(g: Builder, x: Tensor) -> Tensor:
    """A product that keeps the shape."""
    return g.add("MatMul", [x, g.weight(x.dtype, (x.shape[-1], x.shape[-1]), x.shape[-1])], x.shape)


def einsum(g: Builder, x: Tensor) -> Tensor | None:
    """A matrix along any axis; the axis of the results may stand elsewhere."""
    if g.opset < 12:
        return None
    outputs, axis = g.between(1, 5), g.between(0, x.rank - 1)
    term = "abcdefgh"[: x.rank]
    result = term.replace(term[axis], "z")
    if g.chance(0.3):
        result = "z" + result.replace("z", "")
    lengths = dict(zip(term, x.shape, strict=True)) | {"z": outputs}
    matrix = g.pick([term[axis] + "z", "z" + term[axis]])
    weight = g.weight(x.dtype, tuple(lengths[letter] for letter in matrix), x.shape[axis])
    shape, along = [lengths[letter] for letter in result], result.index("z")
    if g.chance(0.3):
        return g.add("Einsum", [weight, x], shape, along=along, equation=f"{matrix},{term}->{result}")
    return g.add("Einsum", [x, weight], shape, along=along, equation=f"{term},{matrix}->{result}")


def prelu(g: Builder, x: Tensor) -> Tensor | None:
    if x.dtype == "float64":
        return None
    shape = [length if axis == x.axis else 1 for axis, length in enumerate(x.shape)][g.pick([0, x.axis]) :]
    return g.add("PRelu", [x, g.vector(x.dtype, tuple(shape))], x.shape)


def instance_norm(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank < 3 or x.dtype == "float64":
        return None
    parameters = [g.vector(x.dtype, (x.shape[1],)) for _ in range(2)]
    return g.add("InstanceNormalization", [x, *parameters], x.shape, along=1, epsilon=0.5)


def group_norm(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank < 3 or g.opset < 21:
        return None
    channels = x.shape[1]
    groups = g.pick([d for d in range(1, channels + 1) if channels % d == 0])
    parameters = [g.vector(x.dtype, (channels,)) for _ in range(2)]
    return g.add("GroupNormalization", [x, *parameters], x.shape, along=1, num_groups=groups, epsilon=0.5)


def layer_norm(g: Builder, x: Tensor) -> Tensor | None:
    if g.opset < 17:
        return None
    axis = g.between(0, x.rank - 1) if g.chance(0.3) else x.rank - 1
    shape = x.shape[axis:]
    if g.chance(0.1):
        shape = tuple(g.pick([1, length]) for length in shape)
    parameters = [g.vector(x.dtype, shape) for _ in range(g.pick([1, 2, 2]))]
    attribute = axis if g.chance(0.5) else axis - x.rank
    return g.add("LayerNormalization", [x, *parameters], x.shape, along=x.rank - 1, axis=attribute, epsilon=0.5)


_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(g: Builder, x: Tensor) -> Tensor | None:
    """(sequence, batch, inputs) to (sequence, directions, batch, hidden)."""
    if x.rank != 3 or x.dtype == "float64":
        return None
    op_type = g.pick(list(_GATES))
    direction = g.pick(["forward", "reverse", "bidirectional"])
    directions, hidden = (2 if direction == "bidirectional" else 1), g.between(1, 3)
    rows = _GATES[op_type] * hidden
    steps, batch, width = x.shape
    inputs = [
        x,
        g.weight(x.dtype, (directions, rows, width), width),
        g.weight(x.dtype, (directions, rows, hidden), hidden),
    ]
    if g.chance(0.6):
        inputs.append(g.vector(x.dtype, (directions, 2 * rows)))
        if g.chance(0.3):
            inputs.append(g.constant(g.random.integers(1, steps + 1, size=batch), "int32"))
            inputs.append(g.vector(x.dtype, (directions, batch, hidden)))
    attributes = {"linear_before_reset": g.pick([0, 1])} if op_type == "GRU" else {}
    if g.chance(0.3):
        attributes["clip"] = 2.0
    shape = (steps, directions, batch, hidden)
    return g.add(op_type, inputs, shape, along=3, hidden_size=hidden, direction=direction, **attributes)


def embedding(g: Builder, x: Tensor) -> Tensor:
    """Rows of a constant table, a fresh tensor that does not depend on x."""
    places = g.input("int64", g.pick([(2, 3), (4,)]))
    shape = g.inputs[places][1]
    width = g.between(2, 5)
    table = g.weight(x.dtype, (7, width), 1)
    result = Tensor(g.name("t"), (*shape, width), x.dtype, len(shape))
    g.node("Gather", [table, places], [result.name])
    return g.keep(result)
