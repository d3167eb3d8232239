"""Random products of which a factor is known at run time alone: weights that are modulated, scales that are shared.

Each function adds nodes behind a tensor and returns the result, or None where its operator does not fit.
"""

from tests.differential.builder import Builder, Tensor

_BATCH = 2


def modulated_conv(g: Builder, x: Tensor) -> Tensor | None:
    """A pointwise convolution whose weight is multiplied with numbers of an input of its own, or is that input."""
    if x.rank != 4 or x.dtype == "float64":
        return None
    channels, outputs = x.shape[1], _BATCH  # inputs begin with it
    style = g.input(x.dtype, (outputs, channels, 1, 1))
    weight = style
    if g.chance(0.8):
        weight = g.name("c")
        g.node("Mul", [g.weight(x.dtype, (outputs, channels, 1, 1), 3 * channels), style], [weight])
    bias = [g.vector(x.dtype, (outputs,))] if g.chance(0.4) else []
    return g.add("Conv", [x, weight, *bias], (x.shape[0], outputs, *x.shape[2:]), along=1)


def modulated_gemm(g: Builder, x: Tensor) -> Tensor | None:
    """A product whose weight is multiplied with numbers of an input of its own, or is that input."""
    if x.rank != 2:
        return None
    inputs, outputs, transposed = x.shape[1], _BATCH, g.pick([0, 1])  # inputs begin with the batch
    shape = (outputs, inputs) if transposed else (inputs, outputs)
    style = g.input(x.dtype, (_BATCH, 1) if transposed else (_BATCH,))
    weight = g.name("c")
    g.node("Mul", [g.weight(x.dtype, shape, 3 * inputs), style], [weight])
    bias = [g.vector(x.dtype, g.pick([(outputs,), (1, outputs), (1,)]))] if g.chance(0.5) or g.opset < 11 else []
    numbers = {"alpha": 0.5, "beta": -2.0} if g.chance(0.3) else {}
    return g.add("Gemm", [x, weight, *bias], (x.shape[0], outputs), along=1, transB=transposed, **numbers)


def product(g: Builder, x: Tensor) -> Tensor | None:
    """A product with another tensor of the run time: of the same rank, a matrix for all, or a stack for one matrix."""
    if x.rank < 2 or x.dtype == "float16":
        return None
    outputs = _BATCH  # inputs begin with it
    kind = g.pick(["MatMul", "MatMul", "FusedMatMul", "Einsum"])
    if (kind == "Einsum" and (g.opset < 12 or x.rank > 4)) or (kind == "FusedMatMul" and x.dtype != "float32"):
        return None
    other = Tensor(g.input(x.dtype, (outputs, x.shape[-1])), (outputs, x.shape[-1]), x.dtype, 0)
    factor = (
        g.add("Mul", [other, g.parameter(g.scales((outputs, 1)), x.dtype)], other.shape) if g.chance(0.7) else other
    )
    shape = (*x.shape[:-1], outputs)
    if kind == "FusedMatMul":
        return g.add(kind, [x, factor], shape, along=x.rank - 1, domain="com.microsoft", transB=1)
    if kind == "Einsum":
        letters = "abcd"[: x.rank]
        term = f"{letters},z{letters[-1]}->"
        result = g.pick([f"{letters[:-1]}z", f"z{letters[:-1]}"])
        made = shape if result[-1] == "z" else (outputs, *x.shape[:-1])
        return g.add(kind, [x, factor], made, along=result.index("z"), equation=term + result)
    turned = g.add("Transpose", [factor], other.shape[::-1], along=1, perm=[1, 0])
    return g.add(kind, [x, turned], shape, along=x.rank - 1)


def shared_scales(g: Builder, x: Tensor) -> Tensor | None:
    """Two dynamically quantised products of one input, with one product of scales; each has a bias in most cases."""
    if x.rank != 2 or x.dtype != "float32" or g.opset < 11 or x.name not in g.inputs:
        return None
    names = [g.name("c") for _ in range(4)]
    g.node("DynamicQuantizeLinear", [x.name], names[:3])
    g.node("Mul", [names[1], g.constant(g.random.uniform(0.3, 2.0) / 200, "float32")], [names[3]])
    made = []
    for _ in range(2):
        outputs, inner = g.between(1, 5), [g.name("c") for _ in range(2)]
        weight = g.constant(g.random.integers(0, 256, size=(x.shape[1], outputs)), "uint8")
        g.node("MatMulInteger", [names[0], weight, names[2], g.constant(128, "uint8")], [inner[0]])
        g.node("Cast", [inner[0]], [inner[1]], to=1)
        result = Tensor(g.name("t"), (x.shape[0], outputs), "float32", 1)
        g.node("Mul", [inner[1], names[3]], [result.name])
        g.keep(result)
        made.append(g.add("Add", [result, g.vector("float32", (outputs,))], result.shape) if g.chance(0.8) else result)
    return g.pick(made)
