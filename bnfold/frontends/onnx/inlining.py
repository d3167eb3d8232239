"""Model-local functions that keep BatchNorms from folding, inlined where more fold then; all others stay as they are.

Their parameters come from the caller, or the operators with weights stand on the other side of a call. An If whose
condition the file fixes is such a function too: it calls one branch, always.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from fnmatch import fnmatchcase
from typing import TypeAlias

import onnx
import onnx.inliner

from bnfold.errors import first_line
from bnfold.frontends.onnx.graph import GraphLike, canonical_domain, subgraphs
from bnfold.frontends.onnx.taken_branches import has_fixed_ifs, take_branches

FunctionKey: TypeAlias = tuple[str, str]
"""Domain and name of a function."""
IFS: FunctionKey = ("", "If")
"""In the place of one: all Ifs whose condition the file fixes."""

# Where a BatchNorm comes from, noted on the node itself, which the inliner copies.
_TAG = "bnfold.origin"
# Each function more costs one fold to find out whether it is needed; beyond so many, all are taken.
_MOST_TRIALS = 16


def functions_in_the_way(model: onnx.ModelProto, exclude: Sequence[str]) -> frozenset[FunctionKey]:
    """The functions that hold BatchNorms, and those that are called right before or behind one.

    Args:
        model: the model, in which all that can has folded.
        exclude: patterns of labels of nodes to be left alone: functions with such nodes, whose labels would be others
            once they are inlined, do not count.
    """
    functions = {_key(function): function for function in model.functions}
    found: set[FunctionKey] = set()
    for key, graph in _graphs(model):
        batch_norms = [node for node in graph.node if _is_batch_norm(node)]
        tensors = {name for node in batch_norms for name in (*node.input[:1], *node.output[:1])}
        found |= {key} if batch_norms and key is not None else set()
        found |= {_called(node) for node in graph.node if tensors & {*node.input, *node.output}}
    in_the_way = {key for key in found & functions.keys() if not _names(functions[key], exclude)}
    return frozenset(in_the_way | ({IFS} if has_fixed_ifs(model) else set()))


class CannotInlineError(Exception):
    """onnx does not write a function out: its calls or its opset do not fit, or there are two of its name."""


def inline(model: onnx.ModelProto, keys: Set[FunctionKey]) -> onnx.ModelProto:
    """The model with these functions written out wherever they are called; names that clash get numbers.

    Raises:
        CannotInlineError: onnx refuses.
    """
    functions = sorted(keys - {IFS})
    try:
        written = onnx.inliner.inline_selected_functions(model, functions, exclude=False) if functions else model
    except Exception as error:  # onnx's exceptions have no common base
        raise CannotInlineError(first_line(error)) from error
    return take_branches(written) if IFS in keys else written


def worth_inlining(
    read: Callable[[], onnx.ModelProto],
    fold: Callable[[onnx.ModelProto], None],
    keys: Set[FunctionKey],
    exclude: Sequence[str],
) -> frozenset[FunctionKey]:
    """The fewest functions that must be inlined so that the most BatchNorms fold.

    Args:
        read: the model as it is before any fold, anew each time.
        fold: folds a model in place.
        keys: functions that are in the way.
        exclude: as in `functions_in_the_way`.

    Returns:
        The functions; empty where inlining does not help, or cannot be done.
    """
    try:
        return _worth_inlining(read, fold, keys, exclude)
    except CannotInlineError:
        return frozenset()


def _worth_inlining(
    read: Callable[[], onnx.ModelProto],
    fold: Callable[[onnx.ModelProto], None],
    keys: Set[FunctionKey],
    exclude: Sequence[str],
) -> frozenset[FunctionKey]:
    asked = set(keys)
    while True:
        model, gone = _folded(read, fold, asked)
        more = functions_in_the_way(model, exclude) - asked
        if not more:
            break
        asked |= more
    if gone == _folded(read, fold, set())[1]:
        return frozenset()
    for key in sorted(asked) if len(asked) <= _MOST_TRIALS else ():
        if _folded(read, fold, asked - {key})[1] == gone:
            asked.remove(key)
    return frozenset(asked)


def _folded(
    read: Callable[[], onnx.ModelProto], fold: Callable[[onnx.ModelProto], None], keys: Set[FunctionKey]
) -> tuple[onnx.ModelProto, Counter[str]]:
    """The folded model with these functions inlined, and how often each BatchNorm of the file is gone from it."""
    model = read()
    _tag(model)
    model = inline(model, keys) if keys else model
    before = Counter(_tags(model))
    fold(model)
    return model, before - Counter(_tags(model))


def _tag(model: onnx.ModelProto) -> None:
    batch_norms = (node for _, graph in _graphs(model) for node in graph.node if _is_batch_norm(node))
    for number, node in enumerate(batch_norms):
        node.metadata_props.add(key=_TAG, value=str(number))


def _tags(model: onnx.ModelProto) -> Iterator[str]:
    for _, graph in _graphs(model):
        for node in graph.node:
            if _is_batch_norm(node):
                yield from (entry.value for entry in node.metadata_props if entry.key == _TAG)


def _key(function: onnx.FunctionProto) -> FunctionKey:
    return canonical_domain(function.domain), function.name


def _called(node: onnx.NodeProto) -> FunctionKey:
    return canonical_domain(node.domain), node.op_type


def _is_batch_norm(node: onnx.NodeProto) -> bool:
    return node.op_type == "BatchNormalization" and not canonical_domain(node.domain)


def _names(function: onnx.FunctionProto, patterns: Sequence[str]) -> bool:
    nodes = [node for graph in _with_bodies(function) for node in graph.node]
    labels = [node.name or next(filter(None, node.output), node.op_type) for node in nodes]
    return any(fnmatchcase(label, pattern) for label in labels for pattern in patterns)


def _graphs(model: onnx.ModelProto) -> Iterator[tuple[FunctionKey | None, GraphLike]]:
    """Every graph, body and function, with the function that it is or stands in."""
    yield from ((None, graph) for graph in _with_bodies(model.graph))
    for function in model.functions:
        yield from ((_key(function), graph) for graph in _with_bodies(function))


def _with_bodies(scope: GraphLike) -> Iterator[GraphLike]:
    waiting = [scope]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [body for node in graph.node for _, body in subgraphs(node)]
