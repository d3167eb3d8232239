"""Random data movement at constant places: tiles, selections, sequences; and what weighs tensors alike.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

import numpy as np

from tests.differential.builder import LARGEST_TENSOR, Builder, Tensor, size


def tile(g: Builder, x: Tensor) -> Tensor | None:
    """Twice over along one axis, of whatever meaning."""
    if 2 * size(x.shape) > LARGEST_TENSOR or x.dtype == "float16":
        return None
    axis = g.pick([x.axis, g.between(0, x.rank - 1)])
    repeats = [2 if place == axis else 1 for place in range(x.rank)]
    shape = [length * times for length, times in zip(x.shape, repeats, strict=True)]
    return g.add("Tile", [x, g.integers(repeats)], shape)


def compress(g: Builder, x: Tensor) -> Tensor | None:
    if g.opset < 9 or x.dtype == "float16":
        return None
    axis = g.pick([x.axis, g.between(0, x.rank - 1)])
    kept = g.random.random(x.shape[axis]) < 0.7
    kept[g.between(0, len(kept) - 1)] = True
    shape = (*x.shape[:axis], int(kept.sum()), *x.shape[axis + 1 :])
    return g.add("Compress", [x, g.constant(kept, "bool")], shape, axis=axis)


def gather_elements(g: Builder, x: Tensor) -> Tensor | None:
    """An order of one axis, which may be another one at each place of the others."""
    if g.opset < 11 or x.dtype == "float16":
        return None
    axis = g.pick([x.axis, g.between(0, x.rank - 1)])
    if g.chance(0.7):
        order = g.random.permutation(x.shape[axis])
        index = np.broadcast_to(order.reshape([-1 if place == axis else 1 for place in range(x.rank)]), x.shape)
    else:
        index = g.random.integers(0, x.shape[axis], size=x.shape)
    return g.add("GatherElements", [x, g.constant(index, "int64")], x.shape, axis=axis)


def scatter(g: Builder, x: Tensor) -> Tensor | None:
    """Some places of an axis that are another tensor's, or a constant's."""
    if g.opset < 11 or x.dtype == "float16":
        return None
    axis, count = x.axis, g.between(1, x.channels)
    places = g.random.permutation(x.channels)[:count]
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    updates = g.partner(x, lambda other: other.shape == shape) or g.parameter(g.random.normal(size=shape), x.dtype)
    if g.chance(0.5):
        index = np.broadcast_to(places.reshape([-1 if place == axis else 1 for place in range(x.rank)]), shape)
        return g.add("ScatterElements", [x, g.constant(index, "int64"), updates], x.shape, axis=axis)
    lists = [np.arange(length) for length in x.shape[:axis]]
    index = np.stack(np.meshgrid(*lists, places, indexing="ij"), axis=-1)
    return g.add("ScatterND", [x, g.constant(index, "int64"), updates], x.shape)


def turned(g: Builder, x: Tensor) -> Tensor | None:
    """As many places of each sequence turned around."""
    if x.rank < 2 or g.opset < 10 or x.dtype == "float16":
        return None
    batch, time = g.pick([(1, 0), (0, 1)])
    lengths = np.full(x.shape[batch], g.between(0, x.shape[time]))
    return g.add("ReverseSequence", [x, g.constant(lengths, "int64")], x.shape, batch_axis=batch, time_axis=time)


def cast_like(g: Builder, x: Tensor) -> Tensor | None:
    """To the type that it has."""
    if g.opset < 15:
        return None
    return g.add("CastLike", [x, g.constant(np.ones(1), x.dtype)], x.shape)


def mean(g: Builder, x: Tensor) -> Tensor | None:
    if x.dtype != "float32":
        return None
    others = [g.partner(x, lambda other: other.shape == x.shape) for _ in range(g.pick([1, 2]))]
    return g.add("Mean", [x, *(other for other in others if other is not None)], x.shape)


def rolled(g: Builder, x: Tensor) -> Tensor | None:
    """Two Slices that change places."""
    if g.opset < 10 or x.channels < 2:
        return None
    by, axis, parts = g.between(1, x.channels - 1), x.axis, []
    for start, stop in ((by, x.channels), (0, by)):
        shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
        parts.append(g.add("Slice", [x, *(g.integers([number]) for number in (start, stop, axis))], shape))
    return g.add("Concat", parts, x.shape, axis=axis)


def through_sequence(g: Builder, x: Tensor) -> Tensor | None:
    """Put into a sequence, or cut into one, and taken out or joined again."""
    if g.opset < 11 or x.dtype == "float16":
        return None
    sequence, axis = g.name("s"), g.pick([x.axis, g.between(0, x.rank - 1)])
    if g.chance(0.5) and x.shape[axis] > 1:
        cut = g.between(1, x.shape[axis] - 1)
        sizes = [cut, x.shape[axis] - cut]
        g.node("SplitToSequence", [x.name, g.integers(sizes)], [sequence], axis=axis)
    else:
        partner = g.partner(x, lambda other: other.shape == x.shape and other.name != x.name) or x
        sizes = [x.shape[axis]] * 2
        g.node("SequenceConstruct", [x.name, partner.name], [sequence])
    if g.chance(0.5):
        shape = (*x.shape[:axis], sum(sizes), *x.shape[axis + 1 :])
        return _made(g, x, "ConcatFromSequence", [sequence], shape, axis=axis)
    position = g.pick([0, 1])
    shape = (*x.shape[:axis], sizes[position], *x.shape[axis + 1 :])
    place = g.constant(g.pick([position, position - 2]), "int64")
    return _made(g, x, "SequenceAt", [sequence, place], shape)


def _made(g: Builder, x: Tensor, op_type: str, inputs: list[str], shape: tuple[int, ...], **attributes) -> Tensor:
    result = Tensor(g.name("t"), shape, x.dtype, x.axis)
    g.node(op_type, inputs, [result.name], **attributes)
    return g.keep(result)


def gathered(g: Builder, x: Tensor) -> Tensor | None:
    """Places of one axis or of two together, in a list or in a table."""
    if x.rank < 2 or g.opset < 12 or x.dtype == "float16":
        return None
    if g.chance(0.6):
        places = g.random.integers(0, x.shape[1], size=g.pick([(2,), (3,), (1, 2)]))
        index = np.broadcast_to(places[..., None], (x.shape[0], *places.shape, 1))
        shape = (x.shape[0], *places.shape, *x.shape[2:])
        return g.add("GatherND", [x, g.constant(index, "int64")], shape, along=len(places.shape), batch_dims=1)
    count = g.between(1, 3)
    index = np.stack([g.random.integers(0, length, size=(2, count)) for length in x.shape[:2]], axis=-1)
    return g.add("GatherND", [x, g.constant(index, "int64")], (2, count, *x.shape[2:]), along=1)


def chosen(g: Builder, x: Tensor) -> Tensor | None:
    """A number of x or of another tensor, or of a constant, by a mask of the file or of the run time."""
    if g.opset < 9 or x.dtype != "float32":
        return None
    other = g.partner(x, lambda tensor: tensor.shape == x.shape) if g.chance(0.4) else None
    held = g.constant(g.random.normal(size=g.pick([(), (1,), x.shape[-1:]])), x.dtype)
    parts = g.pick([[x, other or held], [other or held, x]])
    if g.chance(0.7):
        lengths = [g.pick([1, length]) for length in x.shape]
        mask = g.constant(g.random.random(lengths) < 0.5, "bool")
    else:
        mask = g.name("m")
        seen = g.partner(x, lambda tensor: tensor.shape == x.shape and tensor.name != x.name) or x
        g.node("Less", [seen.name, g.constant(0.0, x.dtype)], [mask])
    return g.add("Where", [mask, *parts], x.shape)


def largest(g: Builder, x: Tensor) -> Tensor | None:
    """Or the smallest, of two tensors, of a tensor and a constant, or of a tensor and what is made of it."""
    if g.opset < 8 or x.dtype != "float32":
        return None
    other = g.partner(x, lambda tensor: tensor.shape == x.shape and tensor.name != x.name) if g.chance(0.5) else None
    if other is None and g.chance(0.3):
        other = g.add("Mul", [x, g.constant(0.2, x.dtype)], x.shape)
    held = g.constant(g.random.normal(size=g.pick([(), (), x.shape[-1:]])), x.dtype)
    return g.add(g.pick(["Max", "Min"]), [x, other or held], x.shape)
