"""What people call the nodes and tensors of a TorchScript graph."""

import re

from bnfold.frontends.common.fresh_names import fresh_name
from bnfold.frontends.torchscript.ir import Attributes, IrNode, IrValue

# "layer1(Sequential).0(BasicBlock).bn1(BatchNorm2d).UNKNOWN_INSTANCE(UNKNOWN_TYPE)"
_MODULE = re.compile(r"([^.()]+)\(")
_NOBODY = frozenset({"SELF", "UNKNOWN_INSTANCE", "TOP"})


class Labels:
    """What people call nodes and tensors, by the module that made them: labels, each given once.

    Args:
        attributes: of the graph.
    """

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._taken: set[str] = set()

    def input(self, value: IrValue) -> str:
        """An argument of forward: as its signature calls it."""
        return re.sub(r"\.\d+$", "", value.debugName())

    def node(self, node: IrNode) -> str:
        """The module whose parameters the node reads, else the module that it stands in and the operator."""
        kind = node.kind().partition("::")[2]
        owner = self._owner_of_parameters(node)
        if owner:
            return fresh_name(owner, self._taken)
        module = ".".join(name for name in _MODULE.findall(node.getModuleHierarchy()) if name not in _NOBODY)
        return fresh_name(f"{module}.{kind}" if module else kind, self._taken)

    def constant(self, node: IrNode) -> str:
        """A tensor that stands in the code."""
        return f"constant_{re.sub(r'[^0-9A-Za-z_]', '_', node.output().debugName())}"

    def _owner_of_parameters(self, node: IrNode) -> str:
        for value in node.inputs():
            if value.type().kind() in ("TensorType", "OptionalType"):
                attribute = self._attributes.behind(value)
                if attribute is not None and attribute.path:
                    return ".".join(attribute.path)
        return ""
