"""Inputs and outputs without a name at the end of a list: they mean nothing, and some make onnxruntime crash."""

from typing import TYPE_CHECKING

from bnfold.intake.walk import node_lists

if TYPE_CHECKING:
    from onnx import ModelProto


def strip_absent(model: "ModelProto") -> None:
    """Take empty names off the ends of the inputs and outputs of all nodes, in place.

    Source: ONNX IR, "Optional Inputs and Outputs". Before opset 14, a BatchNormalization with five outputs is one in
    training mode to onnxruntime, which then writes to those that have no name.
    """
    for nodes in node_lists(model):
        for node in nodes:
            for names in (node.input, node.output):
                while names and not names[-1]:
                    del names[-1]
