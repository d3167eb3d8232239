"""Branches in bodies and in functions of ONNX models."""

from onnx import helper, numpy_helper

from tests.folding import fold_and_compare
from tests.merging.test_onnx import IMAGE, merged, rep_vgg
from tests.networks import Network


def test_branches_in_bodies():
    inner = Network(seed=1)
    rep_vgg(inner, "x", "inner", 4)
    body = inner.model(IMAGE, ["inner"]).graph
    del body.input[:]
    other = Network(seed=2)
    other.node("Relu", ["x"], "other")
    otherwise = other.model(IMAGE, ["other"]).graph
    del otherwise.input[:]
    network = Network()
    network.node("ReduceSum", ["x"], "total", keepdims=0)
    network.node("Greater", ["total", network.constant("zero", 0.0)], "positive")
    network.node("If", ["positive"], "y", then_branch=body, else_branch=otherwise)
    folded = merged(network)
    assert len(folded.merges) == 1
    bodies = {entry.name: entry.g for entry in folded.model.graph.node[-1].attribute}
    assert [node.op_type for node in bodies["then_branch"].node] == ["Conv"]


def test_branches_in_functions():
    inner = Network()
    rep_vgg(inner, "x", "y", 4)
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values, name))
        for name, values in inner.initializers.items()
    ]
    function = helper.make_function(
        "local", "Block", ["x"], ["y"], [*nodes, *inner.nodes], [helper.make_opsetid("", 17)]
    )
    network = Network()
    network.node("Block", ["x"], "y", domain="local")
    model = network.model(IMAGE, ["y"], functions=[function], domains={"local": 1}, check=False)
    folded = fold_and_compare(model, merge=True)
    assert len(folded.merges) == 1
    assert [node.op_type for node in folded.model.functions[0].node if node.op_type != "Constant"] == ["Conv"]
