"""Folding a ScriptModule."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch

from bnfold.api.options import FoldOptions
from bnfold.api.program import FoldedProgram
from bnfold.engine import fold_graph
from bnfold.errors import UsageError
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torchscript.file import duplicate
from bnfold.frontends.torchscript.program import ScriptProgram
from bnfold.report.model import Change
from bnfold.verifier.programs.inputs import example_arguments


def fold_script(
    module: torch.jit.ScriptModule, options: FoldOptions, without: Collection[int] = (), *, learns: bool = True
) -> FoldedProgram:
    """Fold a module; it is left unchanged.

    Args:
        module: the module.
        options: what to fold, and for the shapes of its inputs, how it will be checked.
        without: numbers of nodes to leave alone, see `Fold.number`.
        learns: whether shapes are learnt from how it will be checked. Else only those ranks are known that it fixes.

    Raises:
        UsageError: it is to be checked, and nothing says the shapes of its inputs.
    """
    reference = duplicate(module).eval() if options.assume_inference else module
    examples = _examples(reference, options) if learns else []
    program = ScriptProgram(reference, examples, assume_inference=options.assume_inference)
    before = len(program.graph.nodes)
    port = AtenPort(program.graph, exclude=options.exclude, without=without)
    outcome = replace(
        fold_graph(port, affine_nodes=options.affine, merge_branches=options.merge_branches), unmatched=port.unmatched
    )
    nodes = Change(before, len(program.graph.nodes))
    folded = program.finish()
    changed = reference is not module and any(part.training for part in module.modules())
    return FoldedProgram(folded, reference, outcome, nodes, read_as_inference=changed)


def _examples(module: torch.jit.ScriptModule, options: FoldOptions) -> list[Any]:
    """Arguments to learn shapes from; none where nothing says any and nobody will check the result."""
    try:
        return example_arguments(module, options.feeding)
    except UsageError:
        if options.verify is not None or options.shapes:
            raise
        return []
