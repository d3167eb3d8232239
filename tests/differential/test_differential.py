"""Random graphs, folded and compared with onnxruntime. The seeds are fixed: the same 2,000 graphs every time.

To look into a finding: `python -m benchmarks.differential --start SEED --seeds 1` prints its smallest model.
"""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from bnfold.frontends.onnx.operators.table import OPERATORS
from tests.differential.compare import Examination, behind_steps, copied, difference, examine, folded_in_place, shrink
from tests.differential.generator import generate
from tests.differential.tally import STREAMS, Tally, examine_seeds
from tests.folding import fold
from tests.kernels import needs_newer_kernels
from tests.networks import Network

SEEDS = 2000
CHUNK = 100
# So many of them say how many maps move, and which way. A rare operator is looked for in more.
SAMPLE, MOST = 600, 5000
SPLIT = 1389  # the first seed behind the sample whose maps go both ways

MAX_POOL = OPERATORS["", "MaxPool"]
_DECODED = {op_type for (_, op_type), operator in OPERATORS.items() if operator.decode is not None}

# Operators that read and end a map, and never pass one on.
_NEVER_PASSED = {
    *("MatMulNBits", "MatMulBnb4", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "TransposeMatMul"),
    *("ConvTransposeWithDynamicPads", "LinearRegressor", "LinearClassifier", "BiasGelu", "FastGelu"),
    *(
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "DeformConv",
        "Div",
        "Einsum",
        "GRU",
        "Gemm",
        "GroupNormalization",
    ),
    *("InstanceNormalization", "LSTM", "LayerNormalization", "MatMul", "RNN", "Scaler"),
    *("Attention", "EmbedLayerNormalization", "FusedGemm", "SkipLayerNormalization"),
    *("Softmax", "LogSoftmax"),  # which forget a shift
}
# onnxruntime has none for this operator on most processors: tests/onnx/test_fused.py.
_WITHOUT_KERNEL = {"BiasAdd", "GemmFloat8", "GroupNorm", "NhwcConv", "NhwcFusedConv", "SkipGroupNorm"}
# What the graphs are made of, beside operators with a rule.
_FORMS = {
    *("Loop", "Scan", "If", "local", "QuantizeLinear", "DequantizeLinear", "QLinearConv", "DynamicQuantizeLinear"),
    *("com.microsoft::QuantizeLinear", "com.microsoft::Gelu", "com.microsoft::BiasGelu", "com.microsoft::FusedConv"),
    *("Softmax", "Cast", "Sqrt", "Reciprocal", "ConstantOfShape"),
}


@needs_newer_kernels
@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_no_random_graph_is_folded_wrongly(start):
    tally = examine_seeds(range(start, start + CHUNK))
    assert tally.findings == []
    assert tally.unusable == {}


def test_no_random_stream_is_folded_wrongly_or_worse():
    tally = examine_seeds(range(CHUNK // 2), STREAMS)
    assert tally.findings == []
    assert tally.unusable == {}
    assert tally.folded_graphs["across"] > CHUNK / 4


@pytest.mark.parametrize("start", [SEEDS, SEEDS + CHUNK // 2])
def test_what_is_folded_folds_no_further(start):
    for seed in range(start, start + CHUNK // 2):
        again = fold(fold(generate(seed)).model)
        assert (seed, again.folds, again.merges) == (seed, (), ())


@pytest.fixture(scope="module")
def sample() -> Tally:
    """Graphs that are folded and not run."""
    tally = Tally()
    for seed in range(SAMPLE):
        _count(tally, seed, generate(seed))
    return tally


@pytest.fixture(scope="module")
def reached(sample) -> Tally:
    """The sample, and beyond it graphs that have an operator which is missing yet."""
    tally = Tally()
    tally.merge(sample)
    for seed in range(SAMPLE, MOST):
        missing = _neither(tally) | _never_passed(tally)
        if not missing:
            break
        model = generate(seed)
        if not missing.isdisjoint(node.op_type for node in model.graph.node):
            _count(tally, seed, model)
    return tally


def _count(tally: Tally, seed: int, model: onnx.ModelProto) -> None:
    tally.add(seed, model, Examination(folded_in_place(copied(model))))


@pytest.mark.parametrize(
    ("direction", "share"), [("upstream", 0.4), ("downstream", 0.3), ("upstream and downstream", 0.1)]
)
def test_many_graphs_fold_in_each_direction(sample, direction, share):
    assert sample.folded_graphs[direction] >= share * sample.graphs


def test_some_maps_are_split_between_both_directions():
    """Four of a thousand graphs have one."""
    tally, seed = Tally(), SPLIT
    while not tally.folds["both"] and seed < MOST:
        _count(tally, seed, generate(seed))
        seed += 1
    assert tally.folds["both"] >= 1


def test_batch_norms_fold_and_stay(sample):
    assert 0.3 <= sample.batch_norms["folded"] / sample.batch_norms["found"] <= 0.9


def test_every_operator_with_a_rule_is_passed_or_absorbs(reached):
    assert _neither(reached) == set()
    assert _never_passed(reached) == set()


def _neither(tally: Tally) -> set[str]:
    """Operators with a rule that neither pass a map nor absorb one."""
    return _DECODED - tally.passed.keys() - tally.absorbed.keys() - _WITHOUT_KERNEL


def _never_passed(tally: Tally) -> set[str]:
    """Operators with a rule that pass no map, and should."""
    return _DECODED - tally.passed.keys() - _NEVER_PASSED - _WITHOUT_KERNEL


def test_every_form_is_made():
    made: set[str] = set()
    for seed in range(500):
        nodes = generate(seed).graph.node
        made |= {f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes}
        made |= {node.domain for node in nodes}
    assert _FORMS - made == set()


def test_a_single_step_of_a_quantizer_is_excused_and_more_is_not():
    net = Network()
    net.node("QuantizeLinear", ["x", net.constant("s", 0.1), net.constant("z", 0, "uint8")], "q")
    net.node("DequantizeLinear", ["q", "s", "z"], "y")
    net.node("Relu", ["x"], "r")
    model = net.model({"x": (2, 3)}, ["y", "r"])
    one = {"q": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    near, far = {"q": one["q"].copy()}, {"q": one["q"].copy()}
    near["q"][0, 0] += 1
    far["q"][0, 0] += 2
    assert behind_steps(model, one, near) == {"q", "y"}
    assert behind_steps(model, one, far) == set()
    assert behind_steps(model, one, {"q": one["q"] + 1}) == set()
    assert behind_steps(model, one, one) == set()


def test_the_same_seed_gives_the_same_bytes():
    assert generate(5).SerializeToString() == generate(5).SerializeToString()


def test_one_small_channel_that_is_wrong_is_seen():
    expected = np.array([[1000.0, 1.0], [-2000.0, 2.0]])
    found = expected + np.array([[0.0, 1e-3], [0.0, 0.0]])
    assert difference(expected, found, 2e-4)
    assert not difference(expected, expected * (1 + 1e-5), 2e-4)


def test_other_shapes_and_dtypes_are_seen():
    assert difference(np.zeros((1, 3)), np.zeros((3,)), 1.0)
    assert difference(np.zeros(3), np.zeros(3, np.float32), 1.0)


def test_a_wrong_fold_is_found_and_shrunk(monkeypatch):
    """A decoder with a mistake in it: MaxPool lets negative scales pass."""

    def decode(context):
        return replace(MAX_POOL.decode(context), needs_non_negative_scale=False)

    monkeypatch.setitem(OPERATORS, ("", "MaxPool"), replace(MAX_POOL, decode=decode))
    model = _pool_and_batch_norm()
    assert examine(model).kind == "wrong"
    smallest = shrink(model, "wrong")
    assert sorted(node.op_type for node in smallest.graph.node) == ["BatchNormalization", "Conv", "MaxPool"]


def test_what_is_left_of_a_shift_that_is_subtracted_again_is_rounding():
    """Zeros of a dead Relu are exact, and not behind a BatchNorm that went across to another reader of them."""
    net = Network()
    net.node("Relu", [net.node("Neg", [net.node("Abs", ["x"], "a")], "n")], "zeros")
    net.node("MatMul", ["zeros", net.weight("w", 4, 4, dtype="float64")], "p")
    net.batch_norm("p", "y", 4, dtype="float64")
    mean, bias = net.random.normal(size=4) * 20, net.random.normal(size=4)
    for name, values in {"scale": np.full(4, 0.05), "var": np.ones(4), "mean": mean, "bias": bias}.items():
        net.constant(f"y.{name}", values, "float64")
    net.node("Gemm", ["p", net.weight("v", 4, 3, dtype="float64")], "z")
    found = examine(net.model({"x": (2, 4)}, ["y", "z"], dtype="float64"))
    assert found.outcome is not None
    assert [entry.direction for entry in found.outcome.folds] == ["across"]
    assert (found.kind, found.evidence) == ("", "")


def test_a_crash_is_found(monkeypatch):
    def crash(_context):
        raise ZeroDivisionError

    monkeypatch.setitem(OPERATORS, ("", "MaxPool"), replace(MAX_POOL, decode=crash))
    assert examine(_pool_and_batch_norm()).kind == "crashed"


def _pool_and_batch_norm() -> onnx.ModelProto:
    net = Network()
    net.node("Conv", ["x", net.weight("w", 4, 3, 1, 1)], "convolved")
    net.node("MaxPool", ["convolved"], "pooled", kernel_shape=[2, 2])
    net.batch_norm("pooled", "normal", 4)
    net.node("Sigmoid", ["normal"], "y")
    net.node("Relu", ["normal"], "z")
    return net.model({"x": (2, 3, 4, 4)}, ["y", "z"])
