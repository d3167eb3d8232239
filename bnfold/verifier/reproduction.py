"""What shows a difference without bnfold: both versions of the part that is wrong, as models of their own, and values.

The part is the one that the check cut out, and the values are those on which onnxruntime shows the difference best:
those of a sample, or those of the check's own choice. Where no part is to blame, it is the whole models.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from bnfold.errors import UncheckedError
from bnfold.intake.tensors import is_external
from bnfold.verification import Verification, VerifyOptions
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import crop_of
from bnfold.verifier.local.probes import Probes
from bnfold.verifier.models.changed import ChangedTensor, find_changed_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model, ModelSource
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.models.subgraph import Subgraph
from bnfold.verifier.run.feeding import choose_feeding
from bnfold.verifier.run.inputs import draw
from bnfold.verifier.run.runner import OnnxRunner
from bnfold.verifier.run.session import Session
from bnfold.verifier.run.wanted import wanted_by

ORIGINAL, NEW, INPUTS, OUTPUTS = "original.onnx", "new.onnx", "inputs.npz", "outputs.npz"

_MOST_SAMPLES = 6
_ROUNDING = 1e-5
"""Of the largest value: a difference in float32 that is not told from rounding at a glance."""
_LARGEST = 2**31 - 2**20  # bytes of a message, and some room


@dataclass(frozen=True)
class _Shown:
    """Two models on the same values.

    Attributes:
        models: the original's version, and the new one's.
        feeds: what both read, by name.
        outputs: what each makes; nothing of a model that does not run.
        apart: the largest Difference.error; infinite where values cannot be compared.
    """

    models: tuple[Model, Model]
    feeds: Mapping[str, Array]
    outputs: tuple[list[Array], list[Array]]
    apart: float


def write_reproduction(
    reference: ModelSource, candidate: ModelSource, verdict: Verification, options: VerifyOptions, folder: Path
) -> str:
    """Write the two models, their inputs and what they make of them.

    Args:
        reference: the original.
        candidate: the new model.
        verdict: of a check that failed.
        options: of that check.
        folder: an empty one.

    Returns:
        What is to be said of it: that onnxruntime shows no more than rounding; "" where it shows the difference.

    Raises:
        UncheckedError: there is nothing that can be shown: the original does not run, or its values are none of numpy.
    """
    try:
        shown = _shown(reference, candidate, verdict, options)
    except RefusedError as error:
        raise UncheckedError(str(error)) from error
    for name, model in zip((ORIGINAL, NEW), shown.models, strict=True):
        (folder / name).write_bytes(_in_one_piece(model))
    fed: dict[str, Any] = {f"input_{index}": values for index, values in enumerate(shown.feeds.values())}
    np.savez(folder / INPUTS, **fed)
    made: dict[str, Any] = {
        f"{whose}_{index}": values
        for whose, arrays in zip(("original", "new"), shown.outputs, strict=True)
        for index, values in enumerate(arrays)
    }
    np.savez(folder / OUTPUTS, **made)
    if shown.apart > _ROUNDING:
        return ""
    return "onnxruntime shows no more than rounding there, on any values that were tried: the check is in float64"


def _shown(reference: ModelSource, candidate: ModelSource, verdict: Verification, options: VerifyOptions) -> _Shown:
    ours, theirs = (
        Structure(Model.read(role, source, options.custom_ops))
        for role, source in (("the original", reference), ("the new model", candidate))
    )
    wrong = {tensor.name for tensor in verdict.tensors if not tensor.passed}
    changed = next((entry for entry in find_changed_tensors(ours, theirs) if entry.name in wrong), None)
    names = [] if changed is None else [name for name in changed.boundary if name in ours.producers]
    samples = list(_samples(ours, names, options))
    boundary = samples[0].keys() if changed is None else changed.boundary
    if changed is None or not all(isinstance(seen.get(name), np.ndarray) for seen in samples for name in boundary):
        whole = [{name: seen[name] for name in seen if name in ours.inputs} for seen in samples]
        return max((_on(feeds, ours.model, theirs.model) for feeds in whole), key=attrgetter("apart"))
    begin = [{name: np.array(seen[name]) for name in changed.boundary} for seen in samples]
    chosen = chain(begin, _chosen(begin[0], changed, ours, theirs, options))
    return max(
        (_part_on(values, changed, ours, theirs) for values in chain.from_iterable(map(_both, chosen))),
        key=attrgetter("apart"),
    )


def _samples(original: Structure, names: Sequence[str], options: VerifyOptions) -> Iterator[dict[str, Any]]:
    """The samples of the check, with what the original makes of them inside."""
    runner = OnnxRunner(original.model, names)
    feeding = choose_feeding(runner, options, wanted_by(original))
    yield {**feeding.feeds, **feeding.observation.tensors}
    for sample in range(1, min(options.samples, _MOST_SAMPLES)):
        feeds = draw(runner.signature.inputs, feeding.settings[0], options, sample)
        with suppress(RefusedError):
            yield {**feeds, **runner.observe(feeds, runner.exposed).tensors}


def _chosen(
    begin: Mapping[str, Array], changed: ChangedTensor, ours: Structure, theirs: Structure, options: VerifyOptions
) -> Iterator[dict[str, Array]]:
    """Values of the check's own choice, in the types of the model."""
    crop = crop_of(changed, ours, theirs, {name: values.shape for name, values in begin.items()})
    for probe in Probes(options.seed, options.inputs).draws(begin, crop):
        yield {name: values.astype(begin[name].dtype) for name, values in probe.values.items()}


def _both(values: dict[str, Array]) -> Iterator[dict[str, Array]]:
    """The same, and once more with every boolean turned round: a branch that no sample takes may be the wrong one."""
    yield values
    if any(array.dtype == np.bool_ for array in values.values()):
        yield {
            name: np.logical_not(array, out=np.empty_like(array)) if array.dtype == np.bool_ else array
            for name, array in values.items()
        }


def _part_on(values: Mapping[str, Array], changed: ChangedTensor, ours: Structure, theirs: Structure) -> _Shown:
    parts = [
        Subgraph(graph, [graph.nodes[index] for index in indices]).model(values, [changed.name])
        for graph, indices in ((ours, changed.original), (theirs, changed.new))
    ]
    return _on(values, parts[0], parts[1])


def _on(feeds: Mapping[str, Any], original: Model, new: Model) -> _Shown:
    plain = {name: values for name, values in feeds.items() if isinstance(values, np.ndarray) and _is_of_numpy(values)}
    if len(plain) < len(feeds):
        other = next(name for name in feeds if name not in plain)
        raise UncheckedError(f"numpy cannot store what {other!r} holds")
    before, after = _run(original, plain), []
    try:
        after = _run(new, plain)
    except RefusedError:
        return _Shown((original, new), plain, (before, after), np.inf)
    found = (entry for pair in zip(before, after, strict=True) for entry in differences(*pair))
    apart = max((np.inf if entry.problem else entry.error for entry in found), default=0.0)
    return _Shown((original, new), plain, (before, after), apart)


def _run(model: Model, feeds: Mapping[str, Array]) -> list[Array]:
    return [np.array(output) for output in Session(model).run(feeds)]


def _is_of_numpy(values: Array) -> bool:
    """Whether any numpy reads it: bfloat16 and its like are those of a package of their own."""
    return values.dtype.isbuiltin == 1 and values.dtype.kind != "O"


def _in_one_piece(model: Model) -> bytes:
    """The model with all data inside.

    Raises:
        UncheckedError: that is more than a message holds.
    """
    from onnx import ModelProto, numpy_helper

    proto: ModelProto = ModelProto()
    proto.CopyFrom(model.proto)
    size = proto.ByteSize() + sum(values.nbytes for values in model.weights.values())
    if size > _LARGEST:
        raise UncheckedError(f"the part that differs holds {size / 2**30:.1f} GiB, more than one file of ONNX can")
    for tensor in proto.graph.initializer:
        if is_external(tensor):
            tensor.CopyFrom(numpy_helper.from_array(np.array(model.weights[tensor.name]), tensor.name))
    data: bytes = proto.SerializeToString(deterministic=True)
    return data
