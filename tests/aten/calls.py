"""One call of an operator of PyTorch as a graph of one node, to read it and to compare with what torch computes."""

import numpy as np
import torch

from bnfold.frontends.aten.constants import AtenConstants
from bnfold.frontends.aten.decode import decode
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.node import AtenNode, AtenValue
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.aten.schema import effects_of


class X:
    """Marks an argument that is computed at run time; every other tensor is a parameter."""

    def __init__(self, *shape):
        self.tensor = torch.randn(
            shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)), dtype=torch.float64
        )


def read(operator, *args, **kwargs):
    """What the node means, its activations by input index, and the results of torch as NumPy arrays."""
    graph, schema = AtenGraph(), operator._schema
    arguments = {
        argument.name: args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
        for place, argument in enumerate(schema.arguments)
    }
    lifted = {name: _lift(graph, name, argument) for name, argument in arguments.items()}
    results = operator(**{name: _plain(argument) for name, argument in arguments.items()})
    several = results if isinstance(results, (list, tuple)) else [results]
    outputs = [AtenValue(f"y{place}", shape=tuple(y.shape), dtype=y.dtype) for place, y in enumerate(several)]
    known = effects_of(schema)
    node = graph.append(
        AtenNode(operator_of(schema.name), lifted, outputs, "node", writes=known.writes, views=known.views)
    )
    held = [argument for argument in _flat(arguments.values()) if isinstance(argument, (X, torch.Tensor))]
    inputs = {place: _plain(argument).numpy() for place, argument in enumerate(held)}
    return decode(node, AtenConstants()), inputs, [np.asarray(y) for y in several]


def parameter(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _lift(graph, name, argument):
    if isinstance(argument, list):
        return [_lift(graph, f"{name}{place}", element) for place, element in enumerate(argument)]
    if isinstance(argument, X):
        x = argument.tensor
        # A node in front of it, as in a real program.
        given = graph.add_input(AtenValue(f"{name} given", is_input=True, shape=tuple(x.shape), dtype=x.dtype))
        made = AtenValue(name, shape=tuple(x.shape), dtype=x.dtype)
        graph.append(AtenNode(operator_of("aten::sigmoid"), {"self": given}, [made], f"before {name}"))
        return made
    if isinstance(argument, torch.Tensor):
        return graph.add_input(AtenValue(name, parameter=argument, shape=tuple(argument.shape), dtype=argument.dtype))
    return argument


def _plain(argument):
    if isinstance(argument, list):
        return [_plain(element) for element in argument]
    return argument.tensor if isinstance(argument, X) else argument


def _flat(arguments):
    for argument in arguments:
        if isinstance(argument, list):
            yield from _flat(argument)
        else:
            yield argument
