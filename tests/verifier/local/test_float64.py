"""The float64 operators against onnxruntime, on wide inputs, over attributes and versions."""

import numpy as np
import pytest
from onnx import helper

from bnfold.verifier.local.float64.evaluate import Float64Subgraph
from bnfold.verifier.local.float64.operator import NotComputedError
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.session import Session
from tests.kernels import needs_newer_kernels
from tests.verifier.small_models import FLOAT, INT64, UINT8, model, model_proto, node

RNG = np.random.default_rng(7)
ELEMENTS = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(np.uint8): UINT8}


def floats(*shape: int) -> np.ndarray:
    return (3 * RNG.standard_normal(shape)).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(floats(*shape)) + np.float32(0.1)


def integers(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


IMAGE, SOUND, VOLUME = (2, 6, 9, 8), (2, 4, 17), (1, 4, 5, 6, 7)

PLAIN = (
    "Abs", "Neg", "Exp", "Floor", "Ceil", "Sign", "Sin", "Cos", "Tanh", "Atan", "Erf", "Relu", "Sigmoid", "Identity",
    "Softplus", "Softsign", "HardSwish", "Elu", "Selu", "HardSigmoid", "Reciprocal", "Round", "LeakyRelu",
    "ThresholdedRelu", "Celu", "Dropout",
)  # fmt: skip
REDUCTIONS = (
    "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp",
)  # fmt: skip

CASES: list[tuple[str, list, dict]] = [
    *((op, [floats(3, 4)], {}) for op in PLAIN),
    *((op, [positive(3, 4)], {}) for op in ("Log", "Sqrt")),
    *((op, [floats(2, 3, 4), floats(3, 1)], {}) for op in ("Add", "Sub", "Mul", "Div", "PRelu")),
    *((op, [floats(2, 3), floats(3), floats(1)], {}) for op in ("Sum", "Mean", "Max", "Min")),
    *(("GlobalMaxPool", [floats(*shape)], {}) for shape in (IMAGE, SOUND, VOLUME)),
    ("Pow", [positive(3, 4), floats(4)], {}),
    ("Div", [integers(7, -7, 6), integers(2, 2, -4)], {}),
    ("Mish", [floats(3, 4)], {"opset": 18}),
    ("Gelu", [floats(3, 4)], {"opset": 20}),
    ("Gelu", [floats(3, 4)], {"opset": 20, "approximate": "tanh"}),
    ("Elu", [floats(3, 4)], {"alpha": 0.3}),
    ("LeakyRelu", [floats(3, 4)], {"alpha": 0.3}),
    ("HardSigmoid", [floats(3, 4)], {"alpha": 0.3, "beta": 0.2}),
    ("Selu", [floats(3, 4)], {"alpha": 0.3, "gamma": 2.0}),
    ("Clip", [floats(3, 4), np.float32(-1), np.float32(2)], {}),
    ("Clip", [floats(3, 4)], {"opset": 6, "min": -1.0, "max": 2.0}),
    ("Where", [np.asarray([True, False]), floats(3, 2), floats(3, 2)], {}),
    ("Cast", [integers(1, 2)], {"to": FLOAT}),
    ("Cast", [floats(3)], {"to": INT64}),
    *((op, [floats(3, 4), floats(4)], {}) for op in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")),
    # movement
    ("Transpose", [floats(2, 3, 4)], {"perm": [2, 0, 1]}),
    ("Transpose", [floats(2, 3, 4)], {}),
    ("Reshape", [floats(2, 3, 4), integers(0, -1)], {}),
    ("Reshape", [floats(2, 0, 4), integers(4, 0)], {"allowzero": 1}),
    *(("Flatten", [floats(2, 3, 4)], {"axis": axis}) for axis in (0, 1, 2, -1)),
    ("Squeeze", [floats(2, 1, 4, 1), integers(1)], {}),
    ("Squeeze", [floats(2, 1, 4, 1)], {}),
    ("Squeeze", [floats(2, 1, 4, 1)], {"opset": 11, "axes": [3]}),
    ("Unsqueeze", [floats(2, 4), integers(0, -1)], {}),
    ("Unsqueeze", [floats(2, 4)], {"opset": 11, "axes": [0, 3]}),
    ("Concat", [floats(2, 3), floats(2, 1)], {"axis": -1}),
    ("Split", [floats(5, 4), integers(2, 3)], {"outputs": 2, "axis": 0}),
    ("Split", [floats(4, 6)], {"outputs": 3, "axis": 1}),
    ("Split", [floats(4, 7)], {"outputs": 3, "axis": 1, "opset": 18, "num_outputs": 3}),
    ("Split", [floats(4, 6)], {"outputs": 2, "axis": 1, "opset": 11, "split": [4, 2]}),
    ("Slice", [floats(5, 6), integers(1, -5), integers(4, 100), integers(0, 1), integers(2, 1)], {}),
    ("Slice", [floats(5, 6), integers(-1), integers(-100), integers(0), integers(-2)], {}),
    ("Slice", [floats(5, 6), integers(4), integers(0), integers(1), integers(-1)], {}),
    ("Slice", [floats(5, 6)], {"opset": 9, "starts": [1], "ends": [-1], "axes": [1]}),
    ("Gather", [floats(5, 6), integers(0, -1, 2)], {"axis": 1}),
    ("GatherElements", [floats(3, 3), integers(0, -1, 2).reshape(1, 3)], {"axis": 0}),
    ("GatherND", [floats(3, 4), np.asarray([[0, 1], [2, 3]])], {}),
    ("Expand", [floats(3, 1), integers(2, 1, 4)], {}),
    ("Tile", [floats(3, 2), integers(2, 3)], {}),
    ("Pad", [floats(2, 5), integers(0, 1, 2, -1), np.float32(4)], {}),
    ("Pad", [floats(2, 5), integers(0, 2, 0, 1)], {"mode": "reflect"}),
    ("Pad", [floats(2, 5), integers(0, 2, 0, 1)], {"mode": "edge"}),
    ("Pad", [floats(2, 5)], {"opset": 10, "pads": [0, 2, 1, 0], "value": 1.5}),
    ("Pad", [floats(2, 5), integers(2, 1), np.float32(4), integers(-1)], {"opset": 18}),
    ("DepthToSpace", [floats(2, 8, 3, 4)], {"blocksize": 2}),
    ("DepthToSpace", [floats(2, 8, 3, 4)], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [floats(2, 2, 4, 6)], {"blocksize": 2}),
    ("Shape", [floats(2, 3, 4)], {"start": 1}),
    ("Size", [floats(2, 3, 4)], {}),
    # contractions
    ("MatMul", [floats(2, 3, 4), floats(4, 5)], {}),
    ("MatMul", [floats(2, 3, 4), floats(2, 4, 5)], {}),
    ("MatMul", [floats(4), floats(4, 5)], {}),
    ("MatMul", [np.eye(4, dtype=np.float32) * 3, floats(4, 5)], {}),
    ("Gemm", [floats(3, 4), floats(4, 5)], {}),
    ("Gemm", [floats(4, 3), floats(5, 4), floats(5)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Einsum", [floats(2, 3, 4), floats(4, 5)], {"equation": "bij,jk->bik"}),
    *(
        ("Conv", [floats(*IMAGE), floats(4, 6, 3, 2), floats(4)], {"strides": strides, "dilations": by, "pads": pads})
        for strides in ([1, 1], [2, 3])
        for by in ([1, 1], [2, 1])
        for pads in ([0, 0, 0, 0], [1, 0, 2, 1])
    ),
    *(("Conv", [floats(*IMAGE), floats(4, 6, 3, 3)], {"auto_pad": auto, "strides": [2, 2]}) for auto in
      ("SAME_UPPER", "SAME_LOWER", "VALID")),
    ("Conv", [floats(*IMAGE), floats(6, 1, 3, 3), floats(6)], {"group": 6, "pads": [1, 1, 1, 1]}),
    ("Conv", [floats(*IMAGE), floats(12, 1, 3, 3)], {"group": 6}),
    ("Conv", [floats(*IMAGE), floats(8, 3, 3, 3)], {"group": 2}),
    ("Conv", [np.zeros(IMAGE, np.float32), floats(8, 3, 3, 3), floats(8)], {"group": 2}),
    ("Conv", [floats(*SOUND), floats(3, 4, 3)], {"dilations": [3]}),
    ("Conv", [floats(*VOLUME), floats(4, 2, 2, 3, 1)], {"group": 2, "strides": [1, 2, 1]}),
    *(
        ("ConvTranspose", [floats(*IMAGE), floats(6, 2, 3, 2), floats(2 * groups)], {"group": groups, **more})
        for groups in (1, 2, 3)
        for more in (
            {"strides": [2, 1], "pads": [1, 0, 0, 1]},
            {"strides": [2, 3], "output_padding": [1, 1]},
            {"dilations": [2, 2]},
        )
    ),
    ("ConvTranspose", [floats(*IMAGE), floats(6, 2, 3, 3)], {"strides": [2, 2], "output_shape": [18, 16]}),
    *(("ConvTranspose", [floats(*IMAGE), floats(6, 2, 3, 3)], {"strides": [2, 2], "auto_pad": auto}) for auto in
      ("SAME_UPPER", "SAME_LOWER")),
    ("ConvTranspose", [floats(*SOUND), floats(4, 3, 3)], {"strides": [2]}),
    # what takes many numbers together
    *(
        (op, [floats(*IMAGE)], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": pads, "ceil_mode": ceil, **more})
        for op, more in (("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}))
        for pads in ([0, 0, 0, 0], [1, 0, 1, 1])
        for ceil in (0, 1)
    ),
    ("MaxPool", [floats(*IMAGE)], {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    ("MaxPool", [floats(*IMAGE)], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("GlobalAveragePool", [floats(*IMAGE)], {}),
    ("GlobalMaxPool", [floats(*IMAGE)], {}),
    ("GlobalMaxPool", [floats(2, 4, 6)], {}),
    *((op, [positive(2, 3, 4)], {"axes": [1], "keepdims": keep}) for keep in (0, 1) for op in REDUCTIONS),
    ("ReduceSum", [floats(2, 3, 4), integers(0, -1)], {"keepdims": 0}),
    ("ReduceSum", [floats(2, 3, 4)], {"noop_with_empty_axes": 1}),
    ("ReduceMean", [floats(2, 3, 4)], {}),
    ("Softmax", [floats(2, 3, 4)], {}),
    ("Softmax", [floats(2, 3, 4)], {"axis": 1}),
    ("Softmax", [floats(2, 3, 4)], {"opset": 11, "axis": 1}),
    ("LogSoftmax", [floats(2, 3, 4)], {"axis": 1}),
    ("LogSoftmax", [floats(2, 3, 4)], {"opset": 11}),
    ("BatchNormalization", [floats(*IMAGE), floats(6), floats(6), floats(6), positive(6)], {"epsilon": 1e-2}),
    ("BatchNormalization", [floats(3, 6), floats(6), floats(6), floats(6), positive(6)], {"opset": 9}),
    ("BatchNormalization", [floats(6), floats(1), floats(1), floats(1), positive(1)], {}),
    ("InstanceNormalization", [floats(*IMAGE), floats(6), floats(6)], {"epsilon": 1e-3}),
    ("GroupNormalization", [floats(*IMAGE), floats(6), floats(6)], {"opset": 21, "num_groups": 3}),
    ("GroupNormalization", [floats(*IMAGE), floats(3), floats(3)], {"opset": 18, "num_groups": 3}),
    ("LayerNormalization", [floats(2, 3, 4), floats(4), floats(4)], {}),
    ("LayerNormalization", [floats(2, 3, 4), floats(3, 4)], {"axis": 1}),
    ("LpNormalization", [floats(2, 3, 4)], {"axis": 1, "p": 1}),
    # by the reference implementation
    ("CumSum", [floats(3, 4), np.asarray(1)], {}),
    ("Resize", [floats(1, 2, 3, 4), None, np.asarray([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    # quantization
    ("QuantizeLinear", [floats(3, 4), np.float32(0.1), np.uint8(7)], {}),
    ("QuantizeLinear", [floats(3, 4), positive(4), RNG.integers(0, 9, 4).astype(np.int8)], {"axis": 1}),
    ("DequantizeLinear", [RNG.integers(0, 255, (3, 4)).astype(np.uint8), positive(4)], {"axis": -1}),
    ("DequantizeLinear", [RNG.integers(0, 255, (3, 4)).astype(np.uint8), np.float32(0.1), np.uint8(7)], {}),
    ("DequantizeLinear", [RNG.integers(-9, 9, (3, 4)).astype(np.int8), positive(3, 2)],
     {"opset": 21, "axis": 1, "block_size": 2}),
]  # fmt: skip

CASES += [
    ("GridSample", [floats(2, 3, 5, 6), floats(2, 4, 3, 2)], {"mode": mode, "padding_mode": padding, "opset": opset})
    for mode, padding, opset in (
        ("bilinear", "border", 16),
        ("bicubic", "zeros", 16),
        ("linear", "border", 20),
        ("cubic", "reflection", 20),
    )
]
ROWS = [floats(2, 3, 8), floats(2, 3, 8), floats(8), floats(8), floats(8)]
WORDS = [np.asarray([[1, 2, 0]], np.int32), np.asarray([[0, 1, 1]], np.int32)]
TABLES = [floats(5, 8), floats(4, 8), floats(2, 8), floats(8), floats(8)]
QKV = [floats(2, 3, 8), floats(8, 24), floats(24)]
CONV = [floats(*IMAGE), floats(4, 3, 3, 2), floats(4)]
CASES += [
    (op_type, inputs, {"domain": "com.microsoft", **attributes})
    for op_type, inputs, attributes in [
        *(("FusedConv", CONV, {"group": 2, "pads": [1, 0, 2, 1], "activation": name, **numbers})
          for name, numbers in (("Relu", {}), ("Tanh", {}), ("Sigmoid", {}),
                                ("LeakyRelu", {"activation_params": [0.3]}),
                                ("Clip", {"activation_params": [-1.0, 2.0]}),
                                ("HardSigmoid", {"activation_params": [0.3, 0.4]}))),
        ("FusedConv", [*CONV, floats(2, 4, 7, 7)], {"group": 2, "strides": [1, 1], "activation": "Relu"}),
        *(("FusedGemm", [floats(4, 3), floats(5, 4), floats(5)],
           {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0, "activation": name, "activation_alpha": 0.3})
          for name in ("Relu", "LeakyRelu")),
        *(("FusedMatMul", [floats(2, 3, 4), floats(2, 3, 5)], {"transA": 1, "alpha": alpha}) for alpha in (1.0, -0.5)),
        ("FusedMatMul", [floats(2, 3, 4), floats(5, 4)], {"transB": 1}),
        *((op, [floats(3, 4)], {}) for op in ("Gelu", "FastGelu", "QuickGelu")),
        ("QuickGelu", [floats(3, 4)], {"alpha": 0.5}),
        *((op, [floats(3, 4), floats(4)], {}) for op in ("BiasGelu", "FastGelu")),
        *(("GridSample", [floats(2, 3, 5, 6), floats(2, 4, 3, 2)], {"mode": mode, "padding_mode": padding, **more})
          for more in ({}, {"align_corners": 1})
          for mode, padding in (("bilinear", "zeros"), ("nearest", "border"), ("bilinear", "reflection"))),
        *(("SkipLayerNormalization", ROWS[:count], {"epsilon": 1e-3}) for count in (3, 4, 5)),
        ("EmbedLayerNormalization", [*WORDS, *TABLES], {"epsilon": 1e-3, "outputs": 2}),
        ("EmbedLayerNormalization", [WORDS[0], None, *TABLES[:2], None, *TABLES[3:]], {"outputs": 2}),
        ("Attention", QKV, {"num_heads": 2}),
        ("Attention", QKV, {"num_heads": 4, "unidirectional": 1, "scale": 0.2}),
        ("Attention", [*QKV[:1], floats(8, 20), floats(20)], {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4]}),
        ("MultiHeadAttention", [floats(2, 3, 4), floats(2, 5, 4), floats(2, 5, 6)], {"num_heads": 2}),
        ("MultiHeadAttention", [*[floats(2, 3, 4)] * 3, floats(12)], {"num_heads": 1, "unidirectional": 1}),
    ]
]  # fmt: skip

BYTES = [RNG.integers(0, 256, size=(4, 3)).astype(np.uint8), np.uint8(120)]
WEIGHT = [RNG.integers(-127, 128, size=(3, 5)).astype(np.int8), positive(5) / 50, np.full(5, 3, np.int8), floats(5)]


def packed(bits: int, zeros: str = "", bias: bool = False, **attributes) -> tuple[str, list, dict]:
    """A MatMulNBits with 5 outputs, and 40 inputs in blocks of 16."""
    stored = RNG.integers(0, 256, size=(5, 3, 2 * bits)).astype(np.uint8)
    centres = {"": None, "packed": RNG.integers(0, 256, size=(5, -(-3 * bits // 8))).astype(np.uint8)}
    centres["floats"] = 3 * positive(5, 3)
    inputs = [floats(4, 40), stored, positive(5, 3) / 2**bits, centres[zeros], None, *([floats(5)] if bias else [])]
    return "MatMulNBits", inputs, {"N": 5, "K": 40, "block_size": 16, "bits": bits, **attributes}


CASES += [
    (op_type, inputs, {"domain": "com.microsoft", **attributes})
    for op_type, inputs, attributes in [
        ("MatMulIntegerToFloat", [BYTES[0], WEIGHT[0], np.float32(0.1), WEIGHT[1]], {}),
        ("MatMulIntegerToFloat", [BYTES[0], WEIGHT[0], np.float32(0.1), WEIGHT[1], BYTES[1], WEIGHT[2], WEIGHT[3]], {}),
        ("DynamicQuantizeMatMul", [floats(4, 3), *WEIGHT[:2]], {}),
        ("DynamicQuantizeMatMul", [positive(2, 4, 3), *WEIGHT], {}),
        *(packed(bits, bias=bias) for bits in (2, 4, 8) for bias in (False, True)),
        *(packed(bits, "packed") for bits in (2, 4, 8)),
        packed(4, "floats"),
        ("ConvTransposeWithDynamicPads", [floats(2, 4, 5, 6), floats(4, 3, 3, 2), integers(1, 0, 0, 1), floats(6)],
         {"group": 2, "strides": [2, 1]}),
        ("ConvTransposeWithDynamicPads", [floats(2, 4, 5, 6), floats(4, 3, 3, 2), integers(0, 0, 0, 0)], {}),
        *(("Pad", [floats(2, 3), integers(0, 1, 1, 0), np.float32(0.5)], {"mode": mode, "opset": opset})
          for mode, opset in (("constant", 17), ("reflect", 10))),
    ]
]  # fmt: skip


def _name(case: tuple[str, list, dict]) -> str:
    op_type, inputs, attributes = case
    shapes = " ".join("x".join(map(str, np.shape(values))) for values in inputs)
    return f"{op_type} {shapes} {attributes}"


def _graph(op_type: str, inputs: list, attributes: dict) -> tuple[Structure, list[str], dict]:
    attributes = dict(attributes)
    opset = attributes.pop("opset", 17)
    names = ["" if values is None else f"x{place}" for place, values in enumerate(inputs)]
    outputs = [f"y{place}" for place in range(attributes.pop("outputs", 1))]
    feeds = {name: np.asarray(values) for name, values in zip(names, inputs, strict=True) if name}
    proto = model_proto(
        [helper.make_node(op_type, names, outputs, **attributes)],
        {name: (helper.np_dtype_to_tensor_dtype(values.dtype), values.shape) for name, values in feeds.items()},
        {},
        opset=opset,
        ir_version=10,
        domains={attributes["domain"]: 1} if "domain" in attributes else None,
    )
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    return Structure(Model.read("a model", proto.SerializeToString())), outputs, feeds


@needs_newer_kernels
@pytest.mark.parametrize("case", CASES, ids=_name)
def test_as_onnxruntime_computes_it(case):
    graph, outputs, feeds = _graph(*case)
    expected = Session(graph.model).run(feeds)
    for name, values in zip(outputs, expected, strict=True):
        made = Float64Subgraph(graph, [0], name).run({key: wide(array) for key, array in feeds.items()}, {})
        assert made.shape == values.shape
        assert (made.dtype == np.float64) == (values.dtype == np.float32)
        np.testing.assert_allclose(made, values, rtol=2e-5, atol=2e-5)


def test_a_fused_convolution_of_channels_at_the_end_is_one_of_channels_in_front():
    """onnxruntime has no kernel for it on this processor."""
    attributes = {"domain": "com.microsoft", "group": 2, "pads": [1, 0, 2, 1], "activation": "Relu"}
    x, w, bias = CONV
    graph, _, _ = _graph("FusedConv", [x, w, bias], attributes)
    expected = Session(graph.model).run({"x0": x, "x1": w, "x2": bias})[0]
    graph, _, feeds = _graph("NhwcFusedConv", [np.moveaxis(x, 1, -1), w, bias], attributes)
    made = Float64Subgraph(graph, [0], "y0").run({key: wide(array) for key, array in feeds.items()}, {})
    np.testing.assert_allclose(np.moveaxis(made, -1, 1), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("last", [0, 1])
def test_a_group_norm_of_com_microsoft_is_onnxs(last):
    """onnxruntime has no kernel for it on this processor."""
    x, gamma, beta = floats(*IMAGE), floats(6), floats(6)
    graph, _, _ = _graph("GroupNormalization", [x, gamma, beta], {"opset": 21, "num_groups": 3})
    expected = Session(graph.model).run({"x0": x, "x1": gamma, "x2": beta})[0]
    attributes = {"domain": "com.microsoft", "groups": 3, "activation": 0, "channels_last": last}
    graph, _, feeds = _graph("GroupNorm", [np.moveaxis(x, 1, -1) if last else x, gamma, beta], attributes)
    made = Float64Subgraph(graph, [0], "y0").run({key: wide(array) for key, array in feeds.items()}, {})
    np.testing.assert_allclose(np.moveaxis(made, -1, 1) if last else made, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("inputs_at", [1, 3])
def test_a_convolution_of_channels_at_the_end_has_its_weight_in_the_order_that_fits(inputs_at):
    x, w, bias = floats(2, 2, 5, 5), floats(4, 2, 3, 3), floats(4)
    graph, _, _ = _graph("Conv", [x, w, bias], {"pads": [1, 0, 2, 1]})
    expected = Session(graph.model).run({"x0": x, "x1": w, "x2": bias})[0]
    inputs = [np.moveaxis(x, 1, -1), np.moveaxis(w, 1, inputs_at), bias]
    graph, _, feeds = _graph("NhwcConv", inputs, {"domain": "com.microsoft", "pads": [1, 0, 2, 1]})
    made = Float64Subgraph(graph, [0], "y0").run({key: wide(array) for key, array in feeds.items()}, {})
    np.testing.assert_allclose(np.moveaxis(made, -1, 1), expected, rtol=2e-5, atol=2e-5)


def test_a_chain_of_nodes_reads_what_is_stored_in_its_own_type():
    weight, bias = floats(4, 3).astype(np.float16), floats(3).astype(np.float16)
    half = 10
    data = model(
        [node("MatMul", "x w", "m"), node("Add", "m b", "s"), node("Cast", "s", "y", to=FLOAT)],
        {"x": (half, (2, 4))},
        {"y": (FLOAT, (2, 3))},
        {"w": weight, "b": bias},
    )
    part = Float64Subgraph(Structure(Model.read("a model", data)), [0, 1, 2], "y")
    assert {name: values.dtype for name, values in part.stored.items()} == {"w": np.float16, "b": np.float16}
    x = RNG.standard_normal((2, 4))
    made = part.run({"x": x}, {name: wide(values) for name, values in part.stored.items()})
    np.testing.assert_allclose(made, x @ weight.astype(np.float64) + bias.astype(np.float64), rtol=1e-14)


def test_quantizers_that_do_not_round_are_as_far_from_those_that_do_as_half_a_step():
    scale = np.float32(0.25)
    data = model(
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
        {"x": (FLOAT, (3, 50))},
        {"y": (FLOAT, (3, 50))},
        {"s": scale, "z": np.uint8(3)},
    )
    part = Float64Subgraph(Structure(Model.read("a model", data)), [0, 1], "y")
    stored = {name: wide(values) for name, values in part.stored.items()}
    x = wide(floats(3, 50))
    smooth, stepped = part.run({"x": x}, stored, rounds=False), part.run({"x": x}, stored)
    assert 0.1 * scale < np.abs(smooth - stepped).max() <= 0.5 * scale + 1e-12
    np.testing.assert_allclose(smooth, np.maximum(x, -3 * scale))
    assert part.has_quantizers


def test_bodies_are_computed_with_the_numbers_that_are_given():
    then_branch = helper.make_graph(
        [node("Mul", "x k", "t")], "then", [], [helper.make_tensor_value_info("t", FLOAT, None)],
        [helper.make_tensor("k", FLOAT, [], [2.0])],
    )  # fmt: skip
    else_branch = helper.make_graph(
        [node("Neg", "x", "e")], "else", [], [helper.make_tensor_value_info("e", FLOAT, None)]
    )
    data = model(
        [helper.make_node("If", ["c"], ["y"], then_branch=then_branch, else_branch=else_branch)],
        {"c": (9, ()), "x": (FLOAT, (3,))},
        {"y": (FLOAT, (3,))},
    )
    part = Float64Subgraph(Structure(Model.read("a model", data)), [0], "y")
    x, yes = np.asarray([1.0, 2.0, 3.0]), np.asarray(True)
    assert set(part.stored) == {"k"}
    np.testing.assert_array_equal(part.run({"c": yes, "x": x}, {"k": np.asarray(2.0)}), 2 * x)
    np.testing.assert_array_equal(part.run({"c": yes, "x": x}, {"k": np.asarray(5.0)}), 5 * x)


def test_what_cannot_be_computed_says_so():
    graph, outputs, feeds = _graph("Bernoulli", [positive(3)], {})
    graph.model.proto.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(NotComputedError, match="NoSuchOperator"):
        Float64Subgraph(graph, [0], outputs[0]).run({name: wide(values) for name, values in feeds.items()}, {})
