"""Fold a random model and look for anything wrong with the result; shrink what is found to a small model.

Every tensor of either model becomes an output, so that one run of each shows all values: what has the same name in
both models must have the same values, the graph's own outputs among them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from bnfold.engine import fold_graph
from bnfold.frontends.onnx.inlining import functions_in_the_way, inline
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.outcome import Outcome
from tests.comparing import difference
from tests.differential.generator import BATCH
from tests.folding import session

# Of the largest value in a channel; the coarsest dtype in a model holds for all of its tensors.
TOLERANCE = {"float16": 5e-2, "float32": 2e-4, "float64": 1e-9}
# Beyond the tolerance, what either model moves when its inputs and parameters are rounded otherwise, this many times
# over, passes as well, up to this part of the largest value in the model: the difference of two tensors may be
# nothing but rounding errors.
NOISE_FACTOR = 8
NOISE_DRAWS = 4
NOISE_CEILING = {"float16": 0.25, "float32": 5e-3, "float64": 1e-7}

Values = dict[str, np.ndarray]
Examiner = Callable[[onnx.ModelProto, int], "Examination"]

# Of the numbers that a quantizer makes, where what it reads has no counterpart to compare.
_FEW = 0.01

# Constants, which are not compared, and sequences.
_NO_TENSORS = ("Constant", "SequenceConstruct", "SplitToSequence")

_FLOATS = {1: np.float32, 10: np.float16, 11: np.float64}


class UnusableModelError(Exception):
    """The model itself is at fault: invalid, not for onnxruntime, or without finite values."""


@dataclass(frozen=True)
class Examination:
    """What became of one model.

    Attributes:
        outcome: folds and kept nodes, None where folding crashed.
        kind: "" where all is well, otherwise "wrong", "invalid", "crashed", "longer" or "worse".
        evidence: what was seen.
        compared: how many tensors of both models were compared.
        steps: how many tensors were not, because a quantizer in front of them rounds a number the other way.
        judged: how many outputs were compared with float64, of the model as it is, folded plainly, and folded across.
    """

    outcome: Outcome | None
    kind: str = ""
    evidence: str = ""
    compared: int = 0
    steps: int = 0
    judged: int = 0


def examine(model: onnx.ModelProto, seed: int = 0) -> Examination:
    """Fold a copy and compare it with the model.

    Raises:
        UnusableModelError: the model cannot be judged.
    """
    feeds = feeds_of(model, seed)
    expected = run_original(model, feeds)
    folded = copied(model)
    found = _examine(model, folded, feeds, expected)
    keys = functions_in_the_way(folded, ()) if not found.kind else frozenset()
    if not keys:
        return found
    written_out = inline(copied(model), keys)
    again = run_original(written_out, feeds)
    shared = expected.keys() & again.keys()
    evidence = _wrong_values(model, written_out, feeds, expected, {name: again[name] for name in shared})
    if evidence:
        return Examination(found.outcome, "wrong", f"written out: {evidence}")
    return _examine(written_out, copied(written_out), feeds, again)


def _examine(model: onnx.ModelProto, copy: onnx.ModelProto, feeds: Values, expected: Values) -> Examination:
    """Fold the copy, and compare it with what the model makes."""
    try:
        outcome = folded_in_place(copy)
    except Exception as error:
        return Examination(None, "crashed", f"{type(error).__name__}: {error}")
    try:
        onnx.checker.check_model(copy)
        found = run_exposed(copy, feeds)
    except Exception as error:
        return Examination(outcome, "invalid", str(error))
    problem = _structural_problem(model, copy)
    if problem:
        return Examination(outcome, *problem)
    shared = expected.keys() & found.keys()
    excused = behind_steps(model, expected, found) & shared
    evidence = _wrong_values(model, copy, feeds, expected, {name: found[name] for name in shared - excused})
    return Examination(outcome, "wrong" if evidence else "", evidence, len(shared - excused), len(excused))


def folded_in_place(model: onnx.ModelProto, *, across: bool = True) -> Outcome:
    """Fold a model in place."""
    port = OnnxPort(model, TensorStore(None))
    outcome = fold_graph(port, across=across)
    port.finish()
    return outcome


def behind_steps(model: onnx.ModelProto, expected: Values, found: Values) -> set[str]:
    """Tensors that a quantizer makes of numbers so near the middle of a step that few are rounded the other way.

    How many may be, if what it reads is there in both: that is compared itself.
    """
    excused: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and excused.isdisjoint(node.input):
            name, read = node.output[0], node.input[0]
            one, other = (values.get(name) for values in (expected, found))
            most = 1.0 if read in expected and read in found else _FEW
            if one is not None and other is not None and _is_a_step(one, other, most):
                excused.add(name)
        elif not excused.isdisjoint(_reads(node)):
            excused.update(filter(None, node.output))
    return excused


def _is_a_step(one: np.ndarray, other: np.ndarray, most: float) -> bool:
    """Whether that share of the numbers, or a single one, is the next integer."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    apart = np.abs(one.astype(np.int64) - other.astype(np.int64))
    return apart.max() == 1 and np.count_nonzero(apart) <= max(1, apart.size * most)


def _structural_problem(model: onnx.ModelProto, folded: onnx.ModelProto) -> tuple[str, str] | None:
    if [entry.name for entry in model.graph.output] != [entry.name for entry in folded.graph.output]:
        return "invalid", "the outputs have other names or another order"
    copies = max(0, _products_of_scales(folded) - _products_of_scales(model))
    if len(folded.graph.node) - copies > len(model.graph.node):
        return "longer", f"{len(folded.graph.node)} nodes, there were {len(model.graph.node)}"
    return None


def _products_of_scales(model: onnx.ModelProto) -> int:
    """How many nodes multiply a scale that is measured at run time with a constant: a fold may copy those."""
    scales = {node.output[1] for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"}
    return sum(node.op_type == "Mul" and not scales.isdisjoint(node.input) for node in model.graph.node)


def _wrong_values(
    model: onnx.ModelProto, folded: onnx.ModelProto, feeds: Values, expected: Values, found: Values
) -> str:
    """Which tensor of both models differs; "" where none does, or by no more than another rounding would change it."""
    dtypes = {values.dtype.name for values in expected.values()} & TOLERANCE.keys()
    coarsest = max(dtypes or {"float32"}, key=lambda dtype: TOLERANCE[dtype])
    problems = {
        name: problem
        for name in expected.keys() & found.keys()
        if (problem := difference(expected[name], found[name], TOLERANCE[coarsest]))
    }
    if not problems:
        return ""
    # A shift that was moved across is subtracted again: where zeros were, its last places are left (seed 8028590).
    noise, own = _noise(model, feeds, expected), _noise(folded, feeds, found)
    largest = max(np.abs(expected[name]).max() for name in expected)
    ceiling = NOISE_CEILING[coarsest] * largest
    # A norm of a tensor that is constant by construction rests on rounding alone, and no nudge shows it: seed 1007000.
    last_place = float(np.finfo(coarsest).eps) * largest
    for name in filter(problems.__contains__, expected):
        if expected[name].dtype.name not in TOLERANCE or expected[name].shape != found[name].shape:
            return f"{name}: {problems[name]}"
        rounding = min(NOISE_FACTOR * max(noise[name], own[name]), ceiling)
        if not _distance(expected[name], found[name]) <= max(rounding, last_place):
            return f"{name}: {problems[name]}"
    return ""


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _noise(model: onnx.ModelProto, feeds: Values, expected: Values) -> dict[str, float]:
    """How far each tensor moves when every input and parameter moves by one unit in its last place."""
    random = np.random.default_rng(0)
    noise = dict.fromkeys(expected, 0.0)
    for _ in range(NOISE_DRAWS):
        nudged = copied(model)
        for tensor in _parameters(nudged):
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(_nudged(onnx.numpy_helper.to_array(tensor), random), tensor.name)
            )
        values = run_exposed(nudged, {name: _nudged(array, random) for name, array in feeds.items()})
        for name, array in values.items():
            if name in expected and array.dtype.kind == "f" and array.shape == expected[name].shape:
                noise[name] = max(noise[name], _distance(expected[name], array))
    return noise


def _parameters(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All constants but the factors of a Resize, which decide about a shape."""
    resizes = [node for node in model.graph.node if node.op_type in ("Resize", "Upsample")]
    factors = {name for node in resizes for name in node.input[1:]}
    literals = [node for node in model.graph.node if node.op_type == "Constant"]
    constants = [*model.graph.initializer, *(node.attribute[0].t for node in literals)]
    names = [*(tensor.name for tensor in model.graph.initializer), *(node.output[0] for node in literals)]
    return (tensor for name, tensor in zip(names, constants, strict=True) if name not in factors)


def _nudged(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """By one unit in the last place, up or down; a zero stays."""
    if array.dtype.kind != "f":
        return array
    towards = np.where(random.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
    return np.where(array == 0, array, np.nextafter(array, towards)).astype(array.dtype)


def feeds_of(model: onnx.ModelProto, seed: int) -> Values:
    """Random values for the inputs of a model."""
    random = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds: Values = {}
    for entry in model.graph.input:
        tensor = entry.type.tensor_type
        shape = [dim.dim_value or BATCH for dim in tensor.shape.dim]
        if entry.name in constants:
            continue
        if tensor.elem_type in _FLOATS:
            feeds[entry.name] = (random.normal(size=shape) * 3).astype(_FLOATS[tensor.elem_type])
        elif tensor.elem_type == onnx.TensorProto.BOOL:
            feeds[entry.name] = np.asarray(random.random(shape) < 0.5)
        else:
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            feeds[entry.name] = random.integers(0, 7, size=shape).astype(kind)
    return feeds


def run_original(model: onnx.ModelProto, feeds: Values) -> Values:
    """The values of all tensors of the main graph.

    Raises:
        UnusableModelError: the model is invalid, cannot be run, or has values that cannot be compared.
    """
    try:
        onnx.checker.check_model(model)
        values = run_exposed(model, feeds)
    except Exception as error:
        raise UnusableModelError(str(error)) from error
    for name, array in values.items():
        if array.dtype.kind == "f" and not (np.isfinite(array) | np.isneginf(array)).all():
            raise UnusableModelError(f"{name} is not finite")
        if array.size == 0:  # onnxruntime lets shapes that do not fit pass then, and returns what was in memory
            raise UnusableModelError(f"{name} is empty")
    # Scores with minus infinity among them are not compared; what a softmax makes of them is.
    return {name: array for name, array in values.items() if array.dtype.kind != "f" or np.isfinite(array).all()}


def run_exposed(model: onnx.ModelProto, feeds: Values) -> Values:
    """The values of all tensors of the main graph."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {entry.name for entry in exposed.graph.output}
    made = {name: None for node in exposed.graph.node if node.op_type not in _NO_TENSORS for name in _results(node)}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name and name not in known)
    runner = session(exposed)
    names = [entry.name for entry in runner.get_outputs()]
    return dict(zip(names, runner.run(names, feeds), strict=True))


def _results(node: onnx.NodeProto) -> Sequence[str]:
    """What a node makes, but places and classes that are others where numbers are equal: nobody reads them."""
    places = {"TopK": slice(1), "LinearClassifier": slice(1, None)}
    return node.output[places.get(node.op_type, slice(None))]


def shrink(model: onnx.ModelProto, kind: str, examine: Examiner = examine, seed: int = 0) -> onnx.ModelProto:
    """The smallest model found that shows the same kind of finding: fewer outputs, fewer nodes, nearer inputs."""
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(model, seed):
            if _kind(smaller, examine, seed) == kind:
                model, progress = smaller, True
                break
    return model


def _kind(model: onnx.ModelProto, examine: Examiner, seed: int) -> str:
    try:
        return examine(model, seed).kind
    except UnusableModelError:
        return ""


def _smaller(model: onnx.ModelProto, seed: int) -> Iterator[onnx.ModelProto]:
    for index in range(len(model.graph.output)):
        if len(model.graph.output) > 1:
            candidate = copied(model)
            del candidate.graph.output[index]
            yield _without_dead_nodes(candidate)
    values = run_exposed(model, feeds_of(model, seed))
    for index in range(len(model.graph.node))[::-1]:
        yield from _without_node(model, index, values)


def _without_node(model: onnx.ModelProto, index: int, values: Values) -> Iterator[onnx.ModelProto]:
    """The node's outputs come from outside, or whoever wanted its first output takes the node's input."""
    node = model.graph.node[index]
    if node.op_type in _NO_TENSORS:
        return
    cut = copied(model)
    del cut.graph.node[index]
    for name in filter(None, node.output):
        array = values[name]
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        cut.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    yield _without_dead_nodes(cut)
    for source in node.input:
        bypassed = copied(model)
        del bypassed.graph.node[index]
        for reader in bypassed.graph.node:
            for slot, name in enumerate(reader.input):
                if name == node.output[0]:
                    reader.input[slot] = source
        for entry in bypassed.graph.output:
            if entry.name == node.output[0] and source in values:
                kind = onnx.helper.np_dtype_to_tensor_dtype(values[source].dtype)
                entry.CopyFrom(onnx.helper.make_tensor_value_info(source, kind, values[source].shape))
        yield _without_dead_nodes(bypassed)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    needed = {entry.name for entry in graph.output}
    for index in range(len(graph.node))[::-1]:
        if needed.isdisjoint(graph.node[index].output):
            del graph.node[index]
        else:
            needed |= _reads(graph.node[index])
    for entries in (graph.input, graph.initializer):
        for index in range(len(entries))[::-1]:
            if entries[index].name not in needed:
                del entries[index]
    return model


def _reads(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _reads(inner)
    return names
