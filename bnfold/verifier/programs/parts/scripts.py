"""The graph of a ScriptModule, frozen by torch: attributes that nothing sets are constants, and branches on them go."""

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from bnfold.verifier.programs.parts.graph import Function, Node, ProgramGraph, Unreadable, Value, as_seen, touched

_NARROW = frozenset({5, 6, 15})  # float16, float32, bfloat16, as TorchScript numbers them
_DOUBLE = 7
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
        passes: Any = torch._C
        try:
            self._root = passes._freeze_module(copy.deepcopy(root), [], True, False)
            graph = self._root._get_method("forward").graph
            passes._jit_pass_inline(graph)
            _take_lists_apart(graph)
        except RuntimeError as error:
            raise Unreadable(f"torch cannot freeze it: {str(error).strip().splitlines()[-1][:200]}") from error
        self._values: dict[str, Value] = {}
        self._labels: Counter[str] = Counter()
        self._attributes: dict[tuple[str, ...], Value] = {}
        self._initial: dict[tuple[str, ...], Value] = {}
        itself, *inputs = graph.inputs()
        self._modules: dict[str, tuple[str, ...]] = {itself.debugName(): ()}
        self.inputs = list(map(self._value, inputs))
        for node in graph.nodes():
            self._add(node)
        kept = {f"state {'.'.join(path)}": (self._initial.get(path), last) for path, last in self._attributes.items()}
        kept |= {f"input {value.name}": (value, value) for value in self.inputs}
        self._append_results(map(self._value, graph.outputs()), kept)

    def _value(self, handle: Any) -> Value:  # noqa: ANN401 - of torch._C
        name = handle.debugName()
        if name not in self._values:
            self._values[name] = Value(name, handle)
        return self._values[name]

    def _add(self, node: Any) -> None:  # noqa: ANN401 - of torch._C
        kind = node.kind()
        if kind == "prim::Constant":
            value = self._value(node.output())
            value.tensor = node.t("value") if _holds_tensor(node) else None
        elif kind == "prim::GetAttr":
            self._read_attribute(node)
        elif kind == "prim::SetAttr":
            owner, given = node.inputs()
            path = (*self._owner(owner), node.s("name"))
            self._attributes[path] = self.writes.current(self._value(given))
            self._initial.setdefault(path, Value("", None))
        else:
            self._add_operator(node)

    def _read_attribute(self, node: Any) -> None:  # noqa: ANN401 - of torch._C
        path = (*self._owner(node.inputsAt(0)), node.s("name"))
        held = self._root
        for name in path:
            held = held.getattr(name)
        if isinstance(held, torch._C.ScriptModule):
            self._modules[node.output().debugName()] = path
            return
        if path in self._attributes:
            self._values[node.output().debugName()] = self._attributes[path]
            return
        value = self._attributes[path] = self._initial[path] = self._value(node.output())
        if not isinstance(held, torch.Tensor):
            raise Unreadable(f"it changes {'.'.join(path)!r}, which is no tensor")
        value.tensor = held

    def _owner(self, handle: Any) -> tuple[str, ...]:  # noqa: ANN401 - of torch._C
        if handle.debugName() not in self._modules:
            raise Unreadable("it changes an object that is only known at run time")
        return self._modules[handle.debugName()]

    def _add_operator(self, node: Any) -> None:  # noqa: ANN401 - of torch._C
        inner = list(_inner_nodes(node))
        if any(entry.kind() in ("prim::SetAttr", "prim::GetAttr", "prim::CallMethod") for entry in [node, *inner]):
            raise Unreadable("it calls or changes modules inside of branches")
        reads = [self._value(handle) for handle in _read_by(node)]
        operands = [value for value in reads if not _is_plain_constant(value)]
        self._label(node, reads)
        added = Node(
            op=node.kind(),
            operands=tuple(map(self.writes.current, operands)),
            static=_static(node),
            outputs=tuple(self._value(output) for output in node.outputs()),
            handle=node,
            reads=tuple(operands),
            is_random=any(entry.isNondeterministic() for entry in [node, *inner]),
        )
        written, viewed = self._touched(node)
        known = {value.name for value in reads}
        for entry in inner:
            written += [value for value in self._touched(entry)[0] if self.writes.current(value).name in known]
        self._append(added, written, viewed)

    def _label(self, node: Any, reads: Sequence[Value]) -> None:  # noqa: ANN401 - of torch._C
        """Call what it makes by the module whose parameters it reads."""
        owners = (value.name.split(".")[1:-1] for value in reads if value.tensor is not None)
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

    def function(
        self, inputs: Sequence[Value], targets: Sequence[Value], nodes: Iterable[Node], *, taken: bool | None = None
    ) -> Function:
        """As in `ProgramGraph`."""
        graph: Any = torch._C.Graph()
        made: dict[str, Any] = {}
        for value in inputs:
            made[value.name] = graph.addInput("")
            kind = value.handle.type()
            made[value.name].setType(torch._C.TensorType.get() if kind.kind() == "TensorType" else kind)
        for node in nodes:
            standing = {read.name: operand for read, operand in zip(node.reads, node.operands, strict=True)}
            copied = graph.createClone(
                node.handle, lambda handle, standing=standing: self._made(handle, standing, made, graph)
            )
            graph.appendNode(copied)
            _widen(graph, copied)
            if taken is not None and node.chooses:
                with graph.insert_point_guard(copied):
                    copied.replaceInput(0, graph.insertConstant(taken))
            for output, handle in zip(node.outputs, copied.outputs(), strict=True):
                made[output.name] = handle
        for target in targets:
            graph.registerOutput(self._made(target.handle, {}, made, graph))
        if len(targets) > 1:
            graph.makeMultiOutputIntoTuple()
        run = torch._C._create_function_from_graph("part", graph)
        return lambda values: list(run(*values)) if len(targets) > 1 else [run(*values)]

    def _made(self, handle: Any, standing: Mapping[str, Value], made: dict[str, Any], graph: Any) -> Any:  # noqa: ANN401
        name = handle.debugName()
        name = standing[name].name if name in standing else name
        if name not in made:
            source = self._values[name].handle.node()
            if source.kind() != "prim::Constant":
                raise Unreadable(f"{name!r} is read before it is made")
            made[name] = graph.appendNode(graph.createClone(source, lambda entry: entry)).output()
        return made[name]

    def observe(self, arguments: Sequence[Any]) -> Mapping[Value, Any]:
        """As in `ProgramGraph`."""
        wanted = [
            output
            for node in self.nodes
            for place, output in enumerate(node.outputs)
            if not _may_be_unset(node.handle, place)
        ]
        state = list(dict.fromkeys(value for value in self._values.values() if _is_attribute(value)))
        given = [value.tensor.clone() for value in state if value.tensor is not None]
        run = self.function([*self.inputs, *state], wanted, self.nodes)
        found = dict(zip(wanted, run([*arguments, *given]), strict=True))
        found.update(zip(self.inputs, arguments, strict=True))
        return {value: as_seen(held) for value, held in found.items()}


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


def _read_by(node: Any) -> list[Any]:  # noqa: ANN401 - of torch._C
    """What a node reads, and then what its bodies read from outside."""
    inner = list(_inner_nodes(node))
    blocks = [block for holder in (node, *inner) for block in holder.blocks()]
    made = {value.debugName() for holder in inner for value in holder.outputs()}
    made.update(value.debugName() for block in blocks for value in block.inputs())
    read = [*(value for entry in inner for value in entry.inputs()), *(v for block in blocks for v in block.outputs())]
    own = list(node.inputs())
    known = made.union(value.debugName() for value in own)
    return [*own, *{value.debugName(): value for value in read if value.debugName() not in known}.values()]


def _static(node: Any) -> tuple[Any, ...]:  # noqa: ANN401 - of torch._C
    """Its attributes, its constants and, without the names of values, its bodies."""
    numbers: dict[str, int] = {}

    def called(value: Any) -> object:  # noqa: ANN401 - of torch._C
        source = value.node()
        if source.kind() == "prim::Constant" and not _holds_tensor(source):
            return repr(value.toIValue())
        return numbers.setdefault(value.debugName(), len(numbers))

    def text(entry: Any) -> tuple[Any, ...]:  # noqa: ANN401 - of torch._C
        own = tuple((name, _written(entry, name)) for name in sorted(entry.attributeNames()) if name != "value")
        inputs = tuple(map(called, entry.inputs()))
        bodies = tuple(
            (
                tuple(map(called, block.inputs())),
                tuple(text(inner) for inner in block.nodes() if not _is_number(inner)),
                tuple(map(called, block.outputs())),
            )
            for block in entry.blocks()
        )
        outputs = tuple(str(output.type()) for output in entry.outputs() if output.type().kind() != "TensorType")
        return entry.kind(), own, inputs, bodies, outputs, tuple(map(called, entry.outputs()))

    return text(node)


def _written(node: Any, name: str) -> str:  # noqa: ANN401 - of torch._C
    """An attribute of a node; a graph without the lines of code that it came from."""
    held: Any = getattr(node, node.kindOf(name))(name)
    return str(held.str(False) if node.kindOf(name) == "g" else held)


def _is_number(node: Any) -> bool:  # noqa: ANN401 - of torch._C
    return node.kind() == "prim::Constant" and not _holds_tensor(node)


def _holds_tensor(node: Any) -> bool:  # noqa: ANN401 - of torch._C
    return bool(node.hasAttribute("value") and node.kindOf("value") == "t")


def _schema(node: Any) -> Any:  # noqa: ANN401 - of torch._C
    text = node.schema()
    return None if text == "(no schema)" else torch._C.parse_schema(text)


def _widen(graph: Any, node: Any) -> None:  # noqa: ANN401 - of torch._C
    """Let it make float64 where it is told to make something narrower."""
    for entry in (node, *_inner_nodes(node)):
        schema = _schema(entry)
        for place, argument in enumerate(schema.arguments if schema is not None else ()):
            handle = entry.inputsAt(place) if place < entry.inputsSize() else None
            if argument.name == "dtype" and handle is not None and handle.toIValue() in _NARROW:
                with graph.insert_point_guard(node):
                    entry.replaceInput(place, graph.insertConstant(_DOUBLE))
