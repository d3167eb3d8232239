"""What TorchScript is fed where nobody says: the shapes of its trace, or shapes that its weights ask for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import islice, product

import torch

from bnfold.api.formats.program_kind import ShapedOptions
from bnfold.api.options import FoldOptions
from bnfold.errors import UncheckedError, UsageError
from bnfold.frontends.aten.operators.accepted_shapes import BATCH, FREE, Pattern
from bnfold.frontends.torch_archive.traced_inputs import Recorded
from bnfold.frontends.torchscript.inputs import WantedShape, recorded_shapes, wanted_shapes
from bnfold.keywords import keyword
from bnfold.verifier.programs.inputs import example_arguments, inputs_without_shape
from bnfold.verifier.run.settings import one_sample

Shapes = Mapping[str, tuple[int, ...]]

_BATCHES = (1, 2)
_SIZES = (32, 64, 224, 16, 8, 128, 28, 256)
_MOST_SHAPES = 4
_MOST_TRIALS = 48


def with_shapes(
    model: torch.jit.ScriptModule, options: FoldOptions, recorded: Sequence[Recorded] = ()
) -> ShapedOptions:
    """Find shapes for the inputs of which the caller says none.

    Args:
        model: the module.
        options: of the fold.
        recorded: the inputs that the file says it was traced with. A module traced in memory says its shapes itself.
    """
    known = recorded_shapes(model, recorded)
    options = _cut_into_samples(model, options, known)
    if not _missing(model, options):
        return ShapedOptions(options)
    given = {name.partition(".")[0] for name in (*options.feeding.shapes, *options.feeding.inputs)}
    chosen = {name: shape for name, shape in known.items() if name.partition(".")[0] not in given}
    if chosen and _runs(model, tried := _with(options, chosen)):
        return ShapedOptions(tried, warnings=(f"{_in_words(chosen)}, as the file was traced: {_choose()}",))
    return _as_wanted(model, options)


def _cut_into_samples(model: torch.jit.ScriptModule, options: FoldOptions, known: Shapes) -> FoldOptions:
    """With the shape of the trace for values that hold several samples of it: each is a sample of its own then."""
    feeding = options.feeding
    several = {
        name: shape
        for name, shape in known.items()
        if name in feeding.inputs and name not in feeding.shapes and _holds_several(feeding.inputs[name].shape, shape)
    }
    return tried if several and _runs(model, tried := _with(options, several)) else options


def _holds_several(values: tuple[int, ...], sample: tuple[int, ...]) -> bool:
    return values != sample and values[1:] == sample[1:] and one_sample(sample, values) == sample


def _as_wanted(module: torch.jit.ScriptModule, options: FoldOptions) -> ShapedOptions:
    """The first shapes that the weights ask for and the program runs on."""
    shapes = wanted_shapes(module, assume_inference=options.assume_inference)
    starred = [shape.leaf.replace("*", "1") for shape in shapes if "*" in shape.leaf]
    for extra in [starred, []] if starred else [[]]:
        leaves = [*_missing(module, options), *extra]
        wanted = {leaf: shape for leaf in leaves for shape in shapes if fnmatchcase(leaf, shape.leaf)}
        for chosen in islice(_choices(leaves, wanted), _MOST_TRIALS) if wanted else ():
            if _runs(module, tried := _with(options, chosen)):
                teaches = all(leaf in wanted and wanted[leaf].is_certain for leaf in leaves)
                why = "" if teaches else ", and to fold what depends on a rank that nothing fixes"
                return ShapedOptions(tried, teaches, (f"{_in_words(chosen)}: {_choose()}{why}",))
    return ShapedOptions(options)


def _choices(leaves: Sequence[str], wanted: Mapping[str, WantedShape]) -> Iterator[Shapes]:
    """Shapes for all leaves, likely ones first. What no weight is met behind may look like a leaf with a weight."""
    others: tuple[Pattern, ...] = (*next(iter(wanted.values())).shapes[:1], (BATCH, FREE), (BATCH,))
    patterns = [wanted[leaf].shapes[:_MOST_SHAPES] if leaf in wanted else others for leaf in leaves]
    seen = set()
    for batch, size in product(_BATCHES, _SIZES):
        sizes: dict[int | str, int] = {BATCH: batch, FREE: size}
        for together in islice(product(*patterns), _MOST_SHAPES):
            shapes = tuple(tuple(axis if isinstance(axis, int) else sizes[axis] for axis in one) for one in together)
            if shapes not in seen:
                seen.add(shapes)
                yield dict(zip(leaves, shapes, strict=True))


def _missing(module: torch.jit.ScriptModule, options: FoldOptions) -> list[str]:
    return inputs_without_shape(module, options.feeding) if module._c._has_method("forward") else []


def _runs(model: torch.jit.ScriptModule, options: FoldOptions) -> bool:
    try:
        example_arguments(model, options.feeding)
    except (UsageError, UncheckedError):
        return False
    return True


def _with(options: FoldOptions, chosen: Shapes) -> FoldOptions:
    return replace(options, shapes={**chosen, **options.feeding.shapes})


def _choose() -> str:
    return f"give {keyword('shapes')} to choose"


def _in_words(chosen: Shapes) -> str:
    """Of many inputs the first."""
    told = [f"{name} was fed as ({', '.join(map(str, shape))})" for name, shape in chosen.items()]
    return "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")
