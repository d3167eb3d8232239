"""Shapes and types of the tensors in a graph, of which a TorchScript file says nothing.

With example inputs, the program is run on them, and again with other sizes of every axis that it accepts: what changes
has a name, what stays the same has a number. So no fold rests on a size that the program does not insist on.

Without, and in branches that no example takes, those ranks and types are known that the program fixes: a scripted
nn.BatchNorm2d raises unless its input has four axes; the convolution of a trace takes as many axes as its weight has;
convolutions and linear maps take and give the type of their weight. From there, both are carried on through operators
that keep them.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import torch
from torch.utils import _pytree as pytree

from bnfold.frontends.aten.node import AtenNode, AtenValue
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.torchscript.ir import Attributes, IrNode, IrValue, all_nodes, class_name
from bnfold.frontends.torchscript.prepare import Prepared
from bnfold.frontends.torchscript.taps import Seen, Taps
from bnfold.refusal import Reason
from bnfold.regrouping import Dim
from bnfold.semantics import Opaque

_NUMBERED_DTYPES = {
    dtype: number
    for number, dtype in enumerate(
        (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)
    )
} | {torch.bool: 11, torch.bfloat16: 15}
_DTYPES = {number: dtype for dtype, number in _NUMBERED_DTYPES.items()}
_Fact = TypeVar("_Fact", int, torch.dtype)

# They take and give the type of their weight.
_OF_ONE_TYPE = frozenset(
    f"aten::{name}"
    for name in (
        "_convolution",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "linear",
    )
)
_BATCH_NORM = re.compile(r"__torch__\.torch\.nn\.modules\.batchnorm\.(___torch_mangle_\d+\.)?BatchNorm\dd")


@dataclass(frozen=True)
class TensorType:
    """Shape and type of a tensor.

    Attributes:
        shape: a number for a size that never changed, a name for one that did; None where the rank changed.
        dtype: None where it is not one that bnfold knows.
        was_seen: whether examples showed it; else the program fixes it.
    """

    shape: tuple[Dim, ...] | None
    dtype: torch.dtype | None
    was_seen: bool = True


def observe(prepared: Prepared, examples: Sequence[Any]) -> dict[str, TensorType]:
    """What is known of the tensors in the graph and its bodies, by their names in it.

    Args:
        prepared: the program.
        examples: its arguments, without the module.

    Returns:
        Nothing at all where the program does not run on the examples.
    """
    taps = Taps(prepared)
    first = taps.run(examples)
    if first is None:
        return {}
    runs = [first]
    for varied in _variations(examples):
        seen = taps.run(varied)
        if seen is not None:
            runs.append(seen)
    types = _Types()
    return {
        name: types.of([run.get(name, []) for run in runs]) for name in dict.fromkeys(n for run in runs for n in run)
    }


@dataclass
class _Types:
    """Makes types of what was seen: equal lengths in all runs get equal names."""

    _names: dict[object, str] = field(default_factory=dict)

    def of(self, runs: Sequence[Sequence[Seen]]) -> TensorType:
        """The type of one tensor.

        Args:
            runs: what was seen of it in each run: once, in every round of a loop, or not at all.
        """
        seen = [entry for run in runs for entry in run]
        dtypes = {entry.dtype for entry in seen}
        dtype = _DTYPES.get(dtypes.pop()) if len(dtypes) == 1 else None
        if len({len(entry.sizes) for entry in seen}) > 1:
            return TensorType(None, dtype)
        was_always_there = all(runs)
        axes = range(len(seen[0].sizes))
        lengths = [tuple(tuple(entry.sizes[axis] for entry in run) for run in runs) for axis in axes]
        return TensorType(tuple(self._length(axis, was_always_there) for axis in lengths), dtype)

    def _length(self, lengths: tuple[tuple[int, ...], ...], was_always_there: bool) -> Dim:
        """A number where it never changed. What was not seen in every run may change in those others."""
        different = {length for run in lengths for length in run}
        if was_always_there and len(different) == 1:
            return different.pop()
        key: object = lengths if was_always_there else object()
        return self._names.setdefault(key, f"size_{len(self._names)}")


def _variations(examples: Sequence[Any]) -> Iterator[list[Any]]:
    """The examples with one axis of one tensor, or of all tensors at once, at another size.

    Tensors in lists, tuples and dicts are varied like others.
    """
    leaves, spec = pytree.tree_flatten(list(examples))
    tensors = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    deepest = max((leaves[index].dim() for index in tensors), default=0)
    for axis in range(deepest):
        with_axis = [index for index in tensors if leaves[index].dim() > axis]
        choices = [[index] for index in with_axis] + ([with_axis] if len(with_axis) > 1 else [])
        for chosen in choices:
            varied = [_grown(leaf, axis) if index in chosen else leaf for index, leaf in enumerate(leaves)]
            yield list(pytree.tree_unflatten(varied, spec))


def _grown(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """The batch grows by one; other axes double, so that what must divide them still does."""
    added = tensor.narrow(axis, 0, 1) if axis == 0 else tensor
    return torch.cat([tensor, added], axis)


def fixed_types(prepared: Prepared) -> dict[str, TensorType]:
    """Types of the tensors whose rank and type the program fixes, by their names in its graph.

    A rank that two places fix differently means code that raises whenever it is reached; the first one counts.
    """
    nodes = list(all_nodes(prepared.graph))
    if any(node.kind() == "prim::Enter" for node in nodes):  # autocast may change types on the way
        return {}
    attributes = Attributes(prepared.root, prepared.graph)
    ranks: dict[str, int] = {}
    types: dict[str, torch.dtype] = {}
    for node in nodes:
        for value, rank in (*_guarded(node), *_guarded_by_class(node, attributes)):
            if _is_always_met(node, value):
                ranks.setdefault(value.debugName(), rank)
        weight = attributes.tensor(node.inputsAt(1)) if node.kind() in _OF_ONE_TYPE else None
        if weight is not None:
            for value in _tied(node):
                types.setdefault(value.debugName(), weight.dtype)
                if node.kind() == "aten::_convolution":  # unlike conv2d, it takes no input without a batch axis
                    ranks.setdefault(value.debugName(), weight.dim())
    _carry_on(nodes, ranks)
    _carry_on(nodes, types)
    numbers = count()
    return {
        name: TensorType(tuple(f"fixed_{next(numbers)}" for _ in range(ranks[name])), types[name], was_seen=False)
        for name in ranks
        if name in types
    }


def _tied(node: IrNode) -> list[IrValue]:
    """Of the first input and the first result, those of which it says something wherever they are used."""
    before, behind = node.inputsAt(0), node.outputsAt(0)
    return [before, behind] if _is_always_met(node, before) else [behind]


def _guarded(node: IrNode) -> Iterator[tuple[IrValue, int]]:
    """A branch that raises where x.dim() is not 4."""
    if node.kind() != "prim::If":
        return
    condition = node.inputsAt(0).node()
    raises, otherwise = (
        any(inner.kind() == "prim::RaiseException" for inner in block.nodes()) for block in node.blocks()
    )
    raises_if_not = {"aten::ne": raises and not otherwise, "aten::eq": otherwise and not raises}
    if raises_if_not.get(condition.kind(), False) and condition.inputsAt(0).node().kind() == "aten::dim":
        rank = condition.inputsAt(1).toIValue()
        if isinstance(rank, int):
            yield condition.inputsAt(0).node().inputsAt(0), rank


def _guarded_by_class(node: IrNode, attributes: Attributes) -> Iterator[tuple[IrValue, int]]:
    """What torch's class of a BatchNorm checks first: inlined two calls deep, the check is lost, because torch takes a
    branch that only raises for dead code.
    """
    statistic = attributes.behind(node.inputsAt(3)) if node.kind() == "aten::batch_norm" else None
    if statistic is None or not _BATCH_NORM.fullmatch(class_name(statistic.owner)):
        return
    if statistic.owner._has_method("_check_input_dim"):
        check = statistic.owner._get_method("_check_input_dim").graph
        for inner in all_nodes(check):
            yield from ((node.inputsAt(0), rank) for _, rank in _guarded(inner))


def _carry_on(nodes: list[IrNode], facts: dict[str, _Fact]) -> None:
    """Back and forth: a guard stands behind what made the tensor that it speaks of, and before what reads it."""
    for node in (*nodes, *reversed(nodes), *nodes):
        if Keeps.RANK | Keeps.TYPE in operator_of(node.kind()).keeps:
            before, behind = node.inputsAt(0).debugName(), node.outputsAt(0).debugName()
            if before in facts:
                facts.setdefault(behind, facts[before])
            elif behind in facts and _is_always_met(node, node.inputsAt(0)):
                facts[before] = facts[behind]


def _is_always_met(node: IrNode, value: IrValue) -> bool:
    """Whether a node runs whenever a value is made: what stands in a branch says nothing of what is made outside."""
    return bool(node.owningBlock().paramNode() == value.node().owningBlock().paramNode())


def why_rank_may_differ(node: AtenNode, seen: Collection[AtenValue]) -> Opaque | None:
    """In a branch that no example takes, what comes from outside may have another rank than it was seen with.

    A branch may run where x.dim() is 3, and the examples have two axes. Only an operator that keeps the rank, and
    whose result has one that the program fixes, says that it is the same.

    Args:
        node: any, which knows the branch that it stands in.
        seen: values that an example had; of all others is known what the program fixes.

    Returns:
        Why nothing is known of the node; None where nothing speaks against it.
    """
    results = [value for value in node.outputs if value is not None]
    if node.within is None or any(value in seen for value in results):
        return None
    for place, value in enumerate(node.inputs):
        keeps_rank = place == 0 and Keeps.RANK in node.operator.keeps
        if value in seen and not (keeps_rank and _are_of_one_rank(value, *results[:1])):
            return Opaque(
                Reason.UNKNOWN_SHAPE,
                f"no sample takes the branch that it stands in, where {value.name!r} may have another rank",
            )
    return None


def _are_of_one_rank(*values: AtenValue) -> bool:
    shapes = [value.shape for value in values]
    return None not in shapes and len({len(shape) for shape in shapes if shape is not None}) == 1
