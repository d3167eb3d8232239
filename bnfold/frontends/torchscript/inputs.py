"""Shapes of the arguments of forward: as its trace recorded them, or as the weights behind them want them.

A trace records what it was made with. Else the graph is followed from every leaf of the arguments, out of tuples, lists
and dicts and through operators that only move axes, to the first operator with a weight, such as a convolution. The
shape that this accepts is carried back to the leaf.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from bnfold.frontends.aten.operators.accepted_shapes import BATCH, FREE, Accepted, Pattern
from bnfold.frontends.torch_archive.traced_inputs import Recorded, Sizes
from bnfold.frontends.torchscript.accepted_shapes import Inverse, inverse_of, one_of, taken_out, weighted_call
from bnfold.frontends.torchscript.ir import Attributes, IrBlock, IrNode, IrValue
from bnfold.frontends.torchscript.prepare import Prepared, prepare
from bnfold.frontends.torchscript.shapes import fixed_types
from bnfold.keywords import keyword

Shape: TypeAlias = tuple[int, ...]

_EXAMPLE: Mapping[int | str, int] = {BATCH: 1, FREE: 32}


def recorded_shapes(module: torch.jit.ScriptModule, recorded: Sequence[Recorded]) -> dict[str, Shape]:
    """Shapes of recorded inputs by the path to each: "x", "pair.0", "inputs.image".

    Args:
        module: whose forward says how its arguments are called and what they hold.
        recorded: of its trace.

    Returns:
        Nothing where the two do not fit together.
    """
    left = deque(recorded)
    shapes: dict[str, Shape] = {}
    try:
        for argument in module._c._get_method("forward").schema.arguments[1:]:
            shapes.update(_below(argument.name, argument.type, left))
    except (IndexError, _UnlikeError):
        return {}
    return {} if left else shapes


class _UnlikeError(Exception):
    """What was recorded is not what forward takes."""


def _below(name: str, kind: Any, left: "deque[Recorded]") -> dict[str, Shape]:  # noqa: ANN401 - of torch._C
    """The leaves of one argument, taken off the front of what is left."""
    if kind.kind() == "TupleType":
        return _of_tuple(name, kind, left)
    value = left.popleft()
    if kind.kind() in ("ListType", "DictType"):
        return _of_items(name, kind, value)
    if kind.kind() != "TensorType":
        return {}
    if not isinstance(value, Sizes):
        raise _UnlikeError
    return {name: value.shape}


def _of_tuple(name: str, kind: Any, left: "deque[Recorded]") -> dict[str, Shape]:  # noqa: ANN401 - of torch._C
    """The trace of a lone tuple records its parts one by one; among other containers it is recorded whole."""
    parts = deque(whole) if left and isinstance(whole := left[0], list) else left
    shapes: dict[str, Shape] = {}
    for at, element in enumerate(kind.elements()):
        shapes.update(_below(f"{name}.{at}", element, parts))
    if parts is not left:
        left.popleft()
    return shapes


def _of_items(name: str, kind: Any, value: Recorded) -> dict[str, Shape]:  # noqa: ANN401 - of torch._C
    pairs: list[tuple[str | int, Recorded]]
    match kind.kind(), value:
        case "ListType", list():
            inner, pairs = kind.getElementType(), list(enumerate(value))
        case "DictType", dict():
            inner, pairs = kind.getValueType(), list(value.items())
        case _:
            raise _UnlikeError
    shapes: dict[str, Shape] = {}
    for key, item in pairs:
        shapes.update(_below(f"{name}.{key}", inner, deque([item])))
    return shapes


@dataclass(frozen=True)
class WantedShape:
    """What a leaf of the arguments should look like.

    Attributes:
        leaf: the path to it: "x", "pair.0", and "images.*" for whatever a list holds.
        shapes: the likeliest first.
        is_certain: whether the program accepts no other rank than that of its only shape.
    """

    leaf: str
    shapes: tuple[Pattern, ...]
    is_certain: bool


@dataclass(frozen=True)
class _Path:
    """From a leaf to a value: what became of its axes on the way.

    Attributes:
        leaf: the path to the leaf.
        start: the leaf in the graph.
        inverses: of the operators on the way, in their order.
        is_exact: whether these say all that happened.
    """

    leaf: str
    start: IrValue
    inverses: tuple[Inverse, ...] = ()
    is_exact: bool = True

    def then(self, inverse: Inverse, *, is_exact: bool) -> "_Path":
        return replace(self, inverses=(*self.inverses, inverse), is_exact=self.is_exact and is_exact)

    def back(self, shape: Pattern) -> Pattern | None:
        """The shape of the leaf that gives the value this shape; None where there is none."""
        found: Pattern | None = shape
        for inverse in reversed(self.inverses):
            found = None if found is None else inverse(found)
        return found


def wanted_shapes(module: torch.jit.ScriptModule, *, assume_inference: bool = False) -> list[WantedShape]:
    """What is known of those leaves of the arguments of forward behind which a weight is met.

    Raises:
        UnsupportedModelError: as `prepare`.
    """
    return _wanted(prepare(module, assume_inference=assume_inference))


def question_for_shapes(prepared: Prepared) -> str:
    """How to say what the program runs on, where its weights accept several ranks: "" where they do not."""
    examples = [
        " or ".join(
            keyword("shapes", {wanted.leaf: tuple(_EXAMPLE.get(axis, axis) for axis in shape)})
            for shape in wanted.shapes
        )
        for wanted in _wanted(prepared)
        if not wanted.is_certain
    ]
    return f"say what it runs on, such as {', and '.join(examples)}" if examples else ""


def _wanted(prepared: Prepared) -> list[WantedShape]:
    walk = _Walk(prepared)
    walk.through(prepared.graph)
    return list(walk.wanted.values())


class _Walk:
    """Goes through a graph once, in its order.

    Attributes:
        wanted: found so far, by leaf.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._attributes = Attributes(prepared.root, prepared.graph)
        self._containers: dict[str, str] = {}
        self._paths: dict[str, list[_Path]] = {}
        fixed = fixed_types(prepared)
        self._ranks = {name: len(known.shape) for name, known in fixed.items() if known.shape is not None}
        self.wanted: dict[str, WantedShape] = {}
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
        """Write down what an operator with a weight accepts."""
        call = weighted_call(node)
        paths = [] if call is None else self._paths.get(call.operand.debugName(), [])
        weight = None if call is None or not paths else self._weight(call.weight)
        if call is None or weight is None:
            return
        accepted = self._narrowed(call.accepts(weight), call.operand)
        for path in paths:
            shapes = tuple(dict.fromkeys(shape for shape in map(path.back, accepted.shapes) if shape is not None))
            is_met = node.owningBlock().paramNode() == path.start.node().owningBlock().paramNode()
            self._want(path.leaf, shapes, are_all=accepted.are_all and path.is_exact and is_met)

    def _narrowed(self, accepted: Accepted, operand: IrValue) -> Accepted:
        """Without shapes of another rank than the one that the program fixes."""
        rank = self._ranks.get(operand.debugName())
        shapes = tuple(shape for shape in accepted.shapes if len(shape) == rank)
        return Accepted(shapes) if shapes else accepted

    def _want(self, leaf: str, shapes: tuple[Pattern, ...], *, are_all: bool) -> None:
        """A later operator may be choosier than the first."""
        known = self.wanted.get(leaf)
        if known is not None:
            both = tuple(shape for shape in known.shapes if any(_agree(shape, other) for other in shapes))
            shapes = both or known.shapes
            are_all = are_all or known.is_certain
        if shapes:
            self.wanted[leaf] = WantedShape(leaf, shapes, is_certain=are_all and len(shapes) == 1)

    def _weight(self, value: IrValue) -> torch.Tensor | None:
        node = value.node()
        if node.kind() == "prim::ListConstruct" and node.inputsSize():  # of a recurrent operator
            return self._weight(node.inputsAt(0))
        if node.kind() == "aten::t":
            held = self._weight(node.inputsAt(0))
            return None if held is None else held.t()
        return self._attributes.tensor(value)

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
            paths, found = self._paths.get(node.inputsAt(0).debugName(), []), inverse_of(node)
            if found is not None:
                inverse, is_exact = found
                yield from (path.then(inverse, is_exact=is_exact) for path in paths)

    def _joined(self, node: IrNode) -> Iterator[_Path]:
        value, axis = node.inputsAt(0), node.inputsAt(1).toIValue()
        leaf = self._containers.get(value.debugName())
        paths = self._paths.get(value.debugName(), [])
        if leaf is not None and value.type().kind() == "ListType":
            paths = [_Path(f"{leaf}.*", value)]
        count = 2 if leaf is not None else max(value.node().inputsSize(), 1)
        for path in paths if isinstance(axis, int) else ():
            if node.kind() == "aten::stack":
                yield path.then(partial(taken_out, [axis]), is_exact=True)
            else:
                yield path.then(partial(one_of, count, axis), is_exact=False)


def _agree(one: Pattern, other: Pattern) -> bool:
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )
