"""Models of which not all can be run or compared: what can be is, and the rest is named."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.cli.main import main
from bnfold.errors import InvalidOriginalError, UncheckedError, UsageError
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.run.partly import in_short
from tests.verifier.small_models import BOOL, DOUBLE, FLOAT, INT64, model_proto, node


class Network:
    """Three Convs with BatchNorms behind them; what stands between them is given."""

    def __init__(self, *between, dtype=np.float32, domains=("com.acme",)):
        self._random = np.random.default_rng(0)
        self._dtype = dtype
        self._parameters = {
            "w0": self._drawn(4, 3, 3, 3),
            "w1": self._drawn(5, 4, 3, 3),
            "w2": self._drawn(6, 5, 1, 1),
            "half": np.float32(0.5),
            "train": np.bool_(True),
        }
        first, second = between
        self._nodes = [
            *(node("Conv", "x w0", "c0"), self._batch_norm("c0", "n0", 4), first),
            *(node("Conv", "h0 w1", "c1"), self._batch_norm("c1", "n1", 5), second),
            *(node("Conv", "h1 w2", "c2"), self._batch_norm("c2", "y", 6)),
        ]
        self._domains = domains

    def _drawn(self, *shape):
        return self._random.normal(size=shape).astype(self._dtype)

    def _batch_norm(self, source, output, channels):
        names = [f"{output}.{kind}" for kind in ("gamma", "beta", "mean", "var")]
        values = [self._drawn(channels) for _ in names[:3]] + [self._random.uniform(0.5, 2, channels)]
        self._parameters |= {name: value.astype(self._dtype) for name, value in zip(names, values, strict=True)}
        return node("BatchNormalization", f"{source} {' '.join(names)}", output)

    def proto(self):
        read = {name for entry in self._nodes for name in entry.input}
        parameters = {name: value for name, value in self._parameters.items() if name in read}
        ports = {"x": (FLOAT, [1, 3, 16, 16])}, {"y": (FLOAT, None)}
        return model_proto(self._nodes, *ports, parameters, domains=dict.fromkeys(self._domains, 1))


def custom(source, output, op_type="MyOp", **attributes):
    return node(op_type, source, output, domain="com.acme", **attributes)


def relu(source, output):
    return node("Relu", source, output)


def dropout(source, output, **attributes):
    return node("Dropout", f"{source} half train", output, name="drops", **attributes)


def test_every_part_around_a_custom_operator_is_checked_alone():
    result = bnfold.fold(Network(custom("n0", "h0"), relu("n1", "h1")).proto())
    verification = result.report.verification
    assert (verification.status, verification.passed) == ("partial", True)
    said = "3 of 3 changed parts checked alone; the whole model needs com.acme:MyOp, which onnxruntime lacks"
    assert verification.warnings[0] == said
    assert result.report.batch_norms.folded == 3


def test_several_operators_that_are_lacking_are_all_named():
    proto = Network(custom("n0", "h0"), custom("n1", "h1", "Other")).proto()
    assert (
        "needs com.acme:MyOp, which onnxruntime lacks; com.acme:Other, which onnxruntime lacks"
        in bnfold.fold(proto).report.verification.warnings[0]
    )


def spoiled(proto, name):
    """The folded model with one weight or bias of a Conv changed by 1 %."""
    new = bnfold.fold(proto, verify=None).model
    entry = next(entry for entry in new.graph.node if entry.op_type == "Conv" and entry.output[0] == name)
    tensor = next(tensor for tensor in new.graph.initializer if tensor.name == entry.input[1])
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[1] *= np.float32(1.01)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return new


def compare(original, new, **options):
    return check(original.SerializeToString(), new.SerializeToString(), VerifyOptions(**options))


@pytest.mark.parametrize("name", ["n0", "n1", "y"])
@pytest.mark.parametrize("between", [custom, dropout])
def test_what_is_wrong_around_such_a_node_is_seen(name, between):
    original = Network(between("n0", "h0"), relu("n1", "h1")).proto()
    verdict = compare(original, spoiled(original, name))
    assert verdict.status == "failed"
    assert verdict.problem.startswith(f"tensor '{name}': channel 1 ")


@pytest.mark.parametrize("change", ["attribute", "input", "operator"])
def test_nothing_stands_in_for_a_node_that_is_another_one_in_the_new_model(change):
    original = Network(custom("n0", "h0"), relu("n1", "h1")).proto()
    new = bnfold.fold(original, verify=None).model
    entry = next(entry for entry in new.graph.node if entry.domain == "com.acme")
    if change == "attribute":
        entry.attribute.append(onnx.helper.make_attribute("alpha", 2))
    elif change == "input":
        entry.input[0] = "x"
    else:
        entry.op_type = "Other"
    with pytest.raises(UncheckedError, match=r"com\.acme:"):
        compare(original, new)


def test_a_fold_that_moves_through_such_a_node_is_not_proven():
    """A scale passes what hands on its input, and says nothing about the operator itself."""
    parameters = {"k": np.float32([2, 3])}
    ports = {"x": (FLOAT, [1, 2])}, {"y": (FLOAT, [1, 2])}
    before = model_proto([node("Mul", "x k", "m"), custom("m", "y")], *ports, parameters, domains={"com.acme": 1})
    after = model_proto([custom("x", "m2"), node("Mul", "m2 k", "y")], *ports, parameters, domains={"com.acme": 1})
    with pytest.raises(UncheckedError, match=r"com\.acme:MyOp"):
        compare(before, after)


def test_an_operator_that_changes_channels_is_left_out_and_its_output_fed():
    """Nothing hands on four channels where eight are read."""
    network = Network(custom("n0", "h0"), relu("n1", "h1"))
    network._parameters["w1"] = network._drawn(5, 8, 3, 3)
    verification = bnfold.fold(network.proto()).report.verification
    assert verification.status == "partial"
    assert verification.warnings[0].startswith("3 of 3 changed parts checked alone")


def test_a_kernel_that_is_lacking_is_named_too():
    """onnxruntime has no Conv of float64."""
    parameters = {"w": np.ones((2, 2, 1, 1)), "m": np.ones((2, 2))}
    nodes = [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "p"), node("Identity", "p", "y")]
    ports = {"x": (DOUBLE, [1, 2, 4, 4])}, {"y": (DOUBLE, None)}
    original = model_proto(nodes, *ports, parameters)
    new = model_proto([*nodes[:2], node("Identity", "p", "q"), node("Identity", "q", "y")], *ports, parameters)
    verdict = compare(original, new)
    assert verdict.status == "partial"
    assert "needs a kernel for Conv, which onnxruntime lacks; a kernel for GlobalAveragePool, " in verdict.warnings[0]


def test_a_node_that_never_runs_is_named_and_its_surroundings_are_checked():
    """Sizes are fixed, so that no others help: a BatchNorm of a form that onnxruntime does not take."""
    network = Network(node("Reshape", "n0 target", "h0", name="reshapes"), relu("n1", "h1"))
    network._parameters["target"] = np.array([1, 4, 5, 5])
    verification = bnfold.fold(network.proto()).report.verification
    assert verification.status == "partial"
    assert "needs Reshape 'reshapes', which does not run: " in verification.warnings[0]


def test_of_many_that_do_not_run_the_first_are_named_and_the_others_counted():
    assert in_short(["a", "b", "c"]) == "a; b; c"
    assert in_short(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


def test_a_random_node_is_named_and_everything_else_is_compared():
    verification = bnfold.fold(Network(dropout("n0", "h0"), relu("n1", "h1")).proto()).report.verification
    assert verification.status == "partial"
    assert "Dropout 'drops' in training mode is random" in verification.warnings[0]


def test_the_mask_of_a_dropout_may_be_read():
    proto = Network(dropout("n0", "h0 mask"), relu("n1", "h1")).proto()
    proto.graph.output.append(onnx.helper.make_tensor_value_info("mask", BOOL, None))
    assert bnfold.fold(proto).report.verification.status == "partial"


@pytest.mark.parametrize("parameter", [("train", np.bool_(False)), ("half", np.float32(0))])
def test_a_dropout_that_drops_nothing_is_not_random(parameter):
    network = Network(dropout("n0", "h0"), relu("n1", "h1"))
    network._parameters |= dict([parameter])
    assert bnfold.fold(network.proto()).report.verification.status == "passed"


def test_assumed_inference_is_that_of_dropouts_as_well():
    proto = Network(dropout("n0", "h0"), relu("n1", "h1")).proto()
    result = bnfold.fold(proto, assume_inference=True)
    assert result.report.verification.status == "passed"
    assert [len(entry.input) for entry in result.model.graph.node if entry.op_type == "Dropout"] == [2]


def test_noise_that_is_added_is_named():
    nodes = [node("RandomNormalLike", "n0", "r"), node("Add", "n0 r", "h0")]
    network = Network(nodes[1], relu("n1", "h1"))
    network._nodes.insert(2, nodes[0])
    verification = bnfold.fold(network.proto()).report.verification
    assert verification.status == "partial"
    assert "RandomNormalLike 'r' is random" in verification.warnings[0]


def test_parts_that_were_not_judged_alone_are_not_called_proven():
    original = Network(custom("n0", "h0"), relu("n1", "h1")).proto()
    verdict = compare(original, bnfold.fold(original, verify=None).model, probe=False)
    assert verdict.status == "unchecked"
    assert verdict.problem.startswith("0 of 3 changed parts checked alone")


def test_an_operator_in_a_body_is_out_of_reach():
    body = onnx.helper.make_graph(
        [custom("n0", "b")], "body", [], [onnx.helper.make_tensor_value_info("b", FLOAT, None)]
    )
    chosen = node("If", "train", "h0", then_branch=body, else_branch=body)
    with pytest.raises(UncheckedError, match=r"com\.acme:MyOp.*verify=False"):
        bnfold.fold(Network(chosen, relu("n1", "h1")).proto())


def test_a_library_that_is_none_is_a_usage_error(tmp_path):
    path = tmp_path / "ops.so"
    path.write_text("nothing")
    original = Network(relu("n0", "h0"), relu("n1", "h1")).proto()
    with pytest.raises(UsageError, match=r"ops\.so is no library of operators"):
        compare(original, spoiled(original, "n0"), custom_ops=(str(path),))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler")
def test_a_library_is_registered_in_every_session(tmp_path):
    source, library, log = (tmp_path / name for name in ("ops.c", "ops.so", "log"))
    source.write_text(
        "#include <stdio.h>\n"
        "void *RegisterCustomOps(void *options, const void *api) {\n"
        f'  FILE *log = fopen("{log}", "a"); fputs("x", log); fclose(log); return 0;\n'
        "}\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    original = Network(relu("n0", "h0"), relu("n1", "h1")).proto()
    verdict = compare(original, bnfold.fold(original, verify=None).model, custom_ops=(str(library),))
    assert verdict.status == "passed"
    assert len(log.read_text()) >= 1 + 2 + 1, "asked for, both models, and deployment"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library that has com.acme:MyOp, y = x * |x|; onnxruntime-extensions or a user's own look like that."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no compiler")
    path = tmp_path_factory.mktemp("library") / "ops.so"
    source = Path(__file__).parents[1] / "custom_operator.c"
    subprocess.run(
        ["gcc", "-std=gnu11", "-w", "-shared", "-fPIC", "-o", str(path), str(source)], check=True, timeout=120
    )
    return str(path)


def test_with_the_library_of_its_operators_the_whole_model_is_compared(library, tmp_path):
    original = Network(custom("n0", "h0"), custom("n1", "h1")).proto()
    assert bnfold.fold(original).report.verification.status == "partial"
    result = bnfold.fold(original, verify=VerifyOptions(custom_ops=(library,)))
    assert (result.report.batch_norms.folded, result.report.verification.status) == (3, "passed")
    assert not result.report.verification.warnings
    onnx.save(original, tmp_path / "model.onnx")
    assert main([str(tmp_path / "model.onnx"), "--custom-ops", library, "-q"]) == 0


def test_what_is_wrong_behind_such_an_operator_shows_in_the_outputs(library):
    original = Network(custom("n0", "h0"), custom("n1", "h1")).proto()
    verdict = compare(original, spoiled(original, "n1"), custom_ops=(library,))
    assert verdict.status == "failed"
    assert not verdict.outputs[0].passed


def behind(*nodes, inputs, folded=False, **parameters):
    """Nodes that make 't' of what they like, and a MatMul and a Mul behind them, or both as one."""
    weight, scale = np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([2, 3])
    own = {"w": weight * scale} if folded else {"w": weight, "k": scale}
    tail = [node("MatMul", "t w", "p")] if folded else [node("MatMul", "t w", "m"), node("Mul", "m k", "p")]
    ports = inputs, {"y": (FLOAT, None)}
    return model_proto([*nodes, *tail, relu("p", "y")], *ports, own | parameters, domains={"com.acme": 1})


@pytest.mark.parametrize(
    ("nodes", "inputs"),
    [
        (custom("x", "t"), {"x": (FLOAT, [4, 3])}),
        (custom("x", "t"), {"x": (INT64, ["n", "length"])}),
        (custom("x", "t"), {"x": (FLOAT, [1, 3, 64, 64])}),
        (custom("table", "t"), {"x": (FLOAT, [1])}),
        (custom("x", "t unused"), {"x": (FLOAT, [4, 3])}),
    ],
    ids=["alike", "integers become tokens", "images become features", "reads no input", "two outputs"],
)
def test_whatever_such_an_operator_makes_its_readers_say_what_they_want(nodes, inputs):
    table = {"table": np.float32([1, 2])} if "table" in nodes.input else {}
    original, new = (behind(nodes, inputs=inputs, folded=folded, **table) for folded in (False, True))
    verdict = compare(original, new)
    assert verdict.status == "partial"
    assert verdict.warnings[0].startswith("1 of 1 changed part checked alone")


def test_an_operator_at_the_end_of_a_graph():
    proto = Network(relu("n0", "h0"), relu("n1", "h1")).proto()
    proto.graph.node.append(custom("y", "z"))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("z", FLOAT, None))
    assert bnfold.fold(proto).report.verification.status == "partial"


def test_an_operator_that_only_the_new_model_has_is_no_difference():
    ports = {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}
    new = model_proto([custom("x", "y")], *ports, domains={"com.acme": 1})
    with pytest.raises(UncheckedError, match=r"cannot load the new model: it lacks the operator com\.acme:MyOp"):
        compare(model_proto([relu("x", "y")], *ports), new)


def test_an_invalid_original_is_invalid_whatever_is_random_in_it():
    proto = Network(dropout("n0", "h0"), relu("n1", "h1")).proto()
    new = bnfold.fold(proto, verify=None).model
    for model in (proto, new):
        next(entry for entry in model.graph.node if entry.op_type == "Relu").op_type = "Nonsense"
    with pytest.raises(InvalidOriginalError, match="Nonsense"):
        compare(proto, new)
