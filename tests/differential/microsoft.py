"""Random products of com.microsoft with a weight of integers, and its kinds of operators that ONNX has as well.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

import numpy as np

from tests.differential.builder import Builder, Tensor

MICROSOFT = "com.microsoft"
_BLOCK = 16


def packed_product(g: Builder, x: Tensor) -> Tensor | None:
    """MatMulNBits: blocks of 16 inputs, of which the last is not full."""
    if x.rank < 2 or x.dtype != "float32":
        return None
    inputs, outputs, bits = x.shape[-1], g.between(1, 6), g.pick([2, 4, 4, 8])
    blocks = -(-inputs // _BLOCK)
    weight = g.constant(g.random.integers(0, 256, size=(outputs, blocks, _BLOCK * bits // 8)), "uint8")
    scales = g.constant(g.random.uniform(0.5, 2.0, size=(outputs, blocks)) / 2**bits, x.dtype)
    zeros = [""]
    if g.chance(0.4):
        zeros = [g.constant(g.random.integers(0, 256, size=(outputs, -(-blocks * bits // 8))), "uint8")]
    bias = ["", g.vector(x.dtype, (outputs,))] if g.chance(0.5) else []
    sizes = {"N": outputs, "K": inputs, "block_size": _BLOCK, "bits": bits}
    operands = [x, weight, scales, *zeros, *bias] if bias or zeros[0] else [x, weight, scales]
    shape = (*x.shape[:-1], outputs)
    return g.add("MatMulNBits", operands, shape, along=x.rank - 1, domain=MICROSOFT, **sizes)


def four_bit_product(g: Builder, x: Tensor) -> Tensor | None:
    """MatMulBnb4, whose blocks of 16 inputs end where its rows do, behind a product that makes so many."""
    if x.rank < 2 or x.dtype != "float32":
        return None
    shape = (*x.shape[:-1], _BLOCK)
    wide = g.add("MatMul", [x, g.weight(x.dtype, (x.shape[-1], _BLOCK), x.shape[-1])], shape, along=x.rank - 1)
    outputs = g.between(1, 6)
    weight = g.constant(g.random.integers(0, 256, size=outputs * _BLOCK // 2), "uint8")
    scales = g.constant(g.random.uniform(0.1, 0.4, size=outputs), x.dtype)
    sizes = {"N": outputs, "K": _BLOCK, "block_size": _BLOCK, "quant_type": 1}
    operands = [wide, weight, scales]
    return g.add("MatMulBnb4", operands, (*x.shape[:-1], outputs), along=x.rank - 1, domain=MICROSOFT, **sizes)


def integer_product(g: Builder, x: Tensor) -> Tensor | None:
    """DynamicQuantizeMatMul or MatMulIntegerToFloat of one of the graph's inputs.

    What another node makes may change by a rounding, which a quantizer makes a whole step of.
    """
    if x.rank < 2 or x.dtype != "float32" or g.opset < 11 or x.name not in g.inputs:
        return None
    inputs, outputs = x.shape[-1], g.between(1, 6)
    cells = (outputs,) if g.chance(0.5) else ()
    weight = g.constant(g.random.integers(0, 256, size=(inputs, outputs)), "uint8")
    scale = g.constant(g.random.uniform(0.3, 2.0, size=cells) / 200, "float32")
    zero = g.constant(np.full(cells, 128), "uint8")
    bias = [g.vector("float32", (outputs,))] if g.chance(0.5) else []
    result = Tensor(g.name("t"), (*x.shape[:-1], outputs), "float32", x.rank - 1)
    if g.chance(0.5):
        g.node("DynamicQuantizeMatMul", [x.name, weight, scale, zero, *bias], [result.name], domain=MICROSOFT)
        return g.keep(result)
    names = [g.name("c") for _ in range(3)]
    g.node("DynamicQuantizeLinear", [x.name], names)
    inputs_of = [names[0], weight, names[1], scale, names[2], zero, *bias]
    g.node("MatMulIntegerToFloat", inputs_of, [result.name], domain=MICROSOFT)
    return g.keep(result)


def conv_transpose(g: Builder, x: Tensor) -> Tensor | None:
    """A transposed convolution that has its padding at an input."""
    if x.rank != 4 or x.dtype != "float32":
        return None
    channels, outputs = x.shape[1], g.between(1, 4)
    groups = g.pick([1, 1, channels])
    pads = [g.pick([0, 0, 1]) for _ in range(4)]
    shape = [n + 2 - pads[axis] - pads[axis + 2] for axis, n in enumerate(x.shape[2:])]
    weight = g.weight(x.dtype, (channels, outputs, 3, 3), 9 * channels // groups)
    bias = [g.vector(x.dtype, (outputs * groups,))] if g.chance(0.5) else []
    result = (x.shape[0], outputs * groups, *shape)
    operands = [x, weight, g.integers(pads), *bias]
    return g.add("ConvTransposeWithDynamicPads", operands, result, along=1, domain=MICROSOFT, group=groups)


def pad(g: Builder, x: Tensor) -> Tensor | None:
    """Zeros, another number, or what the tensor has at its edges."""
    if x.dtype != "float32":
        return None
    before, behind = ([g.pick([0, 0, 1]) for _ in x.shape] for _ in range(2))
    shape = [n + a + b for n, a, b in zip(x.shape, before, behind, strict=True)]
    pads, number = g.integers([*before, *behind]), g.pick([None, None, 0.5])
    if number is not None:
        return g.add("Pad", [x, pads, g.constant(number, x.dtype)], shape, domain=MICROSOFT)
    return g.add("Pad", [x, pads], shape, domain=MICROSOFT, mode=g.pick(["constant", "edge"]))


def transpose_mat_mul(g: Builder, x: Tensor) -> Tensor | None:
    """FusedMatMul under its older name."""
    if x.dtype != "float32" or x.rank < 2:
        return None
    outputs = g.between(1, 6)
    weight = g.weight(x.dtype, (outputs, x.shape[-1]), x.shape[-1])
    shape = (*x.shape[:-1], outputs)
    return g.add("TransposeMatMul", [x, weight], shape, along=x.rank - 1, domain=MICROSOFT, transB=1, alpha=0.7)
