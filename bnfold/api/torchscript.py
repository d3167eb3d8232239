"""Folding a ScriptModule."""

import torch

from bnfold.api.options import FoldOptions
from bnfold.api.program import FoldedProgram
from bnfold.engine import fold_graph
from bnfold.errors import UsageError
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torchscript.lift import lift
from bnfold.frontends.torchscript.lower import lower
from bnfold.frontends.torchscript.observe import observe
from bnfold.frontends.torchscript.prepare import prepare
from bnfold.judge.torch_inputs import example_arguments
from bnfold.report.model import Change


def fold_script(module: torch.jit.ScriptModule, options: FoldOptions) -> FoldedProgram:
    """Fold a module; it is left unchanged.

    Args:
        module: the module.
        options: what to fold, and for the shapes of its inputs, how it will be checked.

    Raises:
        UsageError: it is to be checked, and nothing says the shapes of its inputs.
    """
    prepared = prepare(module, assume_inference=options.assume_inference)
    try:
        examples = example_arguments(module, options.verify)
    except UsageError:
        if options.verify is not None:
            raise
        examples = None
    lifted = lift(prepared, {} if examples is None else observe(prepared, examples))
    before = len(lifted.graph.nodes)
    outcome = fold_graph(AtenPort(lifted.graph, exclude=options.exclude), affine_nodes=options.affine)
    return FoldedProgram(lower(lifted, module), module, outcome, Change(before, len(lifted.graph.nodes)))
