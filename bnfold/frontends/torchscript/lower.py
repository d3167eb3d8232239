"""A folded AtenGraph as a new ScriptModule."""

import torch

from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.torchscript.headers import rewritten
from bnfold.frontends.torchscript.homes import Homes
from bnfold.frontends.torchscript.lift import Lifted
from bnfold.frontends.torchscript.prepare import duplicate
from bnfold.frontends.torchscript.replay import Replay
from bnfold.frontends.torchscript.retire import protected_places, read_places, retire, shared_places


def lower(lifted: Lifted, original: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The folded program as a module of its own.

    Args:
        lifted: the folded program; its prepared copy is used up.
        original: what was prepared. It is copied as it is where nothing was folded.
    """
    if not lifted.graph.journal:
        return duplicate(original)
    prepared = lifted.prepared
    root = prepared.root
    protected = protected_places(root, prepared.reach)
    read_before = read_places(root, prepared.graph)
    homes = Homes(root, protected, shared_places(root, prepared.graph))
    replay = Replay(lifted, homes)
    replay.run()
    _tolerate_other_strides(lifted.graph, replay)
    torch._C._jit_pass_dce(prepared.graph)
    torch._C._jit_pass_lint(prepared.graph)
    lost = read_before - read_places(root, prepared.graph)
    retired = retire(root, prepared.reach, replay.changed, lost)
    return rewritten(prepared.module, retired.attributes, retired.methods, homes.registered)


def _tolerate_other_strides(graph: AtenGraph, replay: Replay) -> None:
    """Turn views into reshapes: a BatchNorm that is gone may have made the strides that a view relies on."""
    for node in graph.nodes:
        if (
            node.op == "aten::view"
            and "size" in node.arguments
            and not any(value is not None and value.mutation for value in node.outputs)
        ):
            replay.respell(node, "aten::reshape")
