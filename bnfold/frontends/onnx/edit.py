"""A change of one node: which parameters change, in the node's own layout, rounded once and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.frontends.onnx.requantize import Requantized


@dataclass(frozen=True, eq=False)
class OnnxEdit:
    """A change of one node that can be carried out without further questions.

    Attributes:
        node: the node.
        parameters: new values by input index; an index past the last input adds that input.
        op_type: what the operator becomes; "" leaves it.
        float_attributes: new values of float attributes, where the node has them; a parameter for a list.
        bias_behind: what an Add right behind the node adds; None where there is none.
        copied: inputs that a copy of their own node shall make, by index: which input of the copy gets new values, and
            these.
        widens_output: whether the node's first output gets another shape, which its readers broadcast as before.
        keeps_inputs: where it becomes another operator: how many inputs, from the first on, that has; None for all.
        requantized: other inputs of the DequantizeLinear nodes that make the node's parameters.
        attributes: integer attributes to set, whether the node has them or not; None removes one.
    """

    node: OnnxNode
    parameters: Mapping[int, NewParameter]
    op_type: str = ""
    float_attributes: Mapping[str, float | NewParameter] = field(default_factory=dict)
    bias_behind: NewParameter | None = None
    requantized: Sequence[Requantized] = ()
    attributes: Mapping[str, int | Sequence[int] | None] = field(default_factory=dict)
    copied: Mapping[int, tuple[int, NewParameter]] = field(default_factory=dict)
    widens_output: bool = False
    keeps_inputs: int | None = None

    @property
    def added_nodes(self) -> int:
        """An Add behind, and copies, but those that multiply one number of the run time with the constant.

        Such a copy makes as many numbers as the constant has: the scales of a product of integers, which runtimes put
        into that product where nobody else reads them.
        """
        copies = [slot for slot, (changed, _) in self.copied.items() if not self._reads_one_number(slot, changed)]
        return int(self.bias_behind is not None) + len(copies)

    def _reads_one_number(self, slot: int, changed: int) -> bool:
        made = self.node.inputs[slot]
        node = made.producer if made is not None else None
        others = () if node is None else (value for place, value in enumerate(node.inputs) if place != changed)
        return all(value is not None and value.shape is not None and set(value.shape) <= {1} for value in others)
