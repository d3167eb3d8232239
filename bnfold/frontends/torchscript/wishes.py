"""What the weights of a program want of its inputs: the first operator with a weight that reads one says its channels.

The graph is followed from every leaf of its arguments, out of tuples, lists and dicts and through operators that only
move axes, to a convolution, a matrix or a table. What that takes is carried back to the leaf.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from bnfold.frontends.torchscript.attributes import Attributes
from bnfold.frontends.torchscript.ir import IrBlock, IrNode, IrValue
from bnfold.frontends.torchscript.prepare import Prepared, prepare
from bnfold.frontends.torchscript.ranks import fixed_forms
from bnfold.frontends.torchscript.readers import READERS, Axes, Step, Taken, shared, step_of, taken_out


@dataclass(frozen=True)
class Wish:
    """What a leaf of the arguments should look like.

    Attributes:
        leaf: the path to it: "x", "pair.0", and "images.*" for whatever a list holds.
        forms: shapes, the likeliest first; a name stands for a size that is free.
        is_certain: whether the program takes no other rank than that of its only form.
    """

    leaf: str
    forms: tuple[Axes, ...]
    is_certain: bool


@dataclass(frozen=True)
class _Path:
    """From a leaf to a value: what became of its axes on the way.

    Attributes:
        leaf: the path to the leaf.
        start: the leaf in the graph.
        steps: in their order.
        is_exact: whether the steps say all that happened.
    """

    leaf: str
    start: IrValue
    steps: tuple[Step, ...] = ()
    is_exact: bool = True

    def then(self, step: Step, *, is_exact: bool = True) -> "_Path":
        return replace(self, steps=(*self.steps, step), is_exact=self.is_exact and is_exact)

    def back(self, form: Axes) -> Axes | None:
        """The form of the leaf that gives the value this form; None where there is none."""
        found: Axes | None = form
        for step in reversed(self.steps):
            found = None if found is None else step(found)
        return found


def wishes_of(module: torch.jit.ScriptModule, *, assume_inference: bool = False) -> list[Wish]:
    """What is known of those leaves of the arguments of forward behind which a weight is met.

    Raises:
        UnsupportedModelError: as `prepare`.
    """
    prepared = prepare(module, assume_inference=assume_inference)
    walk = _Walk(prepared)
    walk.through(prepared.graph)
    return list(walk.wishes.values())


class _Walk:
    """Goes through a graph once, in its order.

    Attributes:
        wishes: found so far, by leaf.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._attributes = Attributes(prepared.root, prepared.graph)
        self._containers: dict[str, str] = {}
        self._paths: dict[str, list[_Path]] = {}
        fixed = fixed_forms(prepared)
        self._ranks = {name: len(form.shape) for name, form in fixed.items() if form.shape is not None}
        self.wishes: dict[str, Wish] = {}
        arguments = prepared.root._get_method("forward").schema.arguments
        for argument, value in zip(arguments[1:], list(prepared.graph.inputs())[1:], strict=True):
            self._enter(value, argument.name)

    def through(self, block: IrBlock) -> None:
        for node in block.nodes():
            if node.kind() == "prim::Loop":
                self._same(list(node.inputs())[2:], list(next(node.blocks()).inputs())[1:])
            for inner in node.blocks():
                self.through(inner)
                results = list(inner.outputs())
                self._same(results[len(results) - node.outputsSize() :], node.outputs())
            if node.kind() == "prim::unchecked_cast":
                self._same(node.inputs(), node.outputs())
            self._open(node)
            self._ask(node)
            self._carry(node)

    def _enter(self, value: IrValue, leaf: str) -> None:
        if value.type().kind() == "TensorType":
            self._paths[value.debugName()] = [_Path(leaf, value)]
        else:
            self._containers[value.debugName()] = leaf

    def _same(self, before: Iterable[IrValue], behind: Iterable[IrValue]) -> None:
        for ours, theirs in zip(before, behind, strict=True):
            if ours.debugName() in self._paths:
                self._paths.setdefault(theirs.debugName(), self._paths[ours.debugName()])
            if ours.debugName() in self._containers:
                self._containers.setdefault(theirs.debugName(), self._containers[ours.debugName()])

    def _open(self, node: IrNode) -> None:
        """Take something out of a container."""
        leaf = self._containers.get(node.inputsAt(0).debugName()) if node.inputsSize() else None
        if leaf is None:
            return
        if node.kind() in ("prim::TupleUnpack", "prim::ListUnpack"):
            for at, value in enumerate(node.outputs()):
                self._enter(value, f"{leaf}.{at}")
        elif node.kind() in ("aten::__getitem__", "prim::TupleIndex"):
            key = node.inputsAt(1).toIValue()
            is_known = isinstance(key, str) or (isinstance(key, int) and key >= 0)
            self._enter(node.output(), f"{leaf}.{key if is_known else '*'}")

    def _ask(self, node: IrNode) -> None:
        """Write down what an operator with a weight takes."""
        reader = READERS.get(node.kind())
        if reader is None or reader.weight >= node.inputsSize():
            return
        paths = self._paths.get(node.inputsAt(reader.operand).debugName(), [])
        weight = self._weight(node.inputsAt(reader.weight))
        if not paths or weight is None:
            return
        taken = self._narrowed(reader.takes(node, weight), node.inputsAt(reader.operand))
        for path in paths:
            forms = tuple(dict.fromkeys(form for form in map(path.back, taken.forms) if form is not None))
            is_met = node.owningBlock().paramNode() == path.start.node().owningBlock().paramNode()
            self._wish(path.leaf, forms, is_all=taken.are_all and path.is_exact and is_met)

    def _narrowed(self, taken: Taken, operand: IrValue) -> Taken:
        """Without forms of another rank than the one that the program fixes."""
        rank = self._ranks.get(operand.debugName())
        forms = tuple(form for form in taken.forms if len(form) == rank)
        return Taken(forms) if forms else taken

    def _wish(self, leaf: str, forms: tuple[Axes, ...], *, is_all: bool) -> None:
        """A later operator may be choosier than the first."""
        known = self.wishes.get(leaf)
        if known is not None:
            forms = tuple(form for form in known.forms if any(_agree(form, other) for other in forms)) or known.forms
            is_all = is_all or known.is_certain
        if forms:
            self.wishes[leaf] = Wish(leaf, forms, is_certain=is_all and len(forms) == 1)

    def _weight(self, value: IrValue) -> torch.Tensor | None:
        node = value.node()
        if node.kind() == "prim::ListConstruct" and node.inputsSize():  # of a recurrent operator
            return self._weight(node.inputsAt(0))
        if node.kind() == "aten::t":
            held = self._weight(node.inputsAt(0))
            return None if held is None else held.t()
        place = self._attributes.place(node) if node.kind() == "prim::GetAttr" else None
        found: Any = value.toIValue() if place is None else place.value
        return found if isinstance(found, torch.Tensor) else None

    def _carry(self, node: IrNode) -> None:
        """Follow a tensor through an operator that moves its axes."""
        if node.outputsSize() != 1 or not node.inputsSize():
            return
        paths = list(self._carried(node))
        if paths:
            self._paths.setdefault(node.output().debugName(), paths)

    def _carried(self, node: IrNode) -> Iterator[_Path]:
        if node.kind() == "prim::ListConstruct":
            for value in node.inputs():
                yield from self._paths.get(value.debugName(), [])
        elif node.kind() in ("aten::cat", "aten::stack"):
            yield from self._joined(node)
        else:
            paths, found = self._paths.get(node.inputsAt(0).debugName(), []), step_of(node)
            if found is not None:
                yield from (path.then(found[0], is_exact=found[1]) for path in paths)

    def _joined(self, node: IrNode) -> Iterator[_Path]:
        value, axis = node.inputsAt(0), node.inputsAt(1).toIValue()
        leaf = self._containers.get(value.debugName())
        paths = self._paths.get(value.debugName(), [])
        if leaf is not None and value.type().kind() == "ListType":
            paths = [_Path(f"{leaf}.*", value)]
        count = 2 if leaf is not None else max(value.node().inputsSize(), 1)
        for path in paths if isinstance(axis, int) else ():
            step: Step = partial(taken_out, [axis]) if node.kind() == "aten::stack" else partial(shared, count, axis)
            yield path.then(step, is_exact=node.kind() == "aten::stack")


def _agree(one: Axes, other: Axes) -> bool:
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )
