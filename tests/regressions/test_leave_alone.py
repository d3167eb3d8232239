"""What is not folded keeps its bytes: nodes, tensors, metadata, names, even fields that no schema knows."""

import onnx
import pytest
from google.protobuf.internal import encoder, wire_format
from onnx import TensorProto, helper, numpy_helper

from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import add_loop, function, loop_body

SHAPE = [2, 3, 4, 4]
# A tag that no ONNX message uses, length-delimited, with four bytes.
UNKNOWN_FIELD = encoder.TagBytes(15000, wire_format.WIRETYPE_LENGTH_DELIMITED) + b"\x04data"


def busy_model() -> onnx.ModelProto:
    """One BN folds (`n`, into `c`), one stays (`m`, behind a Relu), and around them is all that a file can hold."""
    network = Network(ir_version=10)
    network.weight("never used", 2, 2)
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    network.batch_norm(network.node("Relu", ["n"], "r"), "m", 3)
    network.node("Constant", [], "a constant that nobody reads", value_float=1.0)
    network.node("Identity", ["m"], "i", doc_string="needless, but not ours")
    network.node("Block", ["i"], "b", domain="local")
    inner = Network()
    inner.node("Sigmoid", ["state"], "result")
    add_loop(network, "b", "y", loop_body(inner, "state", "result", SHAPE))
    block = Network()
    block.node("Tanh", ["p"], "q")
    model = network.model(
        {"x": SHAPE},
        {"y": SHAPE},
        functions=[function("local", "Block", ["p"], ["q"], block)],
        domains={"local": 1, "unused.domain": 7},
    )
    return decorate(model)


def decorate(model: onnx.ModelProto) -> onnx.ModelProto:
    model.producer_name, model.producer_version, model.domain = "maker", "1.2", "org.example"
    model.model_version, model.doc_string = 17, "a model"
    model.metadata_props.add(key="license", value="free")
    model.graph.doc_string = "a graph"
    model.graph.metadata_props.add(key="namespace", value="top")
    for name in ("c", "n", "r", "m", "i", "long gone"):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE, f"about {name}"))
    for node in model.graph.node:
        node.metadata_props.add(key="line", value=f"of {node.name}")
    for tensor in model.graph.initializer:
        tensor.doc_string = f"weights of {tensor.name}"
    annotation = model.graph.quantization_annotation.add(tensor_name="r")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="never used")
    for message in (model, model.graph, model.graph.node[3], model.graph.initializer[0], model.graph.input[0]):
        message.MergeFromString(UNKNOWN_FIELD)
    return model


def bytes_by_name(entries) -> dict[str, bytes]:
    return {entry.name: entry.SerializeToString(deterministic=True) for entry in entries}


def unchanged(before, after) -> set[str]:
    """Names of the entries that are there on both sides, byte for byte."""
    left, right = bytes_by_name(before), bytes_by_name(after)
    return {name for name in left.keys() & right.keys() if left[name] == right[name]}


def test_the_busy_model_folds_one_and_keeps_one():
    folded = fold_and_compare(busy_model())
    assert [entry.node for entry in folded.folds] == ["n_node"]
    assert [entry.node for entry in folded.kept] == ["m_node"]


def test_nodes_that_took_no_part_keep_their_bytes_and_their_order():
    folded = fold(busy_model())
    names = [node.name for node in folded.original.graph.node]
    assert [node.name for node in folded.model.graph.node] == [name for name in names if name != "n_node"]
    untouched = unchanged(folded.original.graph.node, folded.model.graph.node)
    assert untouched == set(names) - {"n_node", "c_node"}


def test_the_absorbing_node_changes_in_its_inputs_and_output_only():
    folded = fold(busy_model())
    before, after = folded.original.graph.node[0], folded.model.graph.node[0]
    assert (list(after.input), list(after.output)) == (["x", "w", "w_bias"], ["n"])
    after.input[:], after.output[:] = before.input, before.output
    assert after == before


def test_tensors_that_took_no_part_keep_their_bytes_and_their_order():
    folded = fold(busy_model())
    before = [tensor.name for tensor in folded.original.graph.initializer]
    after = [tensor.name for tensor in folded.model.graph.initializer]
    gone = {"n.scale", "n.bias", "n.mean", "n.var"}
    assert after == [name for name in before if name not in gone] + ["w_bias"]
    untouched = unchanged(folded.original.graph.initializer, folded.model.graph.initializer)
    assert untouched == set(before) - gone - {"w"}
    assert "never used" in untouched


def test_a_rewritten_weight_changes_in_its_numbers_only():
    folded = fold(busy_model())
    (before,) = (tensor for tensor in folded.original.graph.initializer if tensor.name == "w")
    (after,) = (tensor for tensor in folded.model.graph.initializer if tensor.name == "w")
    assert after.raw_data != before.raw_data
    after.raw_data = before.raw_data
    assert after == before


def test_value_info_goes_with_its_tensor_and_else_stays():
    folded = fold(busy_model())
    names = [entry.name for entry in folded.original.graph.value_info]
    assert [entry.name for entry in folded.model.graph.value_info] == [name for name in names if name != "c"]
    assert unchanged(folded.original.graph.value_info, folded.model.graph.value_info) == set(names) - {"c"}


def test_everything_around_nodes_and_tensors_keeps_its_bytes():
    folded = fold(busy_model())
    for model in (folded.original, folded.model):
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    before, after = (model.SerializeToString(deterministic=True) for model in (folded.original, folded.model))
    assert before.count(UNKNOWN_FIELD) == 3
    assert after == before


def test_unknown_fields_of_nodes_and_tensors_stay():
    folded = fold(busy_model())
    for entries in (folded.model.graph.node, folded.model.graph.initializer):
        assert [entry.name for entry in entries if UNKNOWN_FIELD in entry.SerializeToString()] in (
            ["m_node"],
            ["never used"],
        )


def test_a_model_with_nothing_to_fold_keeps_all_its_bytes():
    model = busy_model()
    folded = fold(model, exclude=["*"])
    assert folded.model.SerializeToString() == model.SerializeToString()


def test_the_same_input_gives_the_same_bytes():
    first, second = (fold(busy_model()).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def assert_fixed_point(model) -> None:
    """What the first fold leaves, the second leaves as it is; and the first did something."""
    first = fold(model)
    assert first.folds
    once = first.model
    twice = fold(once)
    assert twice.model.SerializeToString(deterministic=True) == once.SerializeToString(deterministic=True)
    assert not twice.folds


def test_folding_a_folded_model_changes_nothing():
    assert_fixed_point(busy_model())


@pytest.mark.parametrize("op_type", ["Relu", "Sigmoid", "Softmax"])
def test_fixed_point_behind_a_matmul(op_type):
    network = Network()
    network.batch_norm(network.node("MatMul", ["x", network.weight("w", 5, 4)], "m"), "n", 1)
    network.node("Mul", [network.node(op_type, ["n"], "r"), network.weight("k", 4)], "y")
    assert_fixed_point(network.model({"x": [2, 1, 5]}, ["y"]))


def test_fixed_point_where_the_new_addition_could_move_on():
    """BN -> MatMul + Add; two BNs behind could absorb the Add as well: then the first fold must do so."""
    network = Network()
    network.batch_norm(network.node("MatMul", ["x", network.weight("w", 5, 4)], "m"), "n", 1)
    network.batch_norm("n", "y", 1)
    network.batch_norm("n", "z", 1)
    assert_fixed_point(network.model({"x": [2, 1, 5]}, ["y", "z"]))


def test_fixed_point_where_constants_cancel():
    """1/k * k is not quite 1 in float64, but 1 in float32: such a Mul is an identity the second time only."""
    network = Network(seed=1)
    network.weight("k", 64, 1, 1)
    network.node("Mul", [network.node("Div", ["x", "k"], "d"), "k"], "m")
    network.node("Relu", [network.node("Sub", ["m", "k"], "s")], "y")
    model = network.model({"x": [2, 64, 3, 3]}, ["y"])
    fold_and_compare(model)
    assert_fixed_point(model)


def test_fixed_point_of_a_chain_that_nothing_can_take():
    network = Network()
    tensor = "x"
    for position, op_type in enumerate(["Mul", "Add", "Sub", "Div", "Add", "Mul"]):
        constant = network.weight(f"k{position}", 3, 1, 1)
        tensor = network.node(op_type, [tensor, constant], f"t{position}")
    network.batch_norm(tensor, "n", 3)
    network.node("Relu", ["n"], "y")
    model = network.model({"x": SHAPE}, ["y"])
    fold_and_compare(model)
    assert_fixed_point(model)


def test_a_constant_node_that_the_fold_left_without_a_reader_goes():
    network = Network()
    values = network.random.normal(size=(3, 3, 1, 1)).astype("float32")
    network.node("Constant", [], "w", value=numpy_helper.from_array(values))
    network.batch_norm(network.node("Conv", ["x", "w"], "c"), "n", 3)
    network.node("Constant", [], "minus", value_float=-2.0)
    network.node("Mul", ["n", "minus"], "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert [node.op_type for node in folded.model.graph.node] == ["Conv"]
    assert {tensor.name for tensor in folded.model.graph.initializer} == {"w", "w_bias"}


def test_an_annotation_of_a_tensor_that_is_gone_goes_with_it():
    model = busy_model()
    for name in ("c", "n"):
        model.graph.quantization_annotation.add(tensor_name=name)
    folded = fold(model)
    assert [entry.tensor_name for entry in folded.model.graph.quantization_annotation] == ["r", "n"]
