"""What folding across tensors that others read costs in precision beside plain folding: both against float64."""

from dataclasses import dataclass

import numpy as np
import onnx

from bnfold.verifier.local.float64.evaluate import Float64Subgraph
from bnfold.verifier.local.float64.operator import NotComputedError
from bnfold.verifier.models.changed import nodes_behind
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from tests.differential.compare import Values, run_exposed
from tests.folding import session

# How many times larger than without crossing an error may be: docs/theory.md. By the type of the output.
MOST_GROWTH = {"float16": 2.0, "float32": 18.0}


@dataclass(frozen=True)
class Errors:
    """How far an output is from float64: the root of the mean square over all its numbers.

    Attributes:
        name: of the output.
        dtype: likewise.
        original: of the model as it was.
        plain: of the model that is folded without crossing.
        across: of the model that is folded with it.
        unit: the last place of the root of the mean square of that tensor of the original which has the largest.
    """

    name: str
    dtype: str
    original: float
    plain: float
    across: float
    unit: float

    @property
    def growth(self) -> float:
        """How many times larger the error is than it would be without crossing; what is less than a unit is one."""
        return self.across / max(self.original, self.plain, self.unit)

    @property
    def is_worse(self) -> bool:
        """Whether crossing has made an output worse than its type allows; one that is not a number is."""
        return not self.growth <= MOST_GROWTH[self.dtype]

    def __str__(self) -> str:
        sizes = (f"{error / self.unit:.3g}" for error in (self.across, self.plain, self.original))
        return "{}: {} units in the last place; {} without crossing, {} in the original".format(self.name, *sizes)


def errors(
    model: onnx.ModelProto, plain: onnx.ModelProto, across: onnx.ModelProto, feeds: Values, expected: Values
) -> list[Errors]:
    """Of every output in float16 or float32 that can be computed in float64.

    Args:
        model: the original.
        plain: what it is folded to without crossing.
        across: what it is folded to.
        feeds: inputs.
        expected: what the tensors of the original hold then.
    """
    exact = _in_float64(model, feeds, [entry.name for entry in model.graph.output])
    if not exact:
        return []
    floats = [values for values in expected.values() if values.dtype.kind == "f"]
    largest = max(_root_mean_square(values.astype(np.float64)) for values in floats)
    run = _run_as_stored if any(values.dtype == np.float16 for values in floats) else _run
    runs = [run(candidate, feeds, list(exact)) for candidate in (model, plain, across)]
    found = []
    for (name, truth), *results in zip(exact.items(), *runs, strict=True):
        dtype = results[0].dtype
        if dtype.name in MOST_GROWTH and truth.size:
            apart = (_root_mean_square(values - truth) for values in results)
            found.append(Errors(name, dtype.name, *apart, unit=largest * float(np.finfo(dtype).eps)))
    return found


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def _run(model: onnx.ModelProto, feeds: Values, names: list[str]) -> list[np.ndarray]:
    results: list[np.ndarray] = session(model).run(names, feeds)
    return results


def _run_as_stored(model: onnx.ModelProto, feeds: Values, names: list[str]) -> list[np.ndarray]:
    """As a device does that stores each tensor in its type, and loses nothing in between.

    onnxruntime keeps float32 between the operators that its CPU provider has not got in float16.
    """
    graph = Structure(Model.read("candidate", model.SerializeToString()))
    types = {name: values.dtype for name, values in run_exposed(model, feeds).items()}
    values = {name: _wide(array) for name, array in feeds.items()}
    for index, node in enumerate(graph.nodes):
        if graph.parameter(node.output[0]) is not None:
            continue
        made = {}
        for name in filter(None, node.output):
            part = Float64Subgraph(graph, [index], name)
            made[name] = part.run(values, {key: _wide(array) for key, array in part.stored.items()})
        with np.errstate(over="ignore"):
            values |= {name: _wide(array.astype(types.get(name, array.dtype))) for name, array in made.items()}
    return [values[name].astype(types[name]) for name in names]


def _in_float64(model: onnx.ModelProto, feeds: Values, names: list[str]) -> Values:
    """What the model makes of these inputs, as the verifier computes it."""
    graph = Structure(Model.read("original", model.SerializeToString()))
    exact: Values = {}
    for name in names:
        if name in graph.constants:
            continue
        part = Float64Subgraph(graph, nodes_behind(graph, name), name)
        if part.has_quantizers:  # which round a number the other way for any reason
            continue
        given, stored = ({key: _wide(value) for key, value in values.items()} for values in (feeds, part.stored))
        try:
            exact[name] = part.run(given, stored)
        except NotComputedError:
            continue
    return {name: values for name, values in exact.items() if values.dtype == np.float64}


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) if values.dtype.kind == "f" else values
