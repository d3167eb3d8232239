"""Folding an ExportedProgram."""

from collections.abc import Collection
from dataclasses import replace

from torch.export import ExportedProgram

from bnfold.api.options import FoldOptions
from bnfold.api.program import FoldedProgram
from bnfold.engine import fold_graph
from bnfold.frontends.aten.inference import assume_inference
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torch_export.lift import lift
from bnfold.frontends.torch_export.lower import lower, separated
from bnfold.report.model import Change


def fold_exported(program: ExportedProgram, options: FoldOptions, without: Collection[int] = ()) -> FoldedProgram:
    """Fold a program; it is left unchanged.

    Args:
        program: the program.
        options: what to fold.
        without: numbers of nodes to leave alone, see `Fold.number`.
    """
    program = separated(program)
    reference = program
    if options.assume_inference:
        graph = lift(program)
        if assume_inference(graph):
            reference = lower(program, graph)
    graph = lift(reference)
    before = len(graph.nodes)
    port = AtenPort(graph, exclude=options.exclude, without=without)
    outcome = replace(
        fold_graph(port, affine_nodes=options.affine, merge_branches=options.merge_branches), unmatched=port.unmatched
    )
    nodes = Change(before, len(graph.nodes))
    return FoldedProgram(lower(reference, graph), reference, outcome, nodes, read_as_inference=reference is not program)
