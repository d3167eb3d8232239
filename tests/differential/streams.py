"""Random graphs of streams alone, whose tensors others read: small and cheap, so that very many can be tried."""

from dataclasses import replace

import numpy as np
import onnx

from tests.differential import unweighted
from tests.differential.builder import Builder, Tensor
from tests.differential.compare import Examination, copied, examine, feeds_of, folded_in_place, run_original
from tests.differential.generator import BATCH, finish
from tests.differential.precision import errors


def generate(seed: int) -> onnx.ModelProto:
    """Residual, dense and dual-path blocks that normalise before they compute, in any order; other readers; outputs."""
    random = np.random.default_rng([seed, 1])
    g = Builder(random, opset=int(random.integers(13, 23)))
    dtype = g.pick(["float32"] * 9 + ["float16"])
    shape = (BATCH, g.between(2, 5), *g.pick([(5, 4), (5, 4), (4, 4), (6,)]))
    x = g.keep(Tensor(g.input(dtype, shape), shape, dtype, 1))
    stream = conv(g, x, shape[1]) if g.chance(0.85) else x
    if g.chance(0.2):
        stream = unweighted.pool(g, stream) or stream
    for _ in range(g.pick([1, 2, 2, 3, 4])):
        stream = g.pick([residual, residual, residual, dense, branches, dual_path])(g, stream)
        if g.chance(0.1):
            stream = unweighted.pool(g, stream) or stream
        if g.chance(0.1):
            g.add(g.pick(["Sigmoid", "Relu", "Abs"]), [g.pick(g.tensors)], stream.shape)
    if g.chance(0.7):
        conv(g, ramped(g, stream), g.between(1, 4))
    return finish(g, seed)


def residual(g: Builder, x: Tensor) -> Tensor:
    """x + conv(f(bn(x))), at times twice as deep, at times with a convolution on the way around."""
    y = conv(g, ramped(g, x), x.channels)
    if g.chance(0.3):
        y = conv(g, ramped(g, y), x.channels)
    around = conv(g, x, x.channels) if g.chance(0.15) else x
    op_type = g.pick(["Add"] * 6 + ["Sub", "Mul"])
    return g.add(op_type, g.pick([[around, y], [y, around]]), x.shape)


def dense(g: Builder, x: Tensor) -> Tensor:
    """What is made of x is joined to it."""
    y = conv(g, ramped(g, x), g.between(1, 3))
    parts = g.pick([[x, y], [y, x]])
    shape = (x.shape[0], x.channels + y.channels, *x.shape[2:])
    return g.add("Concat", parts, shape, axis=1)


def branches(g: Builder, x: Tensor) -> Tensor:
    """Two or three norms of one tensor, whose branches are added."""
    ends = [conv(g, ramped(g, x), x.channels) for _ in range(g.pick([2, 2, 3]))]
    return g.add("Sum" if len(ends) > 2 else g.pick(["Add", "Sub"]), ends, x.shape)


def dual_path(g: Builder, x: Tensor) -> Tensor:
    """What is made of x is cut apart: one part is added to x, the other joined to the sum."""
    more = g.between(1, 2)
    y = conv(g, ramped(g, x), x.channels + more)
    sizes, shapes = [x.channels, more], [(x.shape[0], size, *x.shape[2:]) for size in (x.channels, more)]
    if g.chance(0.4):
        parts = [Tensor(g.name("t"), shape, x.dtype, 1) for shape in shapes]
        g.node("Split", [y.name, g.integers(sizes)], [part.name for part in parts], axis=1)
        for part in parts:
            g.keep(part)
    else:
        bounds = ((0, x.channels), (x.channels, x.channels + more))
        parts = [
            g.add("Slice", [y, *(g.integers([place]) for place in (*bound, 1))], shape)
            for bound, shape in zip(bounds, shapes, strict=True)
        ]
    total = g.add("Add", [x, parts[0]], x.shape)
    return g.add("Concat", [total, parts[1]], y.shape, axis=1)


def ramped(g: Builder, x: Tensor) -> Tensor:
    """A norm, and in most cases an activation."""
    y = norm(g, x)
    step = g.pick([unweighted.ramp] * 5 + [unweighted.activation, None, None])
    return y if step is None else step(g, y) or y


def norm(g: Builder, x: Tensor) -> Tensor:
    """A BatchNorm with the scales of a trained one, or with negative, tiny and zero ones among them."""
    variance = 10.0 ** g.random.uniform(-1, 1, size=x.channels)
    scale = g.scales((x.channels,)) if g.chance(0.4) else g.random.uniform(0.3, 2.0, size=x.channels)
    mean, beta = g.random.normal(size=x.channels), g.random.normal(size=x.channels)
    if g.chance(0.2):
        mean, beta = np.zeros(x.channels), np.zeros(x.channels)
    parameters = [g.constant(values, x.dtype) for values in (scale * np.sqrt(variance), beta, mean, variance)]
    return g.add("BatchNormalization", [x, *parameters], x.shape, along=1)


def conv(g: Builder, x: Tensor, outputs: int) -> Tensor:
    """One place or three, with zeros around it; at times depthwise, where that gives as many channels."""
    spatial = x.rank - 2
    kernel = (g.pick([1, 1, 3]),) * spatial
    group = x.channels if outputs == x.channels and g.chance(0.15) else 1
    inputs = x.channels // group
    weight = g.weight(x.dtype, (outputs, inputs, *kernel), inputs * int(np.prod(kernel)))
    bias = [g.vector(x.dtype, (outputs,))] if g.chance(0.8) else []
    pads = [(k - 1) // 2 for k in kernel] * 2
    return g.add("Conv", [x, weight, *bias], (x.shape[0], outputs, *x.shape[2:]), along=1, pads=pads, group=group)


def examine_stream(model: onnx.ModelProto, seed: int = 0) -> Examination:
    """As `examine`; "worse" where folding across leaves more BatchNorms than plain folding does, or loses more digits.

    Raises:
        UnusableModelError: the model cannot be judged.
    """
    found = examine(model, seed)
    if found.kind or found.outcome is None or all(fold.direction != "across" for fold in found.outcome.folds):
        return found
    plain, across = copied(model), copied(model)
    outcomes = [folded_in_place(plain, across=False), folded_in_place(across)]
    least, kept = (sum(entry.is_batch_norm for entry in outcome.kept) for outcome in outcomes)
    if kept > least:
        return replace(found, kind="worse", evidence=f"{kept} BatchNorms are left, and {least} without crossing")
    feeds = feeds_of(model, seed)
    judged = errors(model, plain, across, feeds, run_original(model, feeds))
    worse = next((entry for entry in judged if entry.is_worse), None)
    if worse is not None:
        return replace(found, kind="worse", evidence=str(worse), judged=len(judged))
    return replace(found, judged=len(judged))
