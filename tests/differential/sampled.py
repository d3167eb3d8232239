"""Random operators that read images between their places, sort them or take norms, and linear models of tables.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

import numpy as np

from tests.differential.builder import Builder, Tensor
from tests.differential.contrib import MICROSOFT

_MODELS = "ai.onnx.ml"


def grid_sample(g: Builder, x: Tensor) -> Tensor | None:
    of_microsoft = g.opset < 16 or g.chance(0.3)
    if x.rank != 4 or x.dtype != "float32":
        return None
    height, width = g.between(1, 4), g.between(1, 4)
    grid = g.constant(g.random.uniform(-1.3, 1.3, size=(x.shape[0], height, width, 2)), x.dtype)
    modes = ["bilinear", "nearest"] if of_microsoft or g.opset < 20 else ["linear", "nearest"]
    given = {"mode": g.pick(modes), "padding_mode": g.pick(["zeros", "border", "reflection"])}
    domain = {"domain": MICROSOFT} if of_microsoft else {}
    return g.add("GridSample", [x, grid], (*x.shape[:2], height, width), **domain, **given)


def regions(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank != 4 or x.dtype != "float32" or not 10 <= g.opset < 22:
        return None
    count, side = g.between(1, 3), g.between(1, 3)
    if g.chance(0.3):
        boxes = [[g.between(0, x.shape[0] - 1), 0, 0, g.between(1, 3), g.between(1, 3)] for _ in range(count)]
        size = [side, side]
        return g.add("MaxRoiPool", [x, g.constant(boxes, x.dtype)], (count, x.shape[1], *size), pooled_shape=size)
    corners = np.sort(g.random.uniform(0, 6, size=(count, 2, 2)), axis=1).reshape(count, 4)
    images = g.constant(g.random.integers(0, x.shape[0], size=count), "int64")
    given = {"output_height": side, "output_width": side, "mode": g.pick(["avg", "avg", "max"])}
    return g.add("RoiAlign", [x, g.constant(corners, x.dtype), images], (count, x.shape[1], side, side), **given)


def top_k(g: Builder, x: Tensor) -> Tensor | None:
    if x.dtype not in ("float32", "float64") or g.opset < 11 or x.rank < 2:
        return None
    axis = g.between(1, x.rank - 1)
    count = g.between(1, x.shape[axis])
    shape = tuple(count if place == axis else length for place, length in enumerate(x.shape))
    result = Tensor(g.name("t"), shape, x.dtype, x.axis)
    given = {"axis": g.pick([axis, axis - x.rank]), "largest": g.pick([0, 1])}
    g.node("TopK", [x.name, g.integers([count])], [result.name, g.name("t")], **given)
    return g.keep(result)


def triangle(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank < 2 or g.opset < 14 or x.dtype == "float16":
        return None
    return g.add("Trilu", [x], x.shape, upper=g.pick([0, 1]))


def crop(g: Builder, x: Tensor) -> Tensor | None:
    if x.rank < 3 or g.opset < 18 or x.dtype != "float32":
        return None
    lengths = [g.between(1, length + 1) for length in x.shape[2:]]
    shape = (*x.shape[:2], *lengths)
    return g.add("CenterCropPad", [x, g.integers(lengths)], shape, axes=list(range(2, x.rank)))


def norm(g: Builder, x: Tensor) -> Tensor | None:
    """Of places, or of an axis."""
    if x.dtype != "float32" or x.rank < 2:
        return None
    if x.rank == 4 and g.opset < 22 and g.chance(0.4):
        return g.add("GlobalLpPool", [x], (*x.shape[:2], 1, 1))
    if x.rank == 4 and g.chance(0.5):
        shape = (*x.shape[:2], x.shape[2], x.shape[3])
        return g.add("LpPool", [x], shape, kernel_shape=[1, 1], p=g.pick([1, 2]))
    axis = g.between(1, x.rank - 1)
    shape = tuple(1 if place == axis else length for place, length in enumerate(x.shape))
    op_type = g.pick(["ReduceL1", "ReduceL2"])
    if g.opset >= 18:
        return g.add(op_type, [x, g.integers([axis])], shape)
    return g.add(op_type, [x], shape, axes=[axis])


def permuted(g: Builder, x: Tensor) -> Tensor | None:
    """A transposition as an einsum."""
    if g.opset < 12 or x.dtype == "float16" or x.rank < 2:
        return None
    order = [int(axis) for axis in g.random.permutation(x.rank)]
    letters = "abcdefgh"[: x.rank]
    equation = f"{letters}->{''.join(letters[axis] for axis in order)}"
    shape = [x.shape[axis] for axis in order]
    return g.add("Einsum", [x], shape, along=order.index(x.axis), equation=equation)


def alone(g: Builder, x: Tensor) -> Tensor | None:
    """The largest and the smallest of one tensor, a Clip without limits, and the first power."""
    op_type = g.pick(["Max", "Min", "Clip", "Pow"])
    if g.opset < 8 or x.dtype == "float16" or (op_type == "Clip" and x.dtype != "float32"):
        return None
    if op_type == "Pow":
        return g.add(op_type, [x, g.constant(1.0, x.dtype)], x.shape)
    return g.add(op_type, [x], x.shape)


def linear_classifier(g: Builder, x: Tensor) -> Tensor | None:
    """The scores of three classes and more; the classes themselves may be others where scores are nearly equal."""
    if x.rank != 2 or x.dtype != "float32":
        return None
    classes, features = g.between(3, 5), x.shape[1]
    numbers = {
        "coefficients": g.random.normal(size=classes * features) / np.sqrt(features),
        "intercepts": g.random.normal(size=classes),
    }
    lists = {name: [float(np.float32(value)) for value in values] for name, values in numbers.items()}
    result = Tensor(g.name("t"), (x.shape[0], classes), x.dtype, 1)
    given = {"classlabels_ints": list(range(classes)), **lists}
    g.node("LinearClassifier", [x.name], [g.name("label"), result.name], domain=_MODELS, **given)
    return g.keep(result)


def linear_model(g: Builder, x: Tensor) -> Tensor | None:
    """A regression, which makes float32 of float32."""
    if x.rank != 2 or x.dtype != "float32":
        return None
    targets, features = g.between(1, 4), x.shape[1]
    numbers = {"coefficients": g.random.normal(size=targets * features) / np.sqrt(features)}
    if g.chance(0.7):
        numbers["intercepts"] = g.random.normal(size=targets)
    lists = {name: [float(np.float32(value)) for value in values] for name, values in numbers.items()}
    shape = (x.shape[0], targets)
    return g.add("LinearRegressor", [x], shape, along=1, domain=_MODELS, targets=targets, **lists)
