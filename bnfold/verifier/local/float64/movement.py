"""Operators that move numbers and compute none, and those that say how many there are. Source: ONNX up to opset 24."""

from typing import Any

import numpy as np

from bnfold.verifier.local.float64.operator import Array, Call, NotComputedError, computes


@computes("Transpose")
def _transpose(call: Call, x: Array) -> Array:
    return np.transpose(x, call.get("perm"))


@computes("Reshape")
def _reshape(call: Call, x: Array, shape: Array | None = None) -> Array:
    wanted = [int(size) for size in (call.get("shape") if shape is None else shape)]
    if not call.get("allowzero"):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


@computes("Flatten")
def _flatten(call: Call, x: Array) -> Array:
    axis = call.get("axis", 1)
    first = int(np.prod(x.shape[:axis])) if axis else 1
    return x.reshape(first, x.size // first if first else 0)


def _axes(call: Call, given: Array | None) -> list[int] | None:
    """Of an operator that takes them as an input since opset 13, and as an attribute before."""
    axes = call.get("axes") if given is None else given
    return None if axes is None else [int(axis) for axis in axes]


@computes("Squeeze")
def _squeeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    chosen = _axes(call, axes)
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


@computes("Unsqueeze")
def _unsqueeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(_axes(call, axes) or ()))


@computes("Concat")
def _concat(call: Call, *inputs: Array) -> Array:
    return np.concatenate(inputs, call.get("axis", 1))


@computes("Split")
def _split(call: Call, x: Array, lengths: Array | None = None) -> list[Array]:
    axis = call.get("axis", 0)
    given = call.get("split") if lengths is None else lengths
    if given is None:
        size = -(-x.shape[axis] // call.outputs)
        given = [size] * (call.outputs - 1)
        return np.split(x, np.cumsum(given), axis)
    return np.split(x, np.cumsum([int(length) for length in given])[:-1], axis)


@computes("Slice")
def _slice(
    call: Call,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    first = call.get("starts") if starts is None else starts
    last = call.get("ends") if ends is None else ends
    along = _axes(call, axes)
    along = list(range(len(first))) if along is None else along
    by = [1] * len(along) if steps is None else [int(step) for step in steps]
    where: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(along, map(int, first), map(int, last), by, strict=True):
        # Going backwards, an end before the beginning is given as a very negative number.
        stop = None if step < 0 and end < -x.shape[axis] else end
        where[axis] = slice(start, stop, step)
    return np.asarray(x[tuple(where)])


@computes("Gather")
def _gather(call: Call, x: Array, indices: Array) -> Array:
    return np.asarray(np.take(x, indices.astype(np.int64), call.get("axis", 0)))


@computes("GatherElements")
def _gather_elements(call: Call, x: Array, indices: Array) -> Array:
    axis = call.get("axis", 0)
    return np.asarray(np.take_along_axis(x, np.where(indices < 0, indices + x.shape[axis], indices), axis))


@computes("Expand")
def _expand(_call: Call, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(size) for size in shape)))


@computes("Tile")
def _tile(_call: Call, x: Array, repeats: Array) -> Array:
    return np.tile(x, [int(times) for times in repeats])


@computes("Pad")
def _pad(
    call: Call, x: Array, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
) -> Array:
    given = [int(pad) for pad in (call.get("pads", call.get("paddings")) if pads is None else pads)]
    along = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in axes]
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(along):
        widths[axis] = (given[place], given[place + len(along)])
    cut: tuple[Any, ...] = tuple(
        slice(max(0, -begin), size - max(0, -end)) for (begin, end), size in zip(widths, x.shape, strict=True)
    )
    more = [(max(0, begin), max(0, end)) for begin, end in widths]
    mode = call.text("mode", "constant")
    if mode == "constant":
        filler = call.get("value", 0.0) if value is None or not value.size else value.reshape(())
        return np.pad(x[cut], more, constant_values=filler)
    return np.pad(x[cut], more, mode=mode)  # type: ignore[call-overload,no-any-return]


@computes("DepthToSpace")
def _depth_to_space(call: Call, x: Array) -> Array:
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.text("mode", "DCR") == "DCR":
        spread = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        spread = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return np.asarray(spread.reshape(n, c // (b * b), h * b, w * b))


@computes("SpaceToDepth")
def _space_to_depth(call: Call, x: Array) -> Array:
    n, c, h, w = x.shape
    b = call.get("blocksize")
    return np.asarray(
        x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)
    )


@computes("Shape")
def _shape(call: Call, x: Array) -> Array:
    return np.asarray(x.shape[call.get("start", 0) : call.get("end")], np.int64)


@computes("Size")
def _size(_call: Call, x: Array) -> Array:
    return np.asarray(x.size, np.int64)


@computes("ConstantOfShape")
def _constant_of_shape(call: Call, shape: Array) -> Array:
    value = call.get("value", np.zeros(1))
    return np.full([int(size) for size in shape], value.reshape(-1)[0])


@computes("Constant")
def _constant(call: Call) -> Array:
    for name, value in call.attributes.items():
        if name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
            return np.asarray(value, np.int64 if "int" in name else None)
    raise NotComputedError("a Constant that is sparse or holds strings")


@computes("Range")
def _range(_call: Call, start: Array, limit: Array, delta: Array) -> Array:
    count = max(0, int(np.ceil((limit - start) / delta)))
    return np.asarray(start + delta * np.arange(count), start.dtype)
