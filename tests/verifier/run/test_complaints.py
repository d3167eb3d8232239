"""What onnxruntime says, in words of one line; who is to blame; and which error and exit code that is."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import bnfold
from bnfold.cli.exit_codes import ExitCode, code_of
from bnfold.errors import InvalidOriginalError, UncheckedError, VerificationError
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.run.complaints import complaint
from tests.verifier.small_models import FLOAT, model, node, unary

RUNNING = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running"
SOURCE = "/onnxruntime_src/onnxruntime/core"


SAID = {
    f"{RUNNING} MatMul node. Name:'' Status Message: matmul_helper.h:59 Compute MatMul dimension mismatch": (
        "in MatMul: MatMul dimension mismatch"
    ),
    f"{RUNNING} Reshape node. Name:'r' Status Message: {SOURCE}/providers/cpu/tensor/reshape_helper.h:91 "
    "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&"
    ", bool) input_shape_size == requested_shape_size was false. Input shape:{2,3}, requested shape:{4,5}\n": (
        "in Reshape 'r': input_shape_size == requested_shape_size was false. Input shape:{2,3}, requested shape:{4,5}"
    ),
    f"{RUNNING} MaxPool node. Name:'' Status Message: {SOURCE}/providers/cpu/nn/pool_attributes.h:236 int64_t "
    "onnxruntime::PoolAttributes::ComputeOutputSize(int64_t, int64_t) const out_size >= 0 was false. Too small": (
        "in MaxPool: out_size >= 0 was false. Too small"
    ),
    f"{RUNNING} Expand node. Name:'' Status Message: {SOURCE}/framework/op_kernel.cc:87 virtual OrtValue* "
    "onnxruntime::OpKernelContext::OutputMLValue(int, const onnxruntime::TensorShape&) [ONNXRuntimeError] : 1 "
    ": FAIL : Calculation for Tensor storage size overflowed\n": (
        "in Expand: Calculation for Tensor storage size overflowed"
    ),
    f"[ONNXRuntimeError] : 1 : FAIL : {SOURCE}/x.cc:12 onnxruntime::common::Status onnxruntime::Foo<T>::Bar("
    "int, std::function<void(long int)>) [with T = float] the thing (that failed).": "the thing (that failed).",
    f"{SOURCE}/x.cc:3 onnxruntime::A::B(int)::<lambda(const Node&)> Something bad": "Something bad",
    "[ONNXRuntimeError] : 1 : FAIL : D:\\a\\core\\graph\\model.cc:149 onnxruntime::Model::Model Unsupported "
    "model IR version: 99, max supported IR version: 11": (
        "the model has IR version 99, and this onnxruntime takes those up to 11: upgrade it"
    ),
    "Fatal error: com.acme:MyOp(-1) is not a registered function/op": "it lacks the operator com.acme:MyOp",
    "Load model from /a b/c failed:This is an invalid model.": "This is an invalid model.",
    "": "Exception",
}


@pytest.mark.parametrize("said", SAID, ids=[told[:20] for told in SAID.values()])
def test_messages_are_one_line_without_places_and_signatures(said):
    assert (
        str(complaint(Exception(said), "run", "the original")) == f"onnxruntime cannot run the original: {SAID[said]}"
    )


def test_names_of_any_length_are_cut_before_they_are_searched():
    """A name of 300,000 letters took minutes: the patterns take the square of it."""
    assert len(str(complaint(Exception(f"{RUNNING} {'a' * 300_000} node"), "run", "the original"))) < 500


def one_node(op_type="Relu", **options):
    ports = {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}
    return model([node(op_type, "x", "y", domain="com.acme" if op_type == "MyOp" else "")], *ports, **options)


@pytest.mark.parametrize(
    ("original", "told"),
    [
        (one_node("MyOp", domains={"com.acme": 1}), "it lacks the operator com.acme:MyOp"),
        (one_node(ir_version=99), "IR version 99"),
        (one_node(opset=99), "opset 99"),
    ],
    ids=["custom operator", "IR version", "opset"],
)
def test_what_onnxruntime_does_not_know_is_not_checked(original, told):
    with pytest.raises(UncheckedError, match=told) as error:
        check(original, one_node("Abs"), VerifyOptions())
    assert code_of(error.value) is ExitCode.UNCHECKED
    assert "::" not in str(error.value)


def twice_named():
    nodes = [node("Relu", "x", "h", name="n"), node("Relu", "h", "y", name="n")]
    return model(nodes, {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})


@pytest.mark.parametrize(
    "original",
    [
        twice_named(),
        model([node("Relu", "x", "y", spatial=1)], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}),
        model([node("Nonsense", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}),
        model([node("Add", "x z", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}),
        model([node("MatMul", "x x", "y")], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, None)}),
        b"no model at all",
    ],
    ids=["two nodes of one name", "attribute", "operator", "dangling", "shapes", "no model"],
)
def test_an_invalid_original_is_an_invalid_model(original):
    with pytest.raises(InvalidOriginalError, match="the original") as error:
        check(original, unary("Relu"), VerifyOptions())
    assert code_of(error.value) is ExitCode.UNREADABLE
    assert isinstance(error.value, VerificationError)  # to those who know no more classes


def expands_beyond_memory():
    """To a shape that is computed from the values of its input, so that nobody knows it before the run."""
    parameters = {"shape": np.array([[2**25, 2**25]]), "zero": np.zeros(1, np.float32), "flat": np.array([2])}
    nodes = [node("Mul", "x zero", "nothing"), node("Cast", "nothing", "offset", to=TensorProto.INT64)]
    nodes += [node("Add", "shape offset", "sum"), node("Reshape", "sum flat", "size")]
    nodes += [node("Expand", "x size", "h"), node("ReduceMax", "h", "y")]
    return model(nodes, {"x": (FLOAT, [1, 1])}, {"y": (FLOAT, [1, 1])}, parameters)


def test_running_out_of_memory_is_not_inequality():
    small = model([node("Identity", "x", "y")], {"x": (FLOAT, [1, 1])}, {"y": (FLOAT, [1, 1])})
    with pytest.raises(UncheckedError, match="memory ran out") as error:
        check(small, expands_beyond_memory(), VerifyOptions())
    assert not isinstance(error.value, RefusedError)
    assert code_of(error.value) is ExitCode.UNCHECKED


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_no_class_of_error_hides_that_memory_ran_out(error):
    assert not isinstance(complaint(error, "load", "the new model"), RefusedError)


def test_memory_that_runs_out_elsewhere_is_no_inequality_either(monkeypatch):
    def allocate(*_):
        raise MemoryError

    monkeypatch.setattr("bnfold.verifier.pipeline.batches", allocate)
    with pytest.raises(UncheckedError, match="memory ran out when the check was to compare the models"):
        check(unary("Relu"), unary("Abs"))


def test_a_fold_that_cannot_be_checked_says_what_was_folded():
    ports = {"x": (FLOAT, [1, 2, 3, 3])}, {"y": (FLOAT, [1, 2, 3, 3])}
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    parameters = {"w": np.ones((2, 2, 1, 1), np.float32), "one": ones, "zero": zeros}
    nodes = [node("Conv", "x w", "h"), node("BatchNormalization", "h one zero zero one", "k"), node("Relu", "k", "y")]
    proto = onnx.ModelProto.FromString(model(nodes, *ports, parameters, ir_version=99))
    with pytest.raises(
        UncheckedError,
        match=r"^the fold could not be checked: .*IR version 99.*; to go on without a check use verify=False$",
    ) as error:
        bnfold.fold(proto)
    report = error.value.report
    assert report.verification.status == "unchecked"
    assert report.batch_norms.folded == 1
    assert report.output is None
