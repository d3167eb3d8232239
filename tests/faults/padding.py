"""A shift in front of a zero-padded Conv, folded into its bias as if the padding had the shift too."""

import numpy as np

from bnfold.outcome import Fold, Kept
from tests.faults.edits import NotHere, Wrong
from tests.faults.graphs import Node, attribute, twin
from tests.faults.layouts import Parameters, read
from tests.faults.maps import Map, map_of
from tests.faults.sites import Subject


def shift_at_the_padding(subject: Subject, target: Fold | Kept, random: np.random.Generator) -> Wrong | NotHere:
    """Right in the middle of the picture, wrong along its border."""
    node = subject.node_of(target)
    if node is None:
        return NotHere("the node is not found")
    padded = [reader for reader, slot in subject.original.readers_of(node) if slot == 0 and _is_padded(reader)]
    if not padded:
        return NotHere("no zero-padded Conv reads it")
    reader = padded[int(random.integers(len(padded)))]
    other = twin(reader, subject.folded, subject.original)
    right = read(subject.folded, other) if other else "no twin"
    if not isinstance(right, Parameters):
        return NotHere(str(right))
    index = subject.original.operators.index(reader)
    if isinstance(target, Kept):
        return _pushed(subject, other, index, right)
    return _shift_left_behind(subject, target, node, index, right)


def _pushed(subject: Subject, reader: Node, index: int, right: Parameters) -> Wrong | NotHere:
    """Of a BatchNorm that stays: scale and shift into the Conv."""
    found = reader.scope.find(reader.input(0))
    ahead = found[1] if found else None
    given = map_of(subject.folded, ahead) if isinstance(ahead, Node) and _is_batch_norm(ahead) else None
    if given is None:
        return NotHere("the BatchNorm does not stand right before the Conv any more")
    wrong = _with_shift(right, given)
    if not _has_border(right, given):
        return NotHere("no shift")
    what = f"shift of {ahead.label} pushed through the zero padding of {reader.label}"
    return Wrong({index: wrong}, what, bypassed=index)


def _shift_left_behind(subject: Subject, fold: Fold, node: Node, index: int, right: Parameters) -> Wrong | NotHere:
    """Of a BatchNorm that is gone upstream: the scale there, the shift into the Conv behind."""
    sites = [site for site in subject.sites(fold) if site.side == "output" and site.index != index]
    if fold.direction != "upstream" or len(sites) != 1 or len(fold.into) != 1 or fold.through:
        return NotHere("not folded into the one operator in front")
    if len(subject.original.readers_of(node)) != 1 or subject.original.is_output(node):
        return NotHere("others read it")
    site = sites[0]
    if site.exact is None or site.all[-1] is not site.own or site.exact.reaches[site.exact.place].how != "same":
        return NotHere("other maps went into the operator in front as well")
    given = site.exact.map
    if not _has_border(right, given):
        return NotHere("no shift")
    upstream, downstream = site.exact.with_map(given.scale_alone()), _with_shift(right, given.shift_alone())
    reader = subject.original.operators[index]
    what = f"shift of {fold.node} pushed through the zero padding of {reader.label}"
    return Wrong({site.index: upstream, index: downstream}, what)


def _with_shift(right: Parameters, given: Map) -> Parameters:
    weight = right.weight * right.per_input(given.scale)
    return Parameters(weight, right.full_bias + right.applied_to(given.shift))


def _has_border(right: Parameters, given: Map) -> bool:
    return bool(np.any(right.weight * right.per_input(given.shift)))


def _is_padded(node: Node) -> bool:
    if node.proto.op_type != "Conv":
        return False
    automatic = attribute(node.proto, "auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
    kernel = attribute(node.proto, "kernel_shape", [])
    return any(attribute(node.proto, "pads", ())) or (automatic and any(length > 1 for length in kernel))


def _is_batch_norm(node: Node) -> bool:
    return node.proto.op_type == "BatchNormalization"
