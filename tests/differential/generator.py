"""One random ONNX graph for every seed, of all operators that bnfold understands and some that it does not."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.differential import contrib, microsoft, runtime, sampled, selected, unweighted, weighted, wrapped
from tests.differential.builder import LARGEST_TENSOR, Builder, Tensor, size, value_info

BATCH = 2
# The newest ones twice: only they have a GroupNormalization.
OPSETS = (*range(7, 23), 21, 22, 21, 22)

_Step = Callable[[Builder, Tensor], Tensor | None]


def residual(g: Builder, x: Tensor) -> Tensor | None:
    """Two branches of the same shape, or a branch and the tensor itself, joined by Add or Concat."""
    steps = (weighted.same_conv, weighted.batch_norm, weighted.arithmetic, unweighted.ramp, weighted.same_mat_mul)
    ends = [x, x]
    for index in range(g.pick([1, 2, 2])):
        for _ in range(g.pick([1, 2, 3])):
            ends[index] = g.pick(steps)(g, ends[index]) or ends[index]
    op_type = g.pick(["Add", "Add", "Sub", "Sum", "Concat"])
    if op_type == "Concat":
        shape = (*x.shape[: x.axis], 2 * x.channels, *x.shape[x.axis + 1 :])
        return g.add("Concat", ends, shape, axis=x.axis)
    return g.add(op_type, ends, x.shape)


def stream(g: Builder, x: Tensor) -> Tensor | None:
    """Blocks that normalise before they compute, and add to what they read or join it: others read every tensor."""
    begun = weighted.same_conv(g, x) if g.chance(0.8) else x
    if begun is None or begun.rank < 3:
        return None
    for _ in range(g.pick([1, 2, 2, 3])):
        y = weighted.batch_norm(g, begun)
        if y is None:
            return None
        for step in g.pick([(unweighted.ramp,), (unweighted.ramp,), (), (unweighted.activation,)]):
            y = step(g, y) or y
        y = weighted.same_conv(g, y) or y
        op_type = g.pick(["Add", "Add", "Add", "Sub", "Mul"])
        begun = g.add(op_type, [begun, y], begun.shape)
        if g.chance(0.2):
            begun = unweighted.pool(g, begun) or begun
    return weighted.batch_norm(g, begun) if g.chance(0.5) else begun


def projections(g: Builder, x: Tensor) -> Tensor:
    """Several MatMuls read one tensor, as the q, k and v of attention do."""
    results = [weighted.mat_mul(g, x) for _ in range(g.pick([2, 3]))]
    return g.pick(results)


def sandwich(g: Builder, x: Tensor) -> Tensor:
    """Affine nodes between two operators with weights, with others in between that a map may pass."""
    x = _one_of(g, x, _ABSORBERS)
    for _ in range(g.pick([0, 0, 1, 2])):
        x = _one_of(g, x, _PASSED)
    x = g.pick([weighted.batch_norm, weighted.batch_norm, weighted.arithmetic])(g, x) or x
    for _ in range(g.pick([0, 0, 1, 2])):
        x = _one_of(g, x, _PASSED)
    return _one_of(g, x, _ABSORBERS) if g.chance(0.7) else x


def resampled(g: Builder, x: Tensor) -> Tensor | None:
    """An affine node behind a convolution and an operator that makes the image larger or smaller."""
    wide = weighted.widening_conv(g, x)
    steps = (unweighted.depth_to_space, unweighted.space_to_depth, unweighted.resize)
    return None if wide is None else weighted.batch_norm(g, _one_of(g, wide, steps))


def quantized_product(g: Builder, _x: Tensor) -> Tensor | None:
    """An affine node behind a dynamically quantised product of one of the graph's inputs."""
    inputs = [tensor for tensor in g.tensors if tensor.name in g.inputs]
    kinds = [weighted.dynamic_product, weighted.dynamic_product, runtime.shared_scales, microsoft.integer_product]
    product = g.pick(kinds)
    made = product(g, g.pick(inputs)) if inputs else None
    return None if made is None else g.pick([weighted.batch_norm, weighted.arithmetic])(g, made)


def integers_of_an_input(g: Builder, _x: Tensor) -> Tensor | None:
    """An affine node behind a convolution of integers of one of the graph's inputs."""
    inputs = [tensor for tensor in g.tensors if tensor.name in g.inputs]
    made = contrib.integer_conv(g, g.pick(inputs)) if inputs else None
    return None if made is None else g.pick([weighted.batch_norm, weighted.arithmetic])(g, made)


def cut_apart(g: Builder, x: Tensor) -> Tensor | None:
    """Affine nodes behind each of two slices of what an operator with weights makes."""
    parts = unweighted.halves(g, _one_of(g, x, _ABSORBERS))
    if parts is None:
        return None
    ends = [g.pick([weighted.batch_norm, weighted.arithmetic])(g, part) or part for part in parts]
    return g.pick(ends)


def prepared(g: Builder, x: Tensor) -> Tensor:
    """Pixels as numbers around 0, on a padded image, before a convolution."""
    for op_type in g.pick([["Div", "Sub"], ["Mul", "Add"], ["Sub", "Div"], ["Sub"]]):
        x = g.add(op_type, [x, g.constant(g.random.uniform(0.3, 2.0), x.dtype)], x.shape)
    return _one_of(g, unweighted.pad(g, x), _ABSORBERS)


def sequence(g: Builder, x: Tensor) -> Tensor | None:
    """An affine node along the inputs of an LSTM, GRU or RNN."""
    if x.rank != 3 or x.dtype == "float64":
        return None
    along = g.constant(g.scales((x.shape[2],)), x.dtype)
    return weighted.recurrent(g, g.add(g.pick(["Mul", "Add"]), [x, along], x.shape, along=2))


def _one_of(g: Builder, x: Tensor, steps: tuple[_Step, ...]) -> Tensor:
    """The result of the first random step that fits and stays small."""
    for _ in range(8):
        result = attempt(g, x, g.pick(steps))
        if result is not None:
            return result
    return x


def attempt(g: Builder, x: Tensor, step: _Step) -> Tensor | None:
    """The step's result, or None, and nothing changed, where it does not fit or makes too large a tensor."""
    nodes, tensors, queries = len(g.nodes), len(g.tensors), len(g.queries)
    result = step(g, x)
    if result is not None and result.rank and all(size(made.shape) <= LARGEST_TENSOR for made in g.tensors[tensors:]):
        return result
    del g.nodes[nodes:], g.tensors[tensors:], g.queries[queries:]
    return None


_ABSORBERS: tuple[_Step, ...] = (
    weighted.conv,
    weighted.conv,
    weighted.conv_transpose,
    weighted.deform_conv,
    weighted.gemm,
    weighted.gemm,
    weighted.mat_mul,
    weighted.einsum,
    weighted.fused_mat_mul,
    weighted.skip_layer_norm,
    contrib.fused_conv,
    contrib.fused_gemm,
    contrib.embed_layer_norm,
    contrib.fused_attention,
    contrib.attention,
    contrib.multi_head_attention,
    runtime.modulated_conv,
    runtime.modulated_gemm,
    runtime.product,
    microsoft.packed_product,
    microsoft.conv_transpose,
    microsoft.transpose_mat_mul,
    microsoft.four_bit_product,
    sampled.linear_model,
    sampled.linear_classifier,
    contrib.trained_layer,
    wrapped.fixed_if,
    wrapped.function,
    wrapped.loop,
    wrapped.scan,
    weighted.recurrent,
    weighted.recurrent,
    weighted.instance_norm,
    weighted.group_norm,
    weighted.group_norm,
    weighted.layer_norm,
    weighted.embedding,
)

_PASSED: tuple[_Step, ...] = (
    weighted.prelu,
    weighted.scaler,
    unweighted.ramp,
    unweighted.activation,
    unweighted.activation,
    unweighted.pool,
    unweighted.cast,
    unweighted.pool,
    unweighted.reduce,
    unweighted.cum_sum,
    unweighted.pad,
    unweighted.resize,
    unweighted.transpose,
    unweighted.reshape,
    unweighted.flatten,
    unweighted.squeeze,
    unweighted.unsqueeze,
    unweighted.expand,
    unweighted.slice_,
    unweighted.gather,
    unweighted.reverse_sequence,
    unweighted.split,
    unweighted.concat,
    unweighted.join,
    unweighted.depth_to_space,
    unweighted.space_to_depth,
    unweighted.space_to_depth,
    unweighted.shape_query,
    contrib.gelu,
    contrib.quantized,
    microsoft.pad,
    sampled.alone,
    sampled.grid_sample,
    sampled.regions,
    sampled.top_k,
    sampled.triangle,
    sampled.crop,
    sampled.norm,
    sampled.permuted,
    selected.tile,
    selected.compress,
    selected.gather_elements,
    selected.gathered,
    selected.chosen,
    selected.largest,
    selected.scatter,
    selected.turned,
    selected.cast_like,
    selected.mean,
    selected.rolled,
    selected.through_sequence,
    selected.through_sequence,
    residual,
)

STEPS: dict[_Step, int] = {
    sandwich: 120,
    sequence: 8,
    cut_apart: 6,
    prepared: 6,
    resampled: 16,
    weighted.batch_norm: 22,
    weighted.arithmetic: 14,
    weighted.conv: 16,
    weighted.same_conv: 4,
    weighted.conv_transpose: 5,
    weighted.deform_conv: 2,
    weighted.scaler: 6,
    quantized_product: 6,
    weighted.gemm: 12,
    weighted.mat_mul: 7,
    weighted.einsum: 4,
    weighted.fused_mat_mul: 3,
    weighted.skip_layer_norm: 2,
    weighted.prelu: 2,
    weighted.instance_norm: 2,
    weighted.group_norm: 3,
    weighted.layer_norm: 2,
    weighted.recurrent: 4,
    weighted.embedding: 1,
    contrib.fused_conv: 5,
    contrib.fused_gemm: 3,
    contrib.gelu: 4,
    contrib.embed_layer_norm: 1,
    contrib.fused_attention: 2,
    contrib.attention: 6,
    contrib.multi_head_attention: 4,
    runtime.modulated_conv: 4,
    runtime.modulated_gemm: 6,
    runtime.product: 6,
    microsoft.packed_product: 5,
    microsoft.conv_transpose: 3,
    microsoft.transpose_mat_mul: 2,
    microsoft.pad: 2,
    wrapped.fixed_if: 6,
    sampled.grid_sample: 3,
    sampled.regions: 2,
    sampled.top_k: 2,
    sampled.triangle: 1,
    sampled.crop: 2,
    sampled.norm: 5,
    sampled.permuted: 3,
    sampled.linear_model: 5,
    sampled.linear_classifier: 3,
    sampled.alone: 3,
    microsoft.four_bit_product: 3,
    contrib.trained_layer: 5,
    contrib.quantized: 2,
    integers_of_an_input: 8,
    wrapped.function: 5,
    wrapped.loop: 3,
    wrapped.scan: 4,
    wrapped.other_precision: 4,
    wrapped.frozen_batch_norm: 4,
    selected.tile: 2,
    selected.compress: 2,
    selected.gather_elements: 2,
    selected.gathered: 4,
    selected.chosen: 5,
    selected.largest: 5,
    selected.scatter: 4,
    selected.turned: 2,
    selected.cast_like: 2,
    selected.mean: 3,
    selected.rolled: 3,
    selected.through_sequence: 8,
    unweighted.activation: 8,
    unweighted.cast: 1,
    unweighted.pool: 8,
    unweighted.reduce: 4,
    unweighted.cum_sum: 1,
    unweighted.pad: 3,
    unweighted.resize: 4,
    unweighted.transpose: 6,
    unweighted.reshape: 6,
    unweighted.flatten: 4,
    unweighted.squeeze: 4,
    unweighted.unsqueeze: 2,
    unweighted.expand: 2,
    unweighted.slice_: 4,
    unweighted.gather: 2,
    unweighted.reverse_sequence: 2,
    unweighted.split: 4,
    unweighted.concat: 5,
    unweighted.join: 5,
    unweighted.twice: 1,
    unweighted.depth_to_space: 4,
    unweighted.space_to_depth: 8,
    unweighted.shape_query: 2,
    unweighted.branch: 1,
    residual: 8,
    stream: 8,
    projections: 2,
}
_CHANCES = np.array(list(STEPS.values())) / sum(STEPS.values())


def generate(seed: int) -> onnx.ModelProto:
    """The graph of this seed. The batch is always 2, and may be called "N"."""
    random = np.random.default_rng(seed)
    g = Builder(random, opset=int(random.choice(OPSETS)))
    dtype = g.pick(["float32"] * 6 + ["float64"] * 3 + ["float16"])
    for _ in range(g.pick([1, 1, 2])):
        shape = (BATCH, *g.pick([(4, 5, 4), (4, 5, 4), (3, 4, 4), (8, 3, 2), (4, 6), (3, 5), (6,), (4,)]))
        g.keep(Tensor(g.input(dtype, shape), shape, dtype, 1))
    for _ in range(g.between(2, 10)):
        _grow(g)
    return finish(g, seed)


def _grow(g: Builder) -> None:
    """One step of the walk, in most cases behind the tensor that is youngest."""
    tensor = g.tensors[-1] if g.chance(0.85) else g.pick(g.tensors)
    for _ in range(8):
        step = list(STEPS)[int(g.random.choice(len(STEPS), p=_CHANCES))]
        if attempt(g, tensor, step) is not None:
            return


def finish(g: Builder, seed: int) -> onnx.ModelProto:
    """The graph so far as a model: what nobody reads is an output, now and then another tensor as well."""
    read = _read_names(g.nodes)
    made = {name: tensor for tensor in g.tensors if (name := tensor.name) not in g.inputs}
    outputs = [name for name in made if (name not in read and g.chance(0.95)) or g.chance(0.04)]
    outputs = outputs or [g.tensors[-1].name]
    dynamic = g.chance(0.3)
    inputs = [
        value_info(name, dtype, ["N", *shape[1:]] if dynamic and dtype.startswith("float") else shape)
        for name, (dtype, shape) in g.inputs.items()
    ]
    infos = [value_info(name, made[name].dtype, [None] * made[name].rank) for name in outputs]
    infos += [value_info(name, "int64", [None]) for name in g.queries]
    literals: list[onnx.NodeProto] = []
    for node in reversed(g.literals):
        if node.output[0] in read:
            literals.insert(0, node)
            read.update(node.input)
    used = [name for name in g.initializers if name in read]
    if used and g.chance(0.05):
        constant = g.pick(used)
        infos.append(value_info(constant, g.initializers[constant].dtype.name, g.initializers[constant].shape))
    tensors = [numpy_helper.from_array(g.initializers[name], name) for name in used]
    if g.chance(0.08):
        inputs += [value_info(name, g.initializers[name].dtype.name, g.initializers[name].shape) for name in used]
    graph = helper.make_graph(literals + g.nodes, f"seed {seed}", inputs, infos, tensors)
    opsets = [helper.make_opsetid("", g.opset), helper.make_opsetid("ai.onnx.ml", 3)]
    opsets.append(helper.make_opsetid(weighted.MICROSOFT, 1))
    called = [function for function in g.functions if function.name in {node.op_type for node in g.nodes}]
    if called:
        opsets.append(helper.make_opsetid(wrapped.LOCAL, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 + 2 * (g.opset > 19), functions=called)


def _read_names(nodes) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for attribute in node.attribute:
            names |= _read_names(attribute.g.node)
    return names
