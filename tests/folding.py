"""Fold a model in a test and compare both sides with onnxruntime, channel by channel."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from bnfold.engine import fold_graph
from bnfold.frontends.onnx.inference import assume_inference as _assume_inference
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.outcome import Apart, Fold, Kept, Lowered, Merge
from bnfold.refusal import Reason
from tests.comparing import assert_equal_results


@dataclass
class Folded:
    original: onnx.ModelProto
    model: onnx.ModelProto
    folds: tuple[Fold, ...]
    kept: tuple[Kept, ...]
    merges: tuple[Merge, ...] = ()
    apart: tuple[Apart, ...] = ()
    lowered: tuple[Lowered, ...] = ()

    @property
    def batch_norms_left(self) -> int:
        return count(self.model, "BatchNormalization")

    @property
    def reasons(self) -> list[Reason]:
        """The first reason of each BatchNorm that stays."""
        return [entry.refusals[0].reason for entry in self.kept if entry.is_batch_norm]


def fold(
    model: onnx.ModelProto, *, affine=True, merge=False, across=True, lower=None, assume_inference=False, **options
) -> Folded:
    """Fold a copy, check that the copy is valid and that the argument is unchanged.

    merge: let parallel branches become one operator, which would hide the moves that most tests look at.
    """
    before = model.SerializeToString()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if assume_inference:
        _assume_inference(copy)
    port = OnnxPort(copy, TensorStore(None), **options)
    outcome = fold_graph(port, affine_nodes=affine, merge_branches=merge, across=across, lower=lower)
    port.finish()
    onnx.checker.check_model(copy)
    assert model.SerializeToString() == before
    return Folded(model, copy, outcome.folds, outcome.kept, outcome.merges, outcome.apart, outcome.lowered)


def fold_and_compare(
    model: onnx.ModelProto,
    shapes: dict[str, tuple[int, ...]] | None = None,
    *,
    relative: float | None = None,
    **options,
) -> Folded:
    """Fold, then require that every output agrees on wide, symmetric inputs; relative: as `tests.comparing` has it."""
    folded = fold(model, **options)
    assert_equal_outputs(folded.original, folded.model, shapes or {}, relative=relative)
    return folded


def assert_equal_outputs(
    original: onnx.ModelProto, candidate: onnx.ModelProto, shapes=None, draws=3, seed=0, relative=None
):
    """Same names, types and shapes, and per channel (axis 1) an error small against the channel's own largest value."""
    reference, judged = session(original), session(candidate)
    assert [o.name for o in reference.get_outputs()] == [o.name for o in judged.get_outputs()]
    random = np.random.default_rng(seed)
    for _ in range(draws):
        feeds = {entry.name: _draw(entry, shapes or {}, random) for entry in reference.get_inputs()}
        kept = {entry.name for entry in judged.get_inputs()}
        assert kept == set(feeds)
        names = [entry.name for entry in reference.get_outputs()]
        expected, got = reference.run(names, feeds), judged.run(names, feeds)
        for name, left, right in zip(names, expected, got, strict=True):
            assert_equal_results(left, right, name, relative)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def count(model: onnx.ModelProto, op_type: str) -> int:
    """Nodes of this type in the main graph."""
    return sum(node.op_type == op_type for node in model.graph.node)


def _draw(entry, shapes, random):
    shape = shapes.get(entry.name) or tuple(dim if isinstance(dim, int) else 2 for dim in entry.shape)
    dtype = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}.get(entry.type)
    if entry.type == "tensor(bool)":
        return random.integers(0, 2, size=shape).astype(bool)
    assert dtype, f"no draw for {entry.type}"
    return (random.normal(size=shape) * 3).astype(dtype)
