"""Which parts are contractions of one tensor with half-precision weights, so that their weights can be read.

Nothing may stand before them but moves of single values, and nothing behind them but constants added, joints that keep
values apart, sums of each other, moves, and at the end an activation of two slopes. Sums have none behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd, prod
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.receptive_field import Window, windows
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.dtypes import BFLOAT16, FLOAT16
from bnfold.verifier.models.graph import Structure

if TYPE_CHECKING:
    from onnx import NodeProto

_TYPES = {FLOAT16: np.dtype(np.float16), BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
_CONTRACTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_BENDING = ("LeakyRelu", "PRelu", "Relu")


@dataclass(frozen=True)
class Readable:
    """A site whose new part is one contraction, or some of one tensor: its weights can be read.

    Attributes:
        site: the site.
        source: the tensor that it begins with.
        moves: what brings the values of the source to their places in the tensor that is contracted.
        dtype: of the stored weight.
        bends: whether an activation stands behind it that has another slope for negative values.
        adds: whether several contractions are added, so that a number that comes out is a sum of weights.
        groups: how many pieces the channels fall into that no output sees two of.
        windows: what one output sees on each axis behind the channels; () where every row of the contracted tensor is a
            matter of its own and the channels are its last axis.
    """

    site: Site
    source: str
    moves: "Moves"
    dtype: "np.dtype[np.generic]"
    bends: bool
    adds: bool
    groups: int
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Moves:
    """A chain of nodes each of whose outputs holds the values of its first input, elsewhere.

    Attributes:
        graph: that they are in.
        nodes: from the first to the last.
    """

    graph: Structure
    nodes: "tuple[NodeProto, ...]"

    def places(self, shape: Sequence[int]) -> Array | None:
        """Where each value of the result stands in the source: int64, of the result's shape.

        Args:
            shape: of the source.

        Returns:
            The places; None where a node does not take that shape.
        """
        places = np.arange(prod(shape), dtype=np.int64).reshape(shape)
        try:
            for node in self.nodes:
                places = self._run(node, places)
        except Exception:  # onnx's implementations raise what they like
            return None
        return places

    def _run(self, node: "NodeProto", places: Array) -> Array:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        names = [name for name in node.input if name]
        values = [places, *(self.graph.array(name) for name in names[1:])]
        ports = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, values, strict=True)
        ]
        graph = helper.make_graph([node], "move", ports, [helper.make_empty_tensor_value_info(node.output[0])])
        model = helper.make_model(graph, opset_imports=self.graph.model.proto.opset_import)
        (moved,) = ReferenceEvaluator(model).run(None, dict(zip(names, values, strict=True)))
        return np.asarray(moved)


def readable(site: Site, new: Structure) -> Readable | None:
    """The site if its weights can be read, else None."""
    nodes = [new.nodes[index] for index in site.new if new.nodes[index].output[0] not in new.constants]
    if len(site.boundary) != 1 or not nodes:
        return None
    source = site.boundary[0]
    moves = _leading_moves(nodes, source, new)
    start = moves[-1].output[0] if moves else source
    nodes = nodes[len(moves) :]
    bends = bool(nodes) and nodes[-1].op_type in _BENDING
    nodes = nodes[: len(nodes) - bends]
    reaches = [_reach(node, start, new) for node in nodes if node.op_type in _CONTRACTIONS]
    others = [node for node in nodes if node.op_type not in _CONTRACTIONS]
    adds = any(_adds(node, new) for node in others)
    apart_or_added = all(_keeps_values_apart(node, new) or _adds(node, new) for node in others)
    if not reaches or not apart_or_added or (adds and bends):
        return None
    kinds = {(reach.dtype, len(reach.windows)) for reach in reaches if reach is not None}
    if None in reaches or len(kinds) != 1:
        return None
    dtype, _ = kinds.pop()
    axes = zip(*(reach.windows for reach in reaches if reach is not None), strict=True)
    joined = tuple(reduce(Window.joined, along) for along in axes)
    groups = reduce(gcd, (reach.groups for reach in reaches if reach is not None))
    return Readable(site, source, Moves(new, tuple(moves)), dtype, bends, adds, groups, joined)


def _leading_moves(nodes: "Sequence[NodeProto]", source: str, new: Structure) -> "list[NodeProto]":
    """The chain of moves that a part begins with."""
    chain: list[NodeProto] = []
    for node in nodes:
        before = chain[-1].output[0] if chain else source
        known = all(new.parameter(name) is not None for name in node.input[1:] if name)
        if node.op_type not in _MOVES or node.input[0] != before or not known:
            break
        chain.append(node)
    return chain


@dataclass(frozen=True)
class _Reach:
    """The type of a contraction's weight, its groups, and what it sees of each axis behind the channels."""

    dtype: "np.dtype[np.generic]"
    groups: int
    windows: tuple[Window, ...]


def _reach(node: "NodeProto", source: str, new: Structure) -> _Reach | None:
    """Of a contraction of a tensor with a half-precision weight; None where it is none."""
    weight = new.parameter(node.input[1]) if len(node.input) > 1 else None
    if node.input[0] != source or weight is None or weight.data_type not in _TYPES:
        return None
    dtype = _TYPES[weight.data_type]
    attributes = {entry.name: entry for entry in node.attribute}
    if node.op_type in ("Conv", "ConvTranspose"):
        return _Reach(dtype, attributes["group"].i if "group" in attributes else 1, windows(node, weight))
    return _Reach(dtype, 1, ()) if len(weight.dims) == 2 and "transA" not in attributes else None


def _adds(node: "NodeProto", new: Structure) -> bool:
    """Whether it adds what contractions made."""
    return node.op_type in ("Add", "Sum") and all(new.parameter(name) is None for name in node.input)


def _keeps_values_apart(node: "NodeProto", new: Structure) -> bool:
    """Whether each number that comes out is one that goes in, but for a constant added."""
    if node.op_type == "Add":
        return any(new.parameter(name) is not None for name in node.input)
    return node.op_type in (*_MOVES, "Concat")
