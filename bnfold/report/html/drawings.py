"""What became of a node, as a drawing: a fold before and after, and the ways that are closed to one that stays."""

from collections.abc import Callable
from dataclasses import replace

from bnfold.outcome import Direction, Fold, Kept, Lowered
from bnfold.refusal import Reason, Refusal
from bnfold.report.html.chains import Box, Chain, Role
from bnfold.report.labels import operator_of
from bnfold.report.verdicts import ways_of

_WITH_BIAS = ("conv", "gemm", "linear", "addmm")
_SHORT = {"BatchNormalization": "BatchNorm"}
_MOST_BETWEEN = 2
_AT_THE_END = {
    Reason.GRAPH_INPUT: "graph input",
    Reason.CONSTANT: "constant",
    Reason.NO_READER: "no reader",
}
_BESIDE = {
    Reason.GRAPH_OUTPUT: "graph output",
    Reason.CAPTURED: "body of If, Loop",
    Reason.OTHER_CONSUMERS: "other reader",
}


def before_and_after(fold: Fold) -> tuple[Chain, Chain]:
    """A fold as two chains: where its map goes, and what is left."""
    draw = _BY_DIRECTION.get(fold.direction, _without_a_target) if fold.into else _without_a_target
    return draw(fold)


def _upstream(fold: Fold) -> tuple[Chain, Chain]:
    _, behind = _neighbours(fold)
    between = _between(fold)[::-1]
    taking = _with_more(_box(fold.into[0], "takes"), len(fold.into))
    before = Chain([taking, *between, _gone(fold), *behind], [(len(between) + 1, 0, "scale, shift")])
    return before, Chain([*_taken(fold, taking, "W\u00b7s", "b\u00b7s + t"), *between, *behind])


def _downstream(fold: Fold) -> tuple[Chain, Chain]:
    front, _ = _neighbours(fold)
    between = _between(fold)
    taking = _with_more(_box(fold.into[-1], "takes"), len(fold.into))
    boxes = [*front, _gone(fold), *between, taking]
    before = Chain(boxes, [(len(front), len(boxes) - 1, "scale, shift")])
    return before, Chain([*front, *between, *_taken(fold, taking, "W\u00b7s", "b + W\u00b7t")])


def _both(fold: Fold) -> tuple[Chain, Chain]:
    """The scale goes into what is in front, the shift into what is behind; what lies between is left out."""
    first, last = _box(fold.into[0], "takes"), _box(fold.into[-1], "takes")
    before = Chain([first, _gone(fold), last], [(1, 0, "scale"), (1, 2, "shift")])
    return before, Chain([_changed(first, "W\u00b7s"), *_taken(fold, last, "", "b + W\u00b7t")])


def _merged(fold: Fold) -> tuple[Chain, Chain]:
    front, behind = _neighbours(fold)
    twin = _box(fold.into[0], "takes")
    before = Chain([*front, _gone(fold), *behind], asides={0: twin} if front else {})
    return before, Chain([*front, twin, *behind])


def _branch(fold: Fold) -> tuple[Chain, Chain]:
    taking = _box(fold.into[0], "takes")
    return Chain([_gone(fold), taking], [(0, 1, "its kernel")]), Chain([_changed(taking, "sum of all")])


def _without_a_target(fold: Fold) -> tuple[Chain, Chain]:
    front, behind = _neighbours(fold)
    note = {"removed": "x \u00b7 1 + 0", "across": "readers take the inverse"}.get(fold.direction, "")
    before = Chain([*front, replace(_gone(fold), note=note), *behind])
    return before, Chain([*front, *behind] or [Box("its input")])


_BY_DIRECTION: dict[Direction, Callable[[Fold], tuple[Chain, Chain]]] = {
    "upstream": _upstream,
    "downstream": _downstream,
    "both": _both,
    "merged": _merged,
    "branch": _branch,
}


def before_and_lowered(node: Lowered) -> tuple[Chain, Chain]:
    """A BatchNorm, and the operators that stand for it."""
    front, behind = _neighbours(node)
    gone = Box(_operator(node.node, node.op), _name(node.node, node.op), "gone")
    instead = [Box(short_operator(operator), role="new") for operator in node.operators]
    return Chain([*front, gone, *behind]), Chain([*front, *instead, *behind] or [Box("its input")])


def closed_ways(kept: Kept) -> Chain:
    """A node that stays, between the operators on both sides up to those that forbid each move."""
    upstream = _way(kept, "upstream")
    downstream = _way(kept, "downstream")
    front, behind = _neighbours(kept)
    itself: Role = "plain" if upstream or downstream else "stops"
    left, left_beside = _obstacles(upstream) if upstream else (front, None)
    right, right_beside = _obstacles(downstream) if downstream else (behind, None)
    boxes = [*left[::-1], Box(_operator(kept.node, kept.op), _name(kept.node, kept.op), itself), *right]
    asides = {}
    if left_beside is not None:
        asides[0] = left_beside
    if right_beside is not None:
        asides[len(boxes) - 1] = right_beside
    return Chain(boxes, asides=asides)


def nameless(chain: Chain) -> Chain:
    """The same of operators alone: a drawing of all nodes that met the same."""
    return Chain(
        [replace(box, name="") for box in chain.boxes],
        chain.moves,
        {index: replace(box, name="") for index, box in chain.asides.items()},
    )


def _gone(fold: Fold) -> Box:
    return Box(_operator(fold.node, fold.op), _name(fold.node, fold.op), "gone")


def _way(kept: Kept, way: str) -> Refusal | None:
    return next((refusal for refusal in ways_of(kept) if refusal.way == way), None)


def _obstacles(refusal: Refusal) -> tuple[list[Box], Box | None]:
    """The nodes that the map met, the nearest first, and who else reads what the last one makes, if that forbids it."""
    reason = refusal.reason
    steps = _shortened([_box(label) for label in refusal.path[1:]])
    if reason in _BESIDE and (steps or refusal.readers):
        others = [_box(label, "stops") for label in refusal.readers[:1]] or [Box(_BESIDE[reason], role="stops")]
        return steps, others[0]
    if reason in _AT_THE_END or not steps:
        return [*steps, Box(_AT_THE_END.get(reason) or _BESIDE.get(reason, reason.slug), role="stops")], None
    return [*steps[:-1], replace(steps[-1], role="stops")], None


def _neighbours(node: Fold | Kept | Lowered) -> tuple[list[Box], list[Box]]:
    """What made its input and what reads its output, where that is known."""
    around = node.surroundings
    if around is None:
        return [], []
    front = [_box(around.before)] if around.before else []
    behind = [_with_more(_box(around.behind[0]), around.readers)] if around.behind else []
    return front, behind


def _between(fold: Fold) -> list[Box]:
    return _shortened([_box(label) for label in fold.through])


def _shortened(boxes: list[Box]) -> list[Box]:
    """A long way by its ends."""
    if len(boxes) <= _MOST_BETWEEN + 1:
        return boxes
    return [boxes[0], Box(f"{len(boxes) - _MOST_BETWEEN} more"), boxes[-1]]


def _with_more(box: Box, count: int) -> Box:
    return replace(box, note=f"and {count - 1} more") if count > 1 else box


def _taken(fold: Fold, box: Box, weight: str, bias: str) -> list[Box]:
    """An operator with the map in its parameters, and the addition of the shift that it had no room for."""
    if fold.added_nodes:
        return [_changed(box, weight), Box("Add", role="new", note="the shift")]
    has_bias = any(word in box.operator.lower() for word in _WITH_BIAS)
    return [_changed(box, ", ".join(filter(None, (weight, bias))) if has_bias else "new parameters")]


def _changed(box: Box, note: str) -> Box:
    return replace(box, role="new", note="; ".join(filter(None, (note, box.note))))


def _box(label: str, role: Role = "plain") -> Box:
    operator = operator_of(label)
    return Box(_operator(label, operator), _name(label, operator) if operator else "", role)


def _name(label: str, operator: str) -> str:
    """A name without the operator type that torch's exporter puts behind it, which the box says already."""
    return label.removesuffix(f"/{operator}")


def _operator(label: str, operator: str) -> str:
    """Its type without the namespace; of a node of which nobody noted that, its label."""
    return short_operator(operator) or label


def short_operator(operator: str) -> str:
    """An operator type as it stands in a box: without its namespace."""
    last = operator.rpartition("::")[2]
    return _SHORT.get(last, last)
