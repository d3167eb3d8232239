"""Operators that write to their inputs: which of them nobody can notice, and which values change under the others."""

from collections.abc import Iterable

from bnfold.frontends.aten.graph import AtenGraph, Node, Value, reads_values

# Statistics that these update while they train, without a word in their schemas.
_STATISTICS = {
    "aten::batch_norm": "training",
    "aten::cudnn_batch_norm": "training",
    "aten::miopen_batch_norm": "training",
    "aten::native_batch_norm": "training",
    "aten::instance_norm": "use_input_stats",
}


def settle_mutations(graph: AtenGraph) -> None:
    """Set `mutation` of every value whose memory changes in a way that another reader could see.

    An operator in place that is the only reader of a fresh tensor computes what its functional form does; for all
    others, every value that may share the memory is marked, parameters included.
    """
    families = _Families(graph)
    for node in graph.nodes:
        for value in written(node):
            if not (node.op.endswith("_") and is_exclusive(value)):
                for member in families.of(value):
                    member.mutation = member.mutation or node.label


def written(node: Node) -> list[Value]:
    """The values whose memory a node writes to."""
    names = set(node.writes)
    if node.arguments.get(_STATISTICS.get(node.op, ""), False) is not False:
        names |= {"running_mean", "running_var"}
    return [value for slot, value in zip(node.slots, node.inputs, strict=True) if slot[0] in names]


def works_in_place(node: Node) -> bool:
    """Whether it is the in-place form of a functional operator and nobody can notice."""
    return bool(node.writes) and node.op.endswith("_") and all(is_exclusive(value) for value in written(node))


def functional(op: str) -> str:
    """Name of the operator that does not write to its input."""
    return op.removesuffix("_")


def is_exclusive(value: Value) -> bool:
    """Whether one node alone, now and later, looks at the memory of a value that the program makes."""
    while True:
        node = value.producer
        if (
            node is None
            or value.is_output
            or len([0 for reader, slot in value.readers if reads_values(reader, slot)]) != 1
        ):
            return False
        shared = _shared(node)
        if not shared:
            return True
        if len(shared) > 1 or len(node.outputs) > 1:
            return False
        value = shared[0]


def _shared(node: Node) -> list[Value]:
    return [value for slot, value in zip(node.slots, node.inputs, strict=True) if slot[0] in node.views]


class _Families:
    """Values that may share memory, as sets that grow together."""

    def __init__(self, graph: AtenGraph) -> None:
        self._family: dict[Value, list[Value]] = {}
        stored: dict[int, Value] = {}
        for value in graph.inputs:
            if value.parameter is not None and value.parameter.numel():
                twin = stored.setdefault(value.parameter.untyped_storage().data_ptr(), value)
                self._join([twin, value])
        for node in graph.nodes:
            outputs = [value for value in node.outputs if value is not None]
            if node.views:
                self._join([*_shared(node), *outputs])

    def of(self, value: Value) -> list[Value]:
        return self._family.get(value, [value])

    def _join(self, values: Iterable[Value]) -> None:
        whole: dict[Value, None] = {}
        for value in values:
            whole.update(dict.fromkeys(self._family.get(value, [value])))
        members = list(whole)
        for value in members:
            self._family[value] = members
