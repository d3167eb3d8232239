"""Functions of a model that stand for more than they look like: counted before anything writes them out."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.errors import BnfoldError, ModelFormatError, UnsupportedModelError, VerificationError
from bnfold.intake.calls import written_out
from tests.attacks.onnx_models import conv_bn, fold, refused, write

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def calling(bodies: dict[str, list[onnx.NodeProto]]) -> onnx.ModelProto:
    """conv_bn with functions from a to b, the first of which is called behind it."""
    model = conv_bn()
    for name, nodes in bodies.items():
        model.functions.append(helper.make_function("own", name, ["a"], ["b"], nodes, OPSETS))
    model.opset_import.append(OPSETS[1])
    model.graph.node.append(helper.make_node(next(iter(bodies)), ["y"], ["z"], domain="own"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4, 5, 5]))
    return model


def call(name: str, source: str = "a", target: str = "b") -> onnx.NodeProto:
    return helper.make_node(name, [source], [target], domain="own")


RELU = [helper.make_node("Relu", ["a"], ["b"])]


def doubling(depth: int, last: list[onnx.NodeProto] = RELU) -> onnx.ModelProto:
    """Each function calls the next one twice."""
    bodies = {f"f{number}": [call(f"f{number + 1}", "a", "m"), call(f"f{number + 1}", "m")] for number in range(depth)}
    return calling(bodies | {f"f{depth}": last})


def within_a_body(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A function that calls another one in a branch."""
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])
    flag = helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True)))
    return [flag, helper.make_node("If", ["flag"], ["b"], then_branch=branch, else_branch=branch)]


def chain(length: int) -> onnx.ModelProto:
    return calling({f"f{number}": [call(f"f{number + 1}")] for number in range(length)} | {f"f{length}": RELU})


ENDLESS = {
    "itself": (calling({"f": [call("f")]}), "f -> f"),
    "itself, unread": (calling({"f": [*RELU, call("f", "b", "c")]}), "f -> f"),
    "each other": (calling({"f": [call("g")], "g": [call("f")]}), "f -> g -> f"),
    "in a body": (calling({"f": within_a_body(call("f"))}), "f -> f"),
    "beside the call": (calling({"f": RELU, "g": [call("h")], "h": [call("g")]}), "g -> h -> g"),
    "twice, 40 deep": (doubling(40), "written out"),
    "twice, 90 deep": (doubling(90), "written out"),
    "twice in bodies": (
        calling({f"f{n}": within_a_body(call(f"f{n + 1}")) for n in range(40)} | {"f40": RELU}),
        "written out",
    ),
    "200 deep": (chain(200), "more than 100 deep"),
    "5,000 deep": (chain(5000), "more than 100 deep"),
    "a large constant, often": (
        doubling(
            14,
            [
                helper.make_node(
                    "Constant", [], ["c"], value=numpy_helper.from_array(np.ones((1, 1, 1, 50_000), "f4"))
                ),
                *RELU,
            ],
        ),
        "written out",
    ),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_functions_without_an_end(tmp_path, kind):
    model, words = ENDLESS[kind]
    path = write(model, tmp_path / "model.onnx")
    for act in (lambda: fold(path), lambda: bnfold.fold(path), lambda: bnfold.fold(model)):
        with refused(tmp_path, words, BnfoldError):
            act()
    with refused(tmp_path, words, VerificationError):
        bnfold.verify(path, conv_bn())
    assert words in bnfold.verify(conv_bn(), path).problem


def test_which_error():
    for kind, error in (("itself", ModelFormatError), ("twice, 40 deep", UnsupportedModelError)):
        with pytest.raises(error):
            bnfold.fold(ENDLESS[kind][0])


@pytest.mark.parametrize("model", [doubling(6), chain(50), calling({"f": within_a_body(call("g")), "g": RELU})])
def test_functions_with_an_end_are_folded(tmp_path, model):
    report = bnfold.fold_file(write(model, tmp_path / "model.onnx"), tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.verification.passed
    assert report.batch_norms.kept == 0


def test_calls_are_counted_as_they_are_written_out():
    # Conv, BatchNormalization, the call, and 2 + 4 + 8 calls, and 8 Relus.
    assert written_out(doubling(3)).nodes == 3 + 2 + 4 + 8 + 8


def test_a_function_of_one_domain_is_not_that_of_another():
    model = calling({"Relu": [helper.make_node("Relu", ["a"], ["b"])]})
    assert written_out(model).nodes == 4


def batch_norm_in_a_function() -> onnx.ModelProto:
    """Inlined, its BatchNorm would fold into the Conv in front of the call."""
    parameters = {"s": np.ones(4), "t": np.ones(4), "m": np.zeros(4), "v": np.ones(4)}
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values.astype(np.float32)))
        for name, values in parameters.items()
    ]
    norm = helper.make_node("BatchNormalization", ["a", *parameters], ["b"])
    model = calling({"f": [*constants, norm]})
    weight = numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "own weight")
    model.graph.initializer.append(weight)
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Conv", ["y", "own weight"], ["own"], "own"))
    model.graph.node[-1].input[0] = "own"
    return model


def too_many_inputs(model: onnx.ModelProto) -> None:
    model.graph.node[-1].input.extend(["x", "x"])


def two_of_a_name(model: onnx.ModelProto) -> None:
    model.functions.append(model.functions[0])


def another_opset(model: onnx.ModelProto) -> None:
    model.functions[0].opset_import[0].version = 9


@pytest.mark.parametrize("spoil", [too_many_inputs, two_of_a_name, another_opset])
def test_functions_that_onnx_does_not_write_out_stay(tmp_path, spoil):
    """Found by fuzzing: each was an internal error."""
    model = batch_norm_in_a_function()
    spoil(model)
    report = bnfold.fold_file(write(model, tmp_path / "m.onnx"), tmp_path / "o.onnx", bnfold.FoldOptions(verify=None))
    assert report.batch_norms.kept


def test_functions_that_onnx_writes_out_fold(tmp_path):
    model = batch_norm_in_a_function()
    report = bnfold.fold_file(write(model, tmp_path / "m.onnx"), tmp_path / "o.onnx", bnfold.FoldOptions(verify=None))
    assert not report.batch_norms.kept


def test_more_axes_than_numpy_broadcasts(tmp_path):
    """Found by fuzzing: an internal error."""
    model = conv_bn()
    for name, values in (("shape", np.array([1, 4, *[1] * 50, -1], np.int64)), ("two", np.full((1,) * 53, 2.0, "f"))):
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.node.extend(
        [
            helper.make_node("Reshape", ["y", "shape"], ["r"], "r"),
            helper.make_node("Mul", ["r", "two"], ["p"], "p"),
            helper.make_node("Mul", ["p", "two"], ["q"], "q"),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, None))
    report = bnfold.fold_file(write(model, tmp_path / "m.onnx"), tmp_path / "o.onnx", bnfold.FoldOptions(verify=None))
    assert [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node][-3:] == ["Reshape", "Mul", "Mul"]
    assert not report.batch_norms.kept


def test_a_size_that_is_read_from_a_number_which_a_rounding_moves(tmp_path):
    """Found by fuzzing: an internal error. In the check, a batch of one place times 0.9999999 had none."""
    stored = {name: np.full(1, 1.5, np.float32) for name in ("gamma", "beta", "mean", "var")}
    stored["scales"] = np.ones(4, np.float32)
    body = [
        helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mean", "var"], ["a"]),
        helper.make_node("Resize", ["a", "", "scales"], ["b"]),
        helper.make_node("BatchNormalization", ["b", "gamma", "beta", "mean", "var"], ["y"]),
    ]
    function = helper.make_function("own", "F", ["x", *stored], ["y"], body, OPSETS[:1])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, 6, 6]) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(values, name) for name, values in stored.items()]
    call_of_it = helper.make_node("F", ["x", *stored], ["y"], domain="own")
    graph = helper.make_graph([call_of_it], "graph", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, functions=[function], opset_imports=OPSETS, ir_version=8)
    report = bnfold.fold_file(write(model, tmp_path / "m.onnx"), tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.folded == 1
    assert report.verification.passed
