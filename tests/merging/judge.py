"""Folds a random region, and compares it with what it was, relative to the largest number in any of its branches."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from tests.folding import Folded, fold, session
from tests.merging.regions import generate

# Of the 6e-8 of float32 for each of some hundred terms; a weight at a wrong place is an error of a hundredth and more.
RELATIVE_ERROR = 3e-5


@dataclass
class Tally:
    """What became of regions.

    Attributes:
        regions: how many there were.
        merged: how many of them have a merge.
        branches: how many became one, over all merges.
        reasons: why others stayed apart.
        findings: seeds whose outputs differ, with the output.
    """

    regions: int = 0
    merged: int = 0
    branches: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def examine(seeds: Iterable[int]) -> Tally:
    """Fold and compare the regions of these seeds."""
    tally = Tally()
    for seed in seeds:
        folded = fold(generate(seed), merge=True)
        tally.regions += 1
        tally.merged += bool(folded.merges)
        tally.branches.update(merge.branches for merge in folded.merges)
        tally.reasons.update(refusal.reason.slug for apart in folded.apart for refusal in apart.refusals)
        wrong = difference(folded, seed)
        if wrong:
            tally.findings.append(f"seed {seed}: {wrong}")
    return tally


def difference(folded: Folded, seed: int) -> str:
    """The first output that differs, and by how much; "" where none does.

    Lengths that the model leaves open are tried as the model was made for them, and as far as it runs, otherwise.
    """
    observed, names = _observed(folded.original)
    runner, judged = session(observed), session(folded.model)
    fixed, *other = _shapes(folded.original, seed)
    for shape in (fixed, *other):
        feeds = {"x": np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 2}
        try:
            values = runner.run(None, feeds)
        except (Fail, InvalidArgument, RuntimeException):
            if shape is fixed:
                raise
            continue
        expected = dict(zip((entry.name for entry in runner.get_outputs()), values, strict=True))
        largest = max(float(np.abs(values).max(initial=0)) for values in (*expected.values(), feeds["x"]))
        for name, found in zip(names, judged.run(names, feeds), strict=True):
            if found.shape != expected[name].shape:
                return f"{name} has shape {found.shape}, expected {expected[name].shape}"
            error = float(np.abs(found - expected[name]).max(initial=0))
            if not error <= RELATIVE_ERROR * largest:
                return f"{name} is off by {error:.3g} of {largest:.3g}"
    return ""


def _observed(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The same model with every tensor as an output, and the names of its own outputs."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = [entry.name for entry in observed.graph.output]
    known = set(names)
    for node in observed.graph.node:
        observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name not in known)
        known |= set(node.output)
    return observed, names


def _shapes(model: onnx.ModelProto, seed: int) -> list[list[int]]:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    made_for = [dim.dim_value or int(dim.dim_param.split("_")[1]) for dim in dims]
    if not any(dim.dim_param for dim in dims):
        return [made_for]
    longer = [length + (not dim.dim_value) * (1 + seed % 3) for length, dim in zip(made_for, dims, strict=True)]
    return [made_for, longer]
