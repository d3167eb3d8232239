"""Random nodes without parameters: activations, pooling, reductions, data movement, joins.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

import numpy as np
from onnx import helper, numpy_helper

from tests.differential.builder import LARGEST_TENSOR, Builder, Tensor, element_type, size, value_info


def activation(g: Builder, x: Tensor) -> Tensor | None:
    op_type = g.pick(["Relu", "LeakyRelu", "Abs", "Abs", "Neg", "Identity", "Sigmoid", "Softmax", "Clip", "Dropout"])
    if op_type == "LeakyRelu":
        return None if x.dtype == "float64" else g.add(op_type, [x], x.shape, alpha=g.pick([0.01, 0.3]))
    if op_type == "Softmax":
        return g.add(op_type, [x], x.shape, axis=g.between(0, x.rank - 1))
    if op_type == "Clip":
        if g.opset < 12 and x.dtype == "float64":
            return None
        if g.opset < 11:
            return None if x.dtype == "float16" else g.add(op_type, [x], x.shape, min=-1.0, max=6.0)
        return g.add(op_type, [x, *(g.constant(limit, x.dtype) for limit in (-1, 6))], x.shape)
    if op_type == "Dropout" and g.opset >= 12 and g.chance(0.5):
        return g.add(op_type, [x, g.constant(0.5, "float32"), g.constant(False, "bool")], x.shape)
    return g.add(op_type, [x], x.shape)


def ramp(g: Builder, x: Tensor) -> Tensor:
    return g.add("Relu", [x], x.shape)


def cast(g: Builder, x: Tensor) -> Tensor:
    dtype = g.pick([kind for kind in ("float32", "float32", "float64", "float64", "float16") if kind != x.dtype])
    result = Tensor(g.name("t"), x.shape, dtype, x.axis)
    g.node("Cast", [x.name], [result.name], to=element_type(dtype))
    return g.keep(result)


def pool(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank not in (3, 4):
        return None
    op_type = g.pick(["MaxPool", "MaxPool", "AveragePool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if x.dtype == "float64" and (op_type != "MaxPool" or g.opset < 8):
        return None
    spatial = x.shape[2:]
    if op_type.startswith("Global"):
        return g.add(op_type, [x], (*x.shape[:2], *(1 for _ in spatial)), along=1)
    kernel = tuple(g.between(1, min(3, length)) for length in spatial)
    strides = tuple(g.pick([1, 1, 2]) for _ in spatial)
    attributes: dict = {"kernel_shape": kernel, "strides": strides}
    if op_type == "AveragePool" and g.chance(0.4):
        attributes["count_include_pad"] = 1
    if g.chance(0.15) and all(s <= k for s, k in zip(strides, kernel, strict=True)):
        attributes["auto_pad"] = "SAME_UPPER"
        result = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
        return g.add(op_type, [x], (*x.shape[:2], *result), along=1, **attributes)
    padded = g.chance(0.4)
    before, behind = (tuple(g.between(0, k - 1) if padded else 0 for k in kernel) for _ in range(2))
    attributes["pads"] = before + behind
    rooms = [n + p + q - k for n, k, p, q in zip(spatial, kernel, before, behind, strict=True)]
    if g.opset >= 10 and g.chance(0.3):
        ends = [-(-room // s) * s for room, s in zip(rooms, strides, strict=True)]
        if all(end < n + p for end, n, p in zip(ends, spatial, before, strict=True)):  # implementations differ beyond
            attributes["ceil_mode"], rooms = 1, ends
    result = [room // s + 1 for room, s in zip(rooms, strides, strict=True)]
    return g.add(op_type, [x], (*x.shape[:2], *result), along=1, **attributes)


def reduce(g: Builder, x: Tensor) -> Tensor | None:
    op_type = g.pick(["ReduceMean", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
    if x.rank < 2:
        return None
    axes = sorted({g.between(0, x.rank - 1) for _ in range(g.pick([1, 1, 2]))})
    if x.rank == 4 and g.chance(0.4):
        axes = [2, 3] if x.axis == 1 else [1, 2]
    keep = g.pick([0, 1])
    shape = [1 if axis in axes else length for axis, length in enumerate(x.shape) if keep or axis not in axes]
    along = x.axis if keep else x.axis - sum(axis < x.axis for axis in axes)
    given = [axis - x.rank if g.opset >= 11 and g.chance(0.3) else axis for axis in axes]
    if g.opset >= (13 if op_type == "ReduceSum" else 18):
        return g.add(op_type, [x, g.integers(given)], shape, along=along, keepdims=keep)
    return g.add(op_type, [x], shape, along=along, axes=given, keepdims=keep)


def cum_sum(g: Builder, x: Tensor) -> Tensor | None:
    if g.opset < 11 or x.dtype == "float16":
        return None
    attributes = {"exclusive": g.pick([0, 1]), "reverse": g.pick([0, 1])}
    return g.add("CumSum", [x, g.constant(g.between(0, x.rank - 1), "int64")], x.shape, **attributes)


def pad(g: Builder, x: Tensor) -> Tensor:
    mode = g.pick(["constant", "constant", "edge", "reflect"])
    before, behind = [0] * x.rank, [0] * x.rank
    for axis in {g.between(0, x.rank - 1), g.between(max(0, x.rank - 2), x.rank - 1)}:
        most = min(2, x.shape[axis] - 1) if mode == "reflect" else 2
        before[axis], behind[axis] = g.between(0, most), g.between(0, most)
        if mode == "constant" and x.shape[axis] > 1 and g.chance(0.15):
            before[axis] = -1
    shape = [sum(lengths) for lengths in zip(before, x.shape, behind, strict=True)]
    value = g.pick([0.0, 0.0, 1.5, -0.7])
    if g.opset < 11:
        return g.add("Pad", [x], shape, mode=mode, pads=before + behind, value=value)
    inputs = [x, g.integers(before + behind)]
    if value or g.chance(0.3):
        inputs.append(g.constant(value, x.dtype))
    if g.opset >= 18 and g.chance(0.4):
        axes = [axis for axis in range(x.rank) if before[axis] or behind[axis]] or [0]
        inputs[1] = g.integers([before[axis] for axis in axes] + [behind[axis] for axis in axes])
        inputs += ([""] if len(inputs) == 2 else []) + [g.integers(axes)]
    return g.add("Pad", inputs, shape, mode=mode)


def resize(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 4 or x.dtype == "float64":
        return None
    scales = [1.0, 1.0, g.pick([1.0, 2.0, 1.25]), g.pick([1.0, 2.0, 1.5, 0.5])]
    scales = [max(scale, 1.0) if length < 2 else scale for scale, length in zip(scales, x.shape, strict=True)]
    mode = g.pick(["nearest", "linear"])
    if g.opset < 10:
        scales = [max(scale, 1.0) for scale in scales]
    shape = [int(length * scale) for length, scale in zip(x.shape, scales, strict=True)]
    if g.opset < 9:
        return g.add("Upsample", [x], shape, scales=scales, mode=mode)
    factors = g.constant(scales, "float32")
    if g.opset == 9:
        return g.add("Upsample", [x, factors], shape, mode=mode)
    if g.opset == 10:
        return g.add("Resize", [x, factors], shape, mode=mode)
    if g.chance(0.2):
        mode = "cubic"
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    attributes = {"mode": mode, "coordinate_transformation_mode": g.pick(modes)}
    roi = "" if g.opset >= 13 else g.constant([], "float32")
    if g.chance(0.4):
        no_factors = "" if g.opset >= 13 else g.constant([], "float32")
        return g.add("Resize", [x, roi, no_factors, g.integers(shape)], shape, **attributes)
    return g.add("Resize", [x, roi, factors], shape, **attributes)


def transpose(g: Builder, x: Tensor) -> Tensor:
    """Channels to the end, to the front, or any permutation."""
    order = [int(axis) for axis in g.random.permutation(x.rank)]
    if x.rank > 2 and g.chance(0.7):
        rest = [axis for axis in range(x.rank) if axis != x.axis]
        place = 1 if x.axis == x.rank - 1 else x.rank - 1
        order = [*rest[:place], x.axis, *rest[place:]]
    if order == list(range(x.rank))[::-1] and g.chance(0.5):
        return g.add("Transpose", [x], x.shape[::-1], along=order.index(x.axis))
    return g.add("Transpose", [x], [x.shape[axis] for axis in order], along=order.index(x.axis), perm=order)


def reshape(g: Builder, x: Tensor) -> Tensor | None:
    """Merge two neighbouring axes or split one; the batch may be spelled 0 or -1."""
    shape = list(x.shape)
    place, along = g.between(0, x.rank - 1), x.axis
    divisors = [d for d in range(2, shape[place]) if shape[place] % d == 0]
    if x.rank >= 2 and (g.chance(0.6) or not divisors):
        place = min(place, x.rank - 2)
        shape[place : place + 2] = [shape[place] * shape[place + 1]]
        along -= along > place
    elif divisors and x.rank < 5:
        part = g.pick(divisors)
        shape[place : place + 1] = [part, shape[place] // part]
        along += along > place or (along == place and g.chance(0.5))
    else:
        return None
    target = list(shape)
    if place > 0 and g.chance(0.5):
        target[0] = 0
    if g.chance(0.5):
        target[g.between(0, len(shape) - 1)] = -1
    return g.add("Reshape", [x, g.integers(target)], shape, along=along)


def flatten(g: Builder, x: Tensor) -> Tensor:
    axis = g.pick([1, 1, g.between(0, x.rank)])
    return g.add("Flatten", [x], (size(x.shape[:axis]), size(x.shape[axis:])), along=int(x.axis >= axis), axis=axis)


def squeeze(g: Builder, x: Tensor) -> Tensor | None:
    axes = [axis for axis, length in enumerate(x.shape) if length == 1 and axis != x.axis and g.chance(0.8)]
    if not axes or len(axes) == x.rank:
        return None
    shape = [length for axis, length in enumerate(x.shape) if axis not in axes]
    along = x.axis - sum(axis < x.axis for axis in axes)
    if g.opset >= 13:
        return g.add("Squeeze", [x, g.integers(axes)], shape, along=along)
    return g.add("Squeeze", [x], shape, along=along, axes=axes)


def unsqueeze(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank > 3:
        return None
    axis = g.between(0, x.rank)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    along = x.axis + (axis <= x.axis)
    if g.opset >= 13:
        return g.add("Unsqueeze", [x, g.integers([axis])], shape, along=along)
    return g.add("Unsqueeze", [x], shape, along=along, axes=[axis])


def expand(g: Builder, x: Tensor) -> Tensor | None:
    if g.opset < 8 or size(x.shape) * 2 > LARGEST_TENSOR:
        return None
    target = [2 if length == 1 and g.chance(0.6) else length for length in x.shape]
    if g.chance(0.3) and x.rank < 4:
        target = [g.pick([1, 2]), *target]
    given = [1 if g.chance(0.3) and length == old else length for length, old in zip(target[::-1], x.shape[::-1])][::-1]  # noqa: B905
    given = target[: len(target) - x.rank] + given
    return g.add("Expand", [x, g.integers(given)], target, along=x.axis + len(target) - x.rank)


def slice_(g: Builder, x: Tensor) -> Tensor | None:
    axis = g.pick([x.axis, g.between(0, x.rank - 1)])
    length = x.shape[axis]
    start, stop = g.between(0, length - 1), g.pick([length, 2**31 - 1, g.between(1, length)])
    step = 1
    if g.opset >= 10 and g.chance(0.4):
        step = g.pick([2, -1])
        start, stop = (length - 1, -length - 1) if step < 0 else (start, stop)
    count = len(range(length)[start:stop:step])
    if count == 0:
        return None
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    if g.opset < 10:
        return g.add("Slice", [x], shape, starts=[start], ends=[stop], axes=[axis])
    axis_given = axis - x.rank if g.chance(0.3) else axis
    return g.add("Slice", [x, *(g.integers([n]) for n in (start, stop, axis_given, step))], shape)


def reverse_sequence(g: Builder, x: Tensor) -> Tensor | None:
    """Along any axis; the lengths are known at run time, or before it."""
    if x.rank < 2 or g.opset < 10 or x.dtype == "float16":
        return None
    batch, time = g.pick([(1, 0), (0, 1)])
    lengths = g.constant(g.random.integers(0, x.shape[time] + 1, size=x.shape[batch]), "int64")
    return g.add("ReverseSequence", [x, lengths], x.shape, batch_axis=batch, time_axis=time)


def gather(g: Builder, x: Tensor) -> Tensor | None:
    """One place of an axis, or two of them."""
    if x.rank < 2:
        return None
    axis = g.between(0, x.rank - 1)
    place = g.between(0, x.shape[axis] - 1) - (x.shape[axis] if g.opset >= 11 and g.chance(0.3) else 0)
    index = g.pick([np.int64(place), np.array([place]), np.array([0, 0])])
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    along = x.axis - (x.axis > axis and index.ndim == 0)
    return g.add("Gather", [x, g.constant(index, "int64")], shape, along=along, axis=axis)


def split(g: Builder, x: Tensor) -> Tensor | None:
    axis = g.pick([x.axis, x.axis, g.between(0, x.rank - 1)])
    length = x.shape[axis]
    if length < 2:
        return None
    cut = length // 2 if length % 2 == 0 and g.chance(0.5) else g.between(1, length - 1)
    parts = [
        Tensor(g.name("t"), (*x.shape[:axis], part, *x.shape[axis + 1 :]), x.dtype, x.axis)
        for part in (cut, length - cut)
    ]
    inputs, attributes = [x.name], {"axis": axis}
    if 2 * cut == length and g.chance(0.5):
        attributes |= {"num_outputs": 2} if g.opset >= 18 else {}
    elif g.opset >= 13:
        inputs.append(g.integers([cut, length - cut]))
    else:
        attributes["split"] = [cut, length - cut]
    g.node("Split", inputs, [part.name for part in parts], **attributes)
    return g.pick([g.keep(part) for part in parts])


def concat(g: Builder, x: Tensor) -> Tensor | None:
    """With other tensors, itself, or now and then a constant."""
    axis = g.pick([x.axis, x.axis, g.between(0, x.rank - 1)])

    def fits(other: Tensor) -> bool:
        return other.rank == x.rank and all(
            n == m or place == axis for place, (n, m) in enumerate(zip(x.shape, other.shape, strict=True))
        )

    others = [other for other in (g.partner(x, fits) for _ in range(g.pick([1, 1, 2]))) if other is not None]
    length = x.shape[axis] + sum(other.shape[axis] for other in others)
    if g.chance(0.25):
        width = g.between(1, 2)
        others.insert(0, _block(g, x.dtype, (*x.shape[:axis], width, *x.shape[axis + 1 :])))
        length += width
    joined = [*others, x] if g.chance(0.3) else [x, *others]
    return g.add("Concat", joined, (*x.shape[:axis], length, *x.shape[axis + 1 :]), axis=axis)


def _block(g: Builder, dtype: str, shape: tuple[int, ...]) -> str:
    """A constant of this shape; now and then a ConstantOfShape, which one number says."""
    if g.opset < 9 or g.chance(0.6):
        return g.parameter(g.random.normal(size=shape), dtype)
    name, target = g.name("c"), g.integers(shape)
    fill = numpy_helper.from_array(np.asarray([g.pick([0.0, 0.7])]).astype(dtype))
    g.literals.append(helper.make_node("ConstantOfShape", [target], [name], value=fill))
    return name


def halves(g: Builder, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Two Slices that share no place, and cover the axis or leave a gap."""
    length = x.channels
    if length < 2:
        return None
    stop = g.between(1, length - 1)
    start = g.pick([stop, g.between(stop, length - 1)])
    parts = []
    for first, last in ((0, stop), (start, length)):
        shape = (*x.shape[: x.axis], last - first, *x.shape[x.axis + 1 :])
        if g.opset < 10:
            parts.append(g.add("Slice", [x], shape, starts=[first], ends=[last], axes=[x.axis]))
        else:
            parts.append(g.add("Slice", [x, *(g.integers([n]) for n in (first, last, x.axis))], shape))
    return parts[0], parts[1]


def join(g: Builder, x: Tensor) -> Tensor | None:
    """Add, Sub, Sum or Mul with another tensor, of the same shape or repeated on some axes."""

    def fits(other: Tensor) -> bool:
        pairs = list(zip(x.shape[::-1], other.shape[::-1]))  # noqa: B905
        return other.rank <= x.rank and all(m in (n, 1) for n, m in pairs)

    other = g.partner(x, fits)
    op_type = g.pick(["Add", "Add", "Add", "Sub", "Sum", "Mul"])
    if other is None or (op_type == "Sum" and g.opset < 8 and other.shape != x.shape):
        return None
    if op_type == "Mul":
        other = g.add("Sigmoid", [other], other.shape)
    operands = [x, other] if g.chance(0.5) or other.shape != x.shape else [other, x]
    if op_type == "Sum" and g.chance(0.4):
        operands.append(x)
    joined = g.add(op_type, operands, x.shape)
    if op_type == "Mul" and g.chance(0.5):
        # A scale behind a gate, with no shift that would hold it there.
        return g.add(
            "Mul", [joined, g.constant(g.scales((x.shape[x.axis], *(1,) * (x.rank - 1 - x.axis))), x.dtype)], x.shape
        )
    return joined


def twice(g: Builder, x: Tensor) -> Tensor:
    """A tensor that meets itself."""
    return g.add(g.pick(["Add", "Add", "Sub"]), [x, x], x.shape)


def depth_to_space(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 4 or x.shape[1] % 4 or x.dtype == "float64":
        return None
    n, c, h, w = x.shape
    mode = {"mode": g.pick(["DCR", "CRD"])} if g.opset >= 11 else {}
    return g.add("DepthToSpace", [x], (n, c // 4, 2 * h, 2 * w), along=1, blocksize=2, **mode)


def space_to_depth(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 4 or x.shape[2] % 2 or x.shape[3] % 2 or x.dtype == "float64":
        return None
    n, c, h, w = x.shape
    return g.add("SpaceToDepth", [x], (n, c * 4, h // 2, w // 2), along=1, blocksize=2)


def shape_query(g: Builder, x: Tensor) -> Tensor:
    """The tensor's shape is an output of its own, or the target of a Reshape of the same tensor."""
    query = g.name("shape")
    g.node("Shape", [x.name], [query])
    if g.chance(0.4):
        g.queries.append(query)
        return x
    return g.add("Reshape", [x, query], x.shape)


def branch(g: Builder, x: Tensor) -> Tensor:
    """An If whose bodies capture the tensor; one of them may have a BatchNorm of its own."""
    bodies = [_body(g, x, g.chance(0.5) and x.rank >= 2) for _ in range(2)]
    result = Tensor(g.name("t"), x.shape, x.dtype, x.axis)
    g.node("If", [g.input("bool", ())], [result.name], then_branch=bodies[0], else_branch=bodies[1])
    return g.keep(result)


def _body(g: Builder, x: Tensor, with_batch_norm: bool):
    factor, result = g.name("c"), g.name("t")
    g.initializers[factor] = np.asarray(g.random.uniform(0.5, 1.5)).astype(x.dtype)
    nodes = [helper.make_node("Mul", [x.name, factor], [result])]
    if with_batch_norm:
        parameters = [g.name("c") for _ in range(4)]
        for name in parameters:
            g.initializers[name] = g.random.uniform(0.5, 1.5, size=x.shape[1]).astype(x.dtype)
        inner, result = result, g.name("t")
        nodes.append(helper.make_node("BatchNormalization", [inner, *parameters], [result]))
    return helper.make_graph(nodes, g.name("body"), [], [value_info(result, x.dtype, [None] * x.rank)])
