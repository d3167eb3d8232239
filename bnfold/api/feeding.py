"""What TorchScript is fed where nobody says: the shapes that it was traced with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bnfold.api.options import FoldOptions
from bnfold.errors import UncheckedError, UsageError
from bnfold.frontends.torch_archive.traced_inputs import Recorded
from bnfold.frontends.torchscript.recorded import shapes_by_leaf
from bnfold.judge.programs.inputs import example_arguments, inputs_without_shape

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fed:
    """The options of a fold, with a shape for every input.

    Attributes:
        options: with shapes that bnfold chose where the caller named none; as they were where nothing was found.
        warnings: which ones bnfold chose.
    """

    options: FoldOptions
    warnings: tuple[str, ...] = ()


def with_shapes(model: Any, options: FoldOptions, recorded: Sequence[Recorded] = ()) -> Fed:  # noqa: ANN401
    """Find shapes for the inputs of which the caller says none.

    Args:
        model: of any kind; an ExportedProgram says its shapes itself.
        options: of the fold.
        recorded: the inputs that the file says it was traced with. A module traced in memory says its shapes itself.
    """
    if not isinstance(model, torch.jit.ScriptModule) or not _lacks_shapes(model, options):
        return Fed(options)
    known = shapes_by_leaf(model, recorded)
    given = {name.partition(".")[0] for name in (*options.feeding.shapes, *options.feeding.inputs)}
    chosen = {name: shape for name, shape in known.items() if name.partition(".")[0] not in given}
    if not chosen or not _runs(model, tried := _with(options, chosen)):
        return Fed(options)
    return Fed(tried, (f"{_in_words(chosen)}, as the file was traced: give --shape to choose",))


def _lacks_shapes(module: torch.jit.ScriptModule, options: FoldOptions) -> bool:
    return bool(module._c._has_method("forward") and inputs_without_shape(module, options.feeding))


def _runs(model: torch.jit.ScriptModule, options: FoldOptions) -> bool:
    try:
        example_arguments(model, options.feeding)
    except (UsageError, UncheckedError):
        return False
    return True


def _with(options: FoldOptions, chosen: Shapes) -> FoldOptions:
    shapes = {**chosen, **options.feeding.shapes}
    if options.verify is None:
        return replace(options, shapes=shapes)
    return replace(options, verify=replace(options.verify, shapes=shapes))


def _in_words(chosen: Shapes) -> str:
    """Of many inputs the first."""
    told = [f"{name} was fed as ({', '.join(map(str, shape))})" for name, shape in chosen.items()]
    return "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")
