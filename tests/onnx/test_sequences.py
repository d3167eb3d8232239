"""Sequences of tensors: what a graph puts in, cuts, takes out and joins at positions that it fixes."""

import onnx
import pytest
from onnx import TensorProto, helper

import bnfold
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators


def convolved(network, output, channels=4):
    return network.node("Conv", ["x", network.weight(f"{output}.w", channels, 3, 1, 1)], output)


def at(network, sequence, position, output):
    place = network.constant(f"{output}.at", position, "int64")
    return network.node("SequenceAt", [sequence, place], output)


def ended(network, source, output, channels):
    """A BatchNorm that can only go upstream."""
    network.batch_norm(source, f"{output}.n", channels)
    return network.node("Softsign", [f"{output}.n"], output)


def model_of(network, *outputs, batch=2):
    return network.model({"x": (batch, 3, 5, 5)}, {name: ["n", "c", "h", "w"] for name in outputs})


@pytest.mark.parametrize("position", [0, 1, -1, -2])
def test_an_item_takes_the_map_behind_it(position):
    network = Network()
    network.node("SequenceConstruct", [convolved(network, "a"), convolved(network, "b")], "s")
    ended(network, at(network, "s", position, "i"), "y", 4)
    ended(network, at(network, "s", 1 - position % 2, "j"), "z", 4)
    folded = fold_and_compare(model_of(network, "y", "z"))
    assert folded.batch_norms_left == 0


@pytest.mark.parametrize("batch", [2, "batch"])
@pytest.mark.parametrize("widths", [(4, 4), (2, 3)], ids=str)
def test_items_that_are_joined_take_their_parts(widths, batch):
    network = Network()
    items = [convolved(network, name, width) for name, width in zip("ab", widths, strict=True)]
    network.node("SequenceConstruct", items, "s")
    network.node("ConcatFromSequence", ["s"], "j", axis=-3)
    ended(network, "j", "y", sum(widths))
    folded = fold_and_compare(model_of(network, "y", batch=batch))
    assert operators(folded.model) == ["Conv", "Conv", "SequenceConstruct", "ConcatFromSequence", "Softsign"]


def test_items_that_are_stacked_take_the_same():
    network = Network()
    network.node("SequenceConstruct", [convolved(network, "a"), convolved(network, "b")], "s")
    network.node("ConcatFromSequence", ["s"], "j", axis=2, new_axis=1)
    network.batch_norm("j", "n", 4)
    network.node("Softsign", ["n"], "y")
    model = network.model({"x": (2, 3, 5, 5)}, {"y": ["n", "c", "two", "h", "w"]})
    assert fold_and_compare(model).batch_norms_left == 0


@pytest.mark.parametrize("split", [[1, 3], [2, 2], 2, 3, None], ids=str)
def test_the_parts_of_a_tensor_take_their_own_maps(split):
    network = Network()
    sizes = {None: [1, 1, 1, 1], 2: [2, 2], 3: [3, 1]}.get(
        split if split is None or isinstance(split, int) else "", split
    )
    given = [] if split is None else [network.constant("split", split, "int64")]
    network.node("SplitToSequence", [convolved(network, "c"), *given], "s", axis=1)
    for position, size in enumerate(sizes):
        ended(network, at(network, "s", position, f"i{position}"), f"y{position}", size)
    folded = fold_and_compare(model_of(network, *(f"y{position}" for position in range(len(sizes)))))
    assert folded.batch_norms_left == 0


def test_parts_without_their_axis():
    network = Network()
    network.node("SplitToSequence", [convolved(network, "c")], "s", axis=2, keepdims=0)
    at(network, "s", 3, "i")
    network.node("Mul", ["i", network.weight("k", 4, 1)], "m")
    network.node("Softsign", ["m"], "y")
    model = network.model({"x": (2, 3, 5, 5)}, {"y": ["n", "c", "w"]})
    folded = fold_and_compare(model)
    assert operators(folded.model) == ["Conv", "SplitToSequence", "SequenceAt", "Softsign"]


def test_cut_and_joined_again():
    network = Network()
    network.node("SplitToSequence", [convolved(network, "c"), network.constant("split", [1, 3], "int64")], "s", axis=1)
    network.node("ConcatFromSequence", ["s"], "j", axis=1)
    ended(network, "j", "y", 4)
    assert fold_and_compare(model_of(network, "y")).batch_norms_left == 0


def test_a_map_in_front_goes_to_those_that_read_the_items():
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node("SplitToSequence", ["n", network.constant("split", [1, 2], "int64")], "s", axis=1)
    for position, size in enumerate((1, 2)):
        item = at(network, "s", position, f"i{position}")
        network.node("Conv", [item, network.weight(f"w{position}", 2, size, 1, 1)], f"y{position}")
    assert fold_and_compare(model_of(network, "y0", "y1")).batch_norms_left == 0


def test_an_item_that_another_reader_takes_too_keeps_its_values():
    network = Network()
    network.node("SequenceConstruct", [convolved(network, "a"), convolved(network, "b")], "s")
    ended(network, at(network, "s", 0, "i"), "y", 4)
    network.node("Softsign", [at(network, "s", -2, "j")], "z")
    folded = fold(model_of(network, "y", "z"))
    assert folded.reasons == [Reason.OTHER_CONSUMERS]


@pytest.mark.parametrize("how", ["position", "axis", "insert", "lengths"])
def test_what_is_not_known_before_run_time_stays(how):
    network = Network()
    widths = (2, 3) if how == "lengths" else (4, 4)
    network.node("SequenceConstruct", [convolved(network, n, w) for n, w in zip("ab", widths, strict=True)], "s")
    if how == "position":
        network.node("Shape", ["x"], "lengths")
        network.node("ReduceMin", ["lengths"], "position", keepdims=0)
        network.node("SequenceAt", ["s", "position"], "i")
    elif how == "axis":
        network.node("SplitToSequence", ["a"], "t", axis=2)
        network.node("ConcatFromSequence", ["t"], "i", axis=3)
    elif how == "insert":
        network.node("SequenceInsert", ["s", "a"], "t")
        at(network, "t", 0, "i")
    else:
        at(network, "s", 1, "i")
    network.batch_norm("i", "n", widths[1])
    network.node("Softsign", ["n"], "y")
    model = network.model({"x": ("b", 3, "h", "w")}, {"y": ["n", "c", "h", "w"]}, check=False)
    folded = fold(model)
    assert folded.batch_norms_left == 1
    assert folded.reasons[0] in (Reason.UNKNOWN_SHAPE, Reason.UNKNOWN_OPERATOR)


def test_a_sequence_that_is_an_output_keeps_its_items():
    network = Network()
    network.node("SequenceConstruct", [convolved(network, "a"), convolved(network, "b")], "s")
    ended(network, at(network, "s", 0, "i"), "y", 4)
    model = model_of(network, "y")
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.output.append(onnx.ValueInfoProto(name="s", type=kind))
    assert fold(model).reasons == [Reason.GRAPH_OUTPUT]


def test_a_tensor_that_is_an_item_twice_takes_one_map():
    network = Network()
    convolved(network, "a")
    network.node("SequenceConstruct", ["a", "a"], "s")
    network.node("ConcatFromSequence", ["s"], "j", axis=1)
    network.batch_norm("j", "n", 8)
    for values in network.initializers.values():
        if values.shape == (8,):
            values[4:] = values[:4]
    network.node("Softsign", ["n"], "y")
    assert fold_and_compare(model_of(network, "y")).batch_norms_left == 0


def test_a_tensor_that_is_an_item_twice_keeps_its_values_where_the_maps_differ():
    network = Network()
    convolved(network, "a")
    network.node("SequenceConstruct", ["a", "a"], "s")
    network.node("ConcatFromSequence", ["s"], "j", axis=1)
    ended(network, "j", "y", 8)
    assert fold(model_of(network, "y")).reasons == [Reason.OTHER_CONSUMERS]


def test_the_check_computes_sequences(tmp_path):
    """In float64, as all other changes: not on the samples alone."""
    network = Network()
    network.node("SequenceConstruct", [convolved(network, "a"), convolved(network, "b")], "s")
    ended(network, at(network, "s", 1, "i"), "y", 4)
    network.node("SplitToSequence", [convolved(network, "c"), network.constant("split", [1, 3], "int64")], "t", axis=1)
    network.node("ConcatFromSequence", ["t"], "q", axis=1)
    ended(network, "q", "z", 4)
    network.node("SplitToSequence", [convolved(network, "d")], "u", axis=1, keepdims=0)
    network.node("ConcatFromSequence", ["u"], "v", axis=1, new_axis=1)
    ended(network, "v", "w", 4)
    source = tmp_path / "model.onnx"
    onnx.save(model_of(network, "y", "z", "w"), source)
    report = bnfold.fold_file(source, tmp_path / "folded.onnx", bnfold.FoldOptions())
    assert report.batch_norms.folded == 3
    assert report.verification.passed
    assert not report.warnings


def test_a_sequence_that_bodies_read_keeps_its_items():
    network = Network()
    network.node("SequenceConstruct", [convolved(network, "a"), convolved(network, "b")], "s")
    place = network.constant("place", 1, "int64")
    bodies = [
        helper.make_graph(
            [helper.make_node("SequenceAt", ["s", place], [f"{op}.i"]), helper.make_node(op, [f"{op}.i"], [f"{op}.o"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}.o", TensorProto.FLOAT, None)],
        )
        for op in ("Relu", "Softsign")
    ]
    network.node("If", [network.constant("p", True, "bool")], "z", then_branch=bodies[0], else_branch=bodies[1])
    ended(network, at(network, "s", 1, "i"), "y", 4)
    assert fold_and_compare(model_of(network, "y", "z")).reasons == [Reason.CAPTURED]
