"""The graph of a ScriptModule, frozen by torch: attributes that nothing sets are constants, and branches on them go."""

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import torch

from bnfold.errors import first_line
from bnfold.verifier.programs.parts.graph import Function, Node, Part, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.writes import touched
from bnfold.verifier.programs.tensors import as_seen

_passes: Any = torch._C
_NARROW = frozenset({5, 6, 15})  # float16, float32, bfloat16, as TorchScript numbers them
_DOUBLE = 7
_WORDS = re.compile(r'"(?:\\.|[^"\\])*"|%[\w.]+|, scope: \S+| # \S+:\d+:\d+$', re.MULTILINE)
"""Of the text of a graph: strings, names of values, and places in modules and code."""
_CONTAINERS = frozenset(
    {"prim::ListConstruct", "prim::TupleConstruct", "prim::DictConstruct", "prim::ListUnpack", "prim::TupleUnpack"}
    | {"prim::TupleIndex", "aten::__getitem__", "prim::unchecked_cast", "prim::If", "prim::Loop"}
)


class ScriptGraph(ProgramGraph):
    """Of a ScriptModule's forward.

    Args:
        root: the module without the Python around it; left as it is.

    Raises:
        Unreadable: torch cannot freeze it, or it sets attributes inside of branches.
    """

    def __init__(self, root: Any) -> None:  # noqa: ANN401 - of torch._C
        super().__init__()
        try:
            self._root = _passes._freeze_module(copy.deepcopy(root), [], True, False)
            graph = self._root._get_method("forward").graph
            _passes._jit_pass_inline(graph)
            _passes._jit_pass_constant_pooling(graph)
            _passes._jit_pass_erase_shape_information(graph)
            _take_lists_apart(graph)
        except RuntimeError as error:
            raise Unreadable(f"torch cannot freeze it: {first_line(error)[:200]}") from error
        self._values: dict[str, Value] = {}
        self._labels: Counter[str] = Counter()
        self._attributes: dict[tuple[str, ...], Value] = {}
        self._initial: dict[tuple[str, ...], Value | None] = {}
        itself, *inputs = graph.inputs()
        self._modules: dict[str, tuple[str, ...]] = {itself.debugName(): ()}
        self.inputs = list(map(self._value, inputs))
        for node in graph.nodes():
            self._add(node)
        kept = {f"state {'.'.join(path)}": (self._initial[path], last) for path, last in self._attributes.items()}
        kept |= {f"input {value.label}": (value, value) for value in self.inputs}
        self._append_results(dict(self._returned("output", next(iter(graph.outputs())))), kept)

    def _value(self, handle: Any) -> Value:  # noqa: ANN401 - of torch._C
        return self._values.setdefault(handle.debugName(), Value(handle.debugName(), handle))

    def _returned(self, path: str, handle: Any) -> Iterator[tuple[str, Value]]:  # noqa: ANN401 - of torch._C
        """What it returns, by the path to it, tuples taken apart."""
        value, maker = self._value(handle), handle.node()
        if maker.kind() == "prim::TupleConstruct" and str(handle.type()).startswith("Tuple["):  # without named fields
            for at, part in enumerate(maker.inputs()):
                yield from self._returned(f"{path}.{at}", part)
        elif not _is_plain_constant(value):
            yield path, value

    def _add(self, node: Any) -> None:  # noqa: ANN401 - of torch._C
        kind = node.kind()
        if kind == "prim::Constant":
            value = self._value(node.output())
            value.tensor = node.t("value") if node.hasAttribute("value") and node.kindOf("value") == "t" else None
        elif kind == "prim::GetAttr":
            self._read_attribute(node)
        elif kind == "prim::SetAttr":
            path, given = self._path(node), self._value(node.inputsAt(1))
            self._attributes[path] = self.writes.current(given)
            self._initial.setdefault(path, None)
        else:
            self._add_operator(node)

    def _path(self, node: Any) -> tuple[str, ...]:  # noqa: ANN401 - of torch._C
        """To the attribute that a node reads or sets."""
        owner = node.inputsAt(0).debugName()
        if owner not in self._modules:
            raise Unreadable("it changes an object that is only known at run time")
        return (*self._modules[owner], node.s("name"))

    def _read_attribute(self, node: Any) -> None:  # noqa: ANN401 - of torch._C
        path, output = self._path(node), node.output().debugName()
        held = reduce(lambda module, name: module.getattr(name), path, self._root)
        if isinstance(held, torch._C.ScriptModule):
            self._modules[output] = path
        elif path in self._attributes:
            self._values[output] = self._attributes[path]
        elif isinstance(held, torch.Tensor):
            value = self._attributes[path] = self._initial[path] = self._value(node.output())
            value.tensor = held
        else:
            raise Unreadable(f"it changes {'.'.join(path)!r}, which is no tensor")

    def _add_operator(self, node: Any) -> None:  # noqa: ANN401 - of torch._C
        inner = list(_inner_nodes(node))
        if any(entry.kind() in ("prim::SetAttr", "prim::GetAttr", "prim::CallMethod") for entry in [node, *inner]):
            raise Unreadable("it calls or changes modules inside of branches")
        reads, text = self._read_by(node)
        self._label(node, reads)
        added = Node(
            op=node.kind(),
            reads=tuple(reads),
            static=text,
            outputs=tuple(self._value(output) for output in node.outputs()),
            handle=node,
            is_random=any(entry.isNondeterministic() for entry in [node, *inner]),
        )
        written, viewed = self._touched(node)
        for entry in inner:
            written += [value for value in self._touched(entry)[0] if value in reads]
        self._append(added, written, viewed)

    def _read_by(self, node: Any) -> tuple[list[Value], str]:  # noqa: ANN401 - of torch._C
        """What a node reads, and what its bodies read from outside; and the node as a text, without their names."""
        graph, reads, stands = _new_graph(), list[Value](), dict[Value, Any]()

        def stand_in(handle: Any) -> Any:  # noqa: ANN401 - of torch._C
            value = self._value(handle)
            is_plain = _is_plain_constant(value)
            if not is_plain:
                reads.append(value)
            if value not in stands:
                stands[value] = _cloned(value, graph) if is_plain else graph.addInput("")
            return stands[value]

        graph.appendNode(graph.createClone(node, stand_in))
        return reads, _without_names(graph.str(False))

    def _label(self, node: Any, reads: Sequence[Value]) -> None:  # noqa: ANN401 - of torch._C
        """Call what it makes by the module whose parameters it reads."""
        owners = (value.handle.debugName().split(".")[1:-1] for value in reads if value.tensor is not None)
        owner = next((".".join(path) for path in owners if path), "")
        if owner and node.outputsSize() == 1:
            self._labels[owner] += 1
            count = self._labels[owner]
            self._value(node.output()).label = owner if count == 1 else f"{owner}_{count}"

    def _touched(self, node: Any) -> tuple[list[Value], list[Value]]:  # noqa: ANN401 - of torch._C
        inputs = list(map(self._value, node.inputs()))
        schema = _schema(node)
        written, viewed = touched(schema, ([value] for value in inputs)) if schema is not None else ([], [])
        return written, viewed + (inputs if node.kind() in _CONTAINERS else [])

    def function(self, part: Part, *, taken: bool | None = None) -> Function:
        """As in `ProgramGraph`."""
        graph = _new_graph()
        made = self._copied((*part.given, *part.stored), part.nodes, graph)
        for node in list(graph.nodes()):
            _widen(graph, node)
            if taken is not None and node.kind() == "prim::If":
                with graph.insert_point_guard(node):
                    node.replaceInput(0, graph.insertConstant(taken))
        graph.registerOutput(made(part.target))
        run = _passes._create_function_from_graph("part", graph)
        return lambda values: run(*values)

    def observe(self, arguments: Sequence[Any]) -> Mapping[Value, Any]:
        """As in `ProgramGraph`."""
        wanted = [
            output
            for node in self.nodes
            for place, output in enumerate(node.outputs)
            if not _may_be_unset(node.handle, place)
        ]
        state = [value for value in dict.fromkeys(self._values.values()) if _is_attribute(value)]
        given = [value.tensor.clone() for value in state if value.tensor is not None]
        graph = _new_graph()
        made = self._copied((*self.inputs, *state), self.nodes, graph)
        for value in wanted:
            graph.registerOutput(made(value))
        graph.makeMultiOutputIntoTuple()
        run = _passes._create_function_from_graph("whole", graph)
        found = dict(zip(wanted, run(*arguments, *given), strict=True))
        found.update(zip(self.inputs, arguments, strict=True))
        return {value: as_seen(held) for value, held in found.items()}

    def _copied(self, inputs: Sequence[Value], nodes: Sequence[Node], graph: Any) -> Callable[[Value], Any]:  # noqa: ANN401
        """Copy nodes into an empty graph of some inputs; what stands for a value there.

        Raises:
            Unreadable: a node reads what is neither made nor given.
        """
        made: dict[Value, Any] = {}
        for value in inputs:
            made[value] = graph.addInput("")
            made[value].setType(value.handle.type())

        def of(value: Value) -> Any:  # noqa: ANN401 - of torch._C
            if value not in made:
                if value.handle.node().kind() != "prim::Constant":
                    raise Unreadable(f"{value.label!r} is read before it is made")
                made[value] = _cloned(value, graph)
            return made[value]

        for node in nodes:
            now = dict(zip(node.reads, node.operands, strict=True))

            def stand_in(handle: Any, now: Mapping[Value, Value] = now) -> Any:  # noqa: ANN401 - of torch._C
                value = self._value(handle)
                return of(now.get(value, value))

            copied = graph.appendNode(graph.createClone(node.handle, stand_in))
            made |= dict(zip(node.outputs, copied.outputs(), strict=True))
        return of


def _without_names(text: str) -> str:
    """The text of a graph with numbers for names of values, and without places in the code."""
    numbers: dict[str, int] = {}

    def anonymous(word: re.Match[str]) -> str:
        match word[0][0]:
            case "%":
                return f"%{numbers.setdefault(word[0], len(numbers))}"
            case '"':
                return word[0]
            case _:
                return ""

    return _WORDS.sub(anonymous, text)


def _new_graph() -> Any:  # noqa: ANN401 - of torch._C
    return _passes.Graph()


def _cloned(value: Value, graph: Any) -> Any:  # noqa: ANN401 - of torch._C
    """A constant in another graph."""
    return graph.appendNode(graph.createClone(value.handle.node(), lambda entry: entry)).output()


def _take_lists_apart(graph: Any) -> None:  # noqa: ANN401 - of torch._C
    """Let lists of tensors that are constants, such as the weights of an LSTM, be lists of constants."""
    for node in list(graph.nodes()):
        if node.kind() != "prim::Constant" or str(node.output().type()) != "List[Tensor]":
            continue
        with graph.insert_point_guard(node):
            tensors = [graph.insertConstant(tensor.detach()) for tensor in node.output().toIValue()]
            made = graph.insertNode(graph.create("prim::ListConstruct", tensors, 1)).output()
        made.setType(node.output().type())
        node.output().replaceAllUsesWith(made)


def _may_be_unset(node: Any, place: int) -> bool:  # noqa: ANN401 - of torch._C
    """Whether a result has no value where code returned early, or before it raised: Python cannot be given that."""
    if node.kind() == "prim::Uninitialized":
        return True
    results = [list(block.outputs())[place - node.outputsSize()] for block in node.blocks()]
    return any(_may_be_unset(value.node(), value.offset()) for value in results)


def _is_attribute(value: Value) -> bool:
    return bool(value.tensor is not None and value.handle.node().kind() == "prim::GetAttr")


def _is_plain_constant(value: Value) -> bool:
    """Whether it is a number, a text or None in the code, and so belongs to whoever reads it."""
    return bool(value.handle.node().kind() == "prim::Constant" and value.tensor is None)


def _inner_nodes(node: Any) -> Iterator[Any]:  # noqa: ANN401 - of torch._C
    for block in node.blocks():
        for entry in block.nodes():
            yield entry
            yield from _inner_nodes(entry)


def _schema(node: Any) -> Any:  # noqa: ANN401 - of torch._C
    text = node.schema()
    return None if text == "(no schema)" else _passes.parse_schema(text)


def _widen(graph: Any, node: Any) -> None:  # noqa: ANN401 - of torch._C
    """Let it make float64 where it is told to make something narrower."""
    for entry in (node, *_inner_nodes(node)):
        schema = _schema(entry)
        for place, argument in enumerate(schema.arguments if schema is not None else ()):
            handle = entry.inputsAt(place) if place < entry.inputsSize() else None
            if argument.name == "dtype" and handle is not None and handle.toIValue() in _NARROW:
                with graph.insert_point_guard(node):
                    entry.replaceInput(place, graph.insertConstant(_DOUBLE))
