"""Whether two models make a tensor by the same node out of the same tensors."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from bnfold.verifier.models.graph import Structure, captures, names_read, same_parameter

if TYPE_CHECKING:
    from onnx import NodeProto


class Match:
    """Compares single nodes of two models.

    Args:
        original: the original.
        new: the new model.
        common: tensors that depend on the inputs and are taken for equal where they have one name.
    """

    def __init__(self, original: Structure, new: Structure, common: Collection[str]) -> None:
        self._original, self._new, self._common = original, new, common
        functions = original.functions.keys() & new.functions.keys()
        equal = all(original.functions[key] == new.functions[key] for key in functions)
        self._functions = set() if equal else {*original.functions, *new.functions}
        self._parameters: dict[tuple[str, str], bool] = {}

    def made_alike(self, tensor: str) -> bool:
        """Whether both models make a tensor by the same node out of the same tensors."""
        return self._same_node(self._original.producers[tensor], self._new.producers[tensor])

    def _same_node(self, ours: int, theirs: int) -> bool:
        a, b = self._original.nodes[ours], self._new.nodes[theirs]
        if (a.op_type, a.domain, list(a.output)) != (b.op_type, b.domain, list(b.output)):
            return False
        if (a.domain, a.op_type) in self._functions or len(a.input) != len(b.input):
            return False
        if attributes(a) != attributes(b) or self._new.holds_others((*names_read(b), *b.output)):
            return False
        captured = list(captures(a))  # bodies are equal, and so the names in them are
        pairs = [*zip(a.input, b.input, strict=True), *zip(captured, captured, strict=True)]
        return all(self.same_input(*pair) for pair in pairs)

    def same_input(self, ours: str, theirs: str) -> bool:
        """Whether two tensors that nodes read are the same: a common one, equal constants, or none."""
        if not ours or not theirs:
            return ours == theirs
        if ours in self._common and theirs in self._common:
            return ours == theirs
        if ours not in self._original.constants or theirs not in self._new.constants:
            return False
        key = (ours, theirs)
        if key not in self._parameters:
            self._parameters[key] = self._same_constant(ours, theirs)
        return self._parameters[key]

    def _same_constant(self, ours: str, theirs: str) -> bool:
        if self._original.parameter(ours) is not None or self._new.parameter(theirs) is not None:
            return same_parameter(self._original, self._new, ours, theirs)
        made = ours in self._original.producers and theirs in self._new.producers
        return made and self._same_node(self._original.producers[ours], self._new.producers[theirs])


def attributes(node: "NodeProto") -> list[bytes]:
    """The attributes of a node in a form to be compared."""
    entries = node.attribute
    return [entry.SerializeToString(deterministic=True) for entry in sorted(entries, key=lambda entry: str(entry.name))]
