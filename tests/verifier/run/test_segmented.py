"""Long models, run as segments one behind the other: the same numbers, and every fault is seen."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.models import segments
from bnfold.verifier.models.load import Model
from bnfold.verifier.run import deployment
from bnfold.verifier.run.segmented import Segmented
from bnfold.verifier.run.session import Session
from tests.networks import Network
from tests.verifier.small_models import BFLOAT16, BOOL, FLOAT, INT64, STRING, model_proto, node
from tests.verifier.spoiling import spoiled


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    for name, nodes in (("_FEWEST", 1), ("_MOST", 2), ("_WORTH_IT", 3)):
        monkeypatch.setattr(segments, name, nodes)


def same_as_one_session(proto, feeds, exposed=(), *, is_cut=True):
    """What a model makes in segments, which is the same, bit for bit, as in one session."""
    model = Model("the original", proto)
    cut, whole = Session(model, exposed=exposed), Session(model, exposed=exposed, may_be_cut=False)
    assert isinstance(cut._opened.session, Segmented) is is_cut
    assert not isinstance(whole._opened.session, Segmented)
    assert cut.signature == whole.signature
    seen = cut.observe(feeds, exposed)
    for other in (whole.observe(feeds, exposed), cut.observe(feeds, exposed)):
        np.testing.assert_equal(other.outputs, seen.outputs)
        np.testing.assert_equal(other.tensors, seen.tensors)
    return seen


def row(*, ports=None, **weights):
    """x -> a -> b -> c -> d -> y, with a connection from a to y and one number in front."""
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        node("Mul", "x two", "a"),
        node("Relu", "a", "b"),
        node("Mul", "b two", "c"),
        node("Abs", "c", "d"),
        node("Sub", "d w", "e"),
        node("Add", "e a", "y"),
    ]
    return model_proto(
        nodes, ports or {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 3])}, {"w": np.float32([1, 2, 3]), **weights}
    )


def values(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_row_with_a_connection_over_many_nodes():
    seen = same_as_one_session(row(), {"x": values(2, 3)}, ["b", "d"])
    assert list(seen.tensors) == ["b", "d"]


def test_only_some_of_the_exposed_tensors_are_asked_for():
    session = Session(Model("the original", row()), exposed=["b", "d"])
    assert session.observe({"x": values(2, 3)}, ["d"]).tensors.keys() == {"d"}
    assert len(session.run({"x": values(2, 3)})) == 1


def test_an_input_that_nobody_reads_and_a_weight_that_nobody_reads():
    ports = {"unread": (FLOAT, [2]), "x": (FLOAT, ["n", 3])}
    same_as_one_session(row(ports=ports, spare=np.zeros(3)), {"x": values(2, 3), "unread": values(2)})


def test_what_branches_capture_is_made_and_stored_elsewhere():
    bodies = {}
    for name, op in (("then_branch", "Add"), ("else_branch", "Sub")):
        out = helper.make_tensor_value_info(f"{name}.y", FLOAT, None)
        bodies[name] = helper.make_graph([node(op, "a w", f"{name}.y")], name, [], [out])
    nodes = [
        node("Relu", "x", "a"), node("Neg", "a", "b"), node("Abs", "b", "c"), node("If", "flag", "d", **bodies),
        node("Add", "c d", "y"),
    ]  # fmt: skip
    proto = model_proto(nodes, {"x": (FLOAT, [3]), "flag": (BOOL, [])}, {"y": (FLOAT, [3])}, {"w": values(3)})
    for flag in (True, False):
        same_as_one_session(proto, {"x": values(3), "flag": np.array(flag)})


def test_integers_and_texts_go_on():
    nodes = [
        node("Identity", "s", "t"), node("Shape", "x", "n"), node("Cast", "n", "u", to=STRING),
        node("Concat", "t u", "y", axis=0), node("Identity", "n", "m"),
    ]  # fmt: skip
    proto = model_proto(nodes, {"x": (FLOAT, ["n", 3]), "s": (STRING, [1])}, {"y": (STRING, [3]), "m": (INT64, [2])})
    same_as_one_session(proto, {"x": values(2, 3), "s": np.array(["a"], object)})


def test_a_sequence_that_would_go_on_keeps_a_model_whole():
    nodes = [
        node("SequenceConstruct", "x x", "s"), node("Relu", "x", "a"), node("Abs", "a", "b"), node("Neg", "b", "c"),
        node("ConcatFromSequence", "s", "d", axis=0), node("Add", "c d", "y"),
    ]  # fmt: skip
    proto = model_proto(nodes, {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, [2, 3])})
    same_as_one_session(proto, {"x": values(1, 3)}, is_cut=False)


@pytest.mark.parametrize("reason", ["function", "weight that is an input", "output that is an input"])
def test_what_cannot_be_cut(reason):
    proto = row()
    if reason == "function":
        opsets = [helper.make_opsetid("", 17)]
        proto.functions.append(helper.make_function("own", "F", ["v"], ["w"], [node("Relu", "v", "w")], opsets))
        proto.opset_import.append(helper.make_opsetid("own", 1))
    elif reason == "weight that is an input":
        proto.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [3]))
    else:
        proto.graph.output.append(helper.make_tensor_value_info("x", FLOAT, ["n", 3]))
    same_as_one_session(proto, {"x": values(2, 3)}, is_cut=False)


def test_sparse_weights_go_where_they_are_read():
    proto = row()
    (dense,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w")
    sparse = proto.graph.sparse_initializer.add(dims=dense.dims)
    sparse.values.CopyFrom(dense)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(3), "places"))
    proto.graph.initializer.remove(dense)
    same_as_one_session(proto, {"x": values(2, 3)})


def test_bfloat16_without_kernels_is_emulated_in_segments():
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Conv", "b w", "c"), node("Relu", "c", "y")]
    weight = values(2, 2, 1, 1)
    proto = model_proto(nodes, {"x": (BFLOAT16, [1, 2, 3, 3])}, {"y": (BFLOAT16, [1, 2, 3, 3])})
    proto.graph.initializer.append(
        TensorProto(
            name="w",
            data_type=BFLOAT16,
            dims=weight.shape,
            raw_data=(weight.view(np.uint32) >> 16).astype(np.uint16).tobytes(),
        )
    )
    feeds = {"x": values(1, 2, 3, 3).astype(helper.tensor_dtype_to_np_dtype(BFLOAT16))}
    same_as_one_session(proto, feeds, ["b"])


def network(seed=1):
    net = Network(seed=seed)
    last = "x"
    for number in range(4):
        net.node("Conv", [last, net.weight(f"w{number}", 4, 4, 3, 3)], f"c{number}", pads=[1] * 4)
        net.batch_norm(f"c{number}", f"n{number}", 4)
        net.node("Relu", [f"n{number}"], last := f"r{number}")
    return net.model({"x": [1, 4, 6, 6]}, [last])


def weight_of_conv(number):
    def find(model):
        conv = [node for node in model.graph.node if node.op_type == "Conv"][number]
        return next(tensor for tensor in model.graph.initializer if tensor.name == conv.input[1])

    return find


def one_channel_by_a_percent(weight):
    weight[2] *= 1.01


def test_a_check_in_segments_finds_what_is_wrong_in_any_of_them():
    original = network()
    folded = bnfold.fold(original, verify=None).model
    right = check(original.SerializeToString(), folded.SerializeToString(), VerifyOptions())
    assert right.passed
    assert [tensor.name for tensor in right.tensors] == [f"n{number}" for number in range(4)]
    for number in range(4):
        wrong = spoiled(folded, weight_of_conv(number), one_channel_by_a_percent)
        verdict = check(original.SerializeToString(), wrong.SerializeToString(), VerifyOptions())
        assert [tensor.name for tensor in verdict.tensors if not tensor.passed] == [f"n{number}"]


def test_a_model_that_onnxruntime_refuses_in_a_later_segment_is_refused():
    original, broken = network(), network()
    broken.graph.node[-1].op_type = "Concat"  # without its axis
    verdict = check(original.SerializeToString(), broken.SerializeToString(), VerifyOptions())
    assert not verdict.passed
    assert "axis" in verdict.problem


def test_a_deployment_in_parts_says_so(monkeypatch):
    original = network()
    folded = bnfold.fold(original, verify=None).model
    both = original.SerializeToString(), folded.SerializeToString()
    assert check(*both, VerifyOptions()).deployment.note == ""
    monkeypatch.setattr(deployment, "_MOST_NODES", 4)
    verdict = check(*both, VerifyOptions())
    assert verdict.passed
    assert verdict.deployment.note.startswith("run in parts")
