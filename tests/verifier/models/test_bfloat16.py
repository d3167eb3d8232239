"""bfloat16 models, which onnxruntime's CPU provider does not run: judged in their own arithmetic all the same."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bnfold
from bnfold.verifier.models.bfloat16 import emulate
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.session import Session
from tests.networks import Network
from tests.verifier.small_models import BFLOAT16, BOOL, model_proto, node
from tests.verifier.spoiling import of_shape, spoiled


def network(seed: int) -> onnx.ModelProto:
    net = Network(seed=seed)
    weights = [net.weight("w", 8, 3, 3, 3, dtype="bfloat16"), net.weight("b", 8, dtype="bfloat16")]
    net.node("Conv", ["x", *weights], "c", pads=[1, 1, 1, 1])
    net.batch_norm("c", "n", 8, "bfloat16")
    net.node("Relu", ["n"], "r")
    net.node("Conv", ["r", net.weight("w2", 4, 8, 3, 3, dtype="bfloat16")], "c2")
    net.batch_norm("c2", "y", 4, "bfloat16")
    return net.model({"x": [2, 3, 9, 9]}, ["y"], dtype="bfloat16")


@pytest.mark.parametrize("seed", range(8))
def test_a_correct_fold_passes(seed):
    result = bnfold.fold(network(seed))
    assert result.report.batch_norms.folded == 2
    assert result.report.verification.passed


@pytest.mark.parametrize("seed", range(4))
def test_one_channel_by_one_percent_fails(seed):
    original = network(seed)
    folded = bnfold.fold(original, verify=None).model
    tensor = next(tensor for tensor in folded.graph.initializer if list(tensor.dims) == [8, 3, 3, 3])
    values = numpy_helper.to_array(tensor).copy()
    values[3] = (values[3].astype(np.float32) * 1.01).astype(values.dtype)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    verdict = bnfold.verify(original, folded)
    assert not verdict.passed
    assert verdict.problem.startswith("tensor 'n': channel 3 ")


def test_weights_may_lie_in_files(tmp_path):
    original, paths = network(0), (tmp_path / "original.onnx", tmp_path / "folded.onnx", tmp_path / "wrong.onnx")
    wrong = spoiled(bnfold.fold(original, verify=None).model, of_shape([8, 3, 3, 3]), lambda weight: weight[3].fill(1))
    for path, model in zip(paths, (original, bnfold.fold(original, verify=None).model, wrong), strict=True):
        data = {"save_as_external_data": True, "location": f"{path.stem}.data", "size_threshold": 0}
        onnx.save(model, path, **data)
    assert bnfold.verify(*paths[:2]).passed
    assert bnfold.verify(paths[0], paths[2]).problem.startswith("tensor 'n': channel 3 ")


def test_it_computes_in_float32_between_ends_of_bfloat16():
    nodes = [node("Add", "x big", "s"), node("Sub", "s big", "y")]
    big = {"big": np.array(256, ml_dtypes.bfloat16)}
    proto = model_proto(nodes, {"x": (BFLOAT16, [3])}, {"y": (BFLOAT16, [3])}, big)
    session = Session(Model("a model", proto))
    assert [port.type for port in (*session.signature.inputs, *session.signature.outputs)] == ["tensor(bfloat16)"] * 2
    (y,) = session.run({"x": np.array([0.5, 1.5, 3], ml_dtypes.bfloat16)})
    assert y.dtype == ml_dtypes.bfloat16
    assert y.astype(np.float32).tolist() == [0.5, 1.5, 3]  # of bfloat16, 256 to 512 go in steps of 2


def test_bodies_are_emulated():
    two = numpy_helper.from_array(np.array(2, ml_dtypes.bfloat16), "two")
    made = helper.make_tensor_value_info("o", BFLOAT16, [3])
    branch = helper.make_graph([node("Mul", "x two", "o")], "branch", [], [made], [two])
    nodes = [node("If", "c", "y", then_branch=branch, else_branch=branch)]
    proto = model_proto(nodes, {"x": (BFLOAT16, [3]), "c": (BOOL, [])}, {"y": (BFLOAT16, [3])})
    (y,) = Session(Model("a model", proto)).run({"x": np.ones(3, ml_dtypes.bfloat16), "c": np.array(True)})
    assert y.astype(np.float32).tolist() == [2, 2, 2]


def test_functions_are_emulated():
    nodes = [node("Mul", "a a", "s"), node("Cast", "s", "b", to=BFLOAT16)]
    own = helper.make_function("own", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    ports = {"x": (BFLOAT16, [3])}, {"y": (BFLOAT16, [3])}
    proto = model_proto([node("F", "x", "y", domain="own")], *ports, domains={"own": 1})
    proto.functions.append(own)
    (y,) = Session(Model("a model", proto)).run({"x": np.full(3, 3, ml_dtypes.bfloat16)})
    assert y.astype(np.float32).tolist() == [9, 9, 9]


def test_other_models_are_left_alone():
    proto = model_proto([node("Relu", "x", "y")], {"x": (1, [3])}, {"y": (1, [3])})
    assert emulate(proto) is None
