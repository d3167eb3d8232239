"""Files that are odd, not hostile: names that are missing or no text, nodes in any order, sizes that contradict."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bnfold
from bnfold.cli.main import main
from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.intake.order import sort_nodes
from tests.attacks.onnx_models import conv_bn, fold, in_body, in_function, refused, write
from tests.folding import assert_equal_outputs
from tests.networks import Network


def norm_of(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "BatchNormalization")


@pytest.mark.parametrize("absent", [1, 4])
@pytest.mark.parametrize("opset", [9, 13, 17])
def test_outputs_without_a_name_are_absent(tmp_path, opset, absent):
    model = conv_bn()
    model.opset_import[0].version = opset
    norm_of(model).output.extend([""] * absent)
    path = write(model, tmp_path / "model.onnx")
    report = bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.kept == 0
    assert report.verification.passed
    assert bnfold.verify(path, path).passed


@pytest.mark.parametrize("opset", [9, 17])
def test_a_batch_norm_that_stays_does_not_crash_the_check_either(tmp_path, opset):
    network = Network()
    network.node("Relu", ["x"], "r")
    network.batch_norm("r", "n", 4)
    network.node("Softmax", ["n"], "s", axis=1)
    network.node("Conv", ["s", network.weight("w", 4, 4, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": [1, 4, 5, 5]}, ["y"])
    model.opset_import[0].version = opset
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            node.output.extend(["", "", "", ""])
    path = write(model, tmp_path / "model.onnx")
    report = bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.kept == 1
    assert report.verification.passed
    kept = norm_of(onnx.load(tmp_path / "out.onnx"))
    assert list(kept.output)[1:] == ["", "", "", ""], "what no fold touches keeps its bytes"


def test_inputs_without_a_name_are_absent(tmp_path):
    model = conv_bn()
    model.graph.node[0].input.append("")
    model.graph.node.append(helper.make_node("Clip", ["y", "", ""], ["z"]))
    model.graph.output[0].name = "z"
    report = bnfold.fold_file(write(model, tmp_path / "m.onnx"), tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.kept == 0
    assert report.verification.passed


def turned_round(nodes) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del nodes[:]
    nodes.extend(reversed(copies))


def several() -> onnx.ModelProto:
    network = Network()
    for number in range(4):
        source = f"n{number - 1}" if number else "x"
        network.node("Conv", [source, network.weight(f"w{number}", 3, 3, 1, 1)], f"c{number}")
        network.batch_norm(f"c{number}", f"n{number}", 3)
    return network.model({"x": ["N", 3, 4, 4]}, ["n3"])


def test_a_graph_in_another_order_is_sorted_and_folded(tmp_path):
    model = several()
    turned_round(model.graph.node)
    path = write(model, tmp_path / "model.onnx")
    report = bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.batch_norms.kept == 0
    assert report.verification.passed
    assert any("sorted" in warning for warning in report.warnings)
    assert_equal_outputs(several(), onnx.load(tmp_path / "out.onnx"))
    assert any("sorted" in warning for warning in bnfold.fold(path).report.warnings)


def test_a_graph_in_order_stays_as_it_is():
    model = several()
    before = model.SerializeToString()
    assert not sort_nodes(model)
    assert model.SerializeToString() == before
    assert not bnfold.fold(model, verify=None).report.warnings


def test_few_nodes_move():
    model = several()
    first = onnx.NodeProto.FromString(model.graph.node[0].SerializeToString())
    del model.graph.node[0]
    model.graph.node.insert(3, first)
    assert sort_nodes(model)
    assert [node.output[0] for node in model.graph.node] == ["c0", "n0", "c1", "n1", "c2", "n2", "c3", "n3"]


@pytest.mark.parametrize("place", [in_body, in_function])
def test_bodies_and_functions_in_another_order(tmp_path, place):
    model = conv_bn()
    place(model, numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "k"))
    graph = model.functions[0] if model.functions else model.graph.node[-1].attribute[0].g
    graph.node.extend([helper.make_node("Relu", ["late"], ["unread"]), helper.make_node("Identity", ["b"], ["late"])])
    path = write(model, tmp_path / "model.onnx")
    report = bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions())
    assert any("sorted" in warning for warning in report.warnings)
    assert report.verification.passed


def test_nodes_that_read_each_other_are_an_invalid_model(tmp_path):
    model = conv_bn()
    model.graph.node.append(helper.make_node("Add", ["y", "q"], ["p"]))
    model.graph.node.append(helper.make_node("Relu", ["p"], ["q"]))
    path = write(model, tmp_path / "model.onnx")
    with refused(tmp_path, "no earlier node", ModelFormatError):
        fold(path)


@pytest.mark.parametrize("version", [0, -1, 2**31, 2**62, -(2**63)])
def test_functions_of_operator_sets_that_do_not_exist(tmp_path, version):
    model = conv_bn()
    in_function(model, numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "k"))
    model.functions[0].opset_import[0].version = version
    path = write(model, tmp_path / "model.onnx")
    with refused(tmp_path, "has a function 'F' of opset", UnsupportedModelError):
        fold(path)


@pytest.mark.parametrize(
    ("source", "target"),
    [([1, 6, 2**40], [1, -1]), ([1, 6, 2**33], [6, -1]), ([2**31, 6, 2], [-1, 3]), ([1, 6, 7], [1, 5])],
)
def test_maps_are_not_written_out_over_sizes_that_nothing_holds(tmp_path, source, target):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 6, 1, 1)], "c")
    network.node("Reshape", ["c", network.constant("shape", target, dtype="int64")], "r")
    network.node("Mul", ["r", network.weight("m", 1)], "n")
    network.node("Reshape", ["n", network.constant("back", [1, 6, -1], dtype="int64")], "b")
    network.batch_norm("b", "y", 6)
    model = network.model({"x": [source[0], 1, source[2]]}, {"y": [1, 6, "?"]})
    path = write(model, tmp_path / "model.onnx")
    bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions(verify=None))


@pytest.mark.parametrize("op_type", ["Add", "Mul"])
def test_nodes_with_many_times_the_inputs_that_they_take(tmp_path, op_type):
    """Not all orders of fifty inputs are tried."""
    model = conv_bn()
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    model.graph.node.append(helper.make_node(op_type, ["y", *["one"] * 50], ["z"]))
    model.graph.node.append(helper.make_node("Mul", ["z", "one"], ["q"]))
    model.graph.output[0].name = "q"
    fold(write(model, tmp_path / "model.onnx"))


_MARK = "Q~Q~Q~"
NAMES_OF_NOTHING = ("a text", "metadata", "the producer")
PLACES_OF_TEXT = {
    "an input": lambda model: _rename(model, "x"),
    "a tensor": lambda model: _rename(model, "c"),
    "a weight": lambda model: _rename(model, "w"),
    "an output": lambda model: _rename(model, "y"),
    "a node": lambda model: setattr(norm_of(model), "name", _MARK),
    "another node": lambda model: setattr(model.graph.node[0], "name", _MARK),
    "an operator": lambda model: setattr(model.graph.node[0], "op_type", _MARK),
    "a domain": lambda model: setattr(model.graph.node[0], "domain", _MARK),
    "an attribute": lambda model: setattr(norm_of(model).attribute.add(type=1, f=1.0), "name", _MARK),
    "a text": lambda model: setattr(norm_of(model), "doc_string", _MARK),
    "a graph": lambda model: setattr(model.graph, "name", _MARK),
    "a dimension": lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", _MARK),
    "a dimension of the output": lambda model: setattr(
        model.graph.output[0].type.tensor_type.shape.dim[0], "dim_param", _MARK
    ),
    "a value_info": lambda model: setattr(model.graph.value_info.add(), "name", _MARK),
    "an operator set": lambda model: setattr(model.opset_import.add(version=1), "domain", _MARK),
    "metadata": lambda model: model.metadata_props.add(key=_MARK, value=_MARK),
    "the producer": lambda model: setattr(model, "producer_name", _MARK),
    "a quantization": lambda model: setattr(model.graph.quantization_annotation.add(), "tensor_name", _MARK),
    "a function": lambda model: model.functions.append(
        helper.make_function("own", _MARK, ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], model.opset_import)
    ),
}


def _rename(model: onnx.ModelProto, name: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [_MARK if entry == name else entry for entry in names]
    for entry in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        entry.name = _MARK if entry.name == name else entry.name


@pytest.mark.parametrize("verify", [[], ["--no-verify"], ["--dry-run", "-v"]])
@pytest.mark.parametrize("place", PLACES_OF_TEXT)
def test_names_that_are_no_text(tmp_path, capsys, place, verify):
    model = conv_bn()
    PLACES_OF_TEXT[place](model)
    data = model.SerializeToString().replace(_MARK.encode(), b"\xff\xfe\x80\xdf(\xc3")
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    out = [] if "--dry-run" in verify else ["-o", str(tmp_path / "out.onnx")]
    code = main([str(path), *out, "--report", str(tmp_path / "r.html"), *verify])
    said = capsys.readouterr().err
    assert code == (0 if place in NAMES_OF_NOTHING else 3), said
    if code:
        assert said.count("\n") == 1
        assert not (tmp_path / "out.onnx").exists()


NAMES = [
    "\x1b[31m\x1b]0;gone\x07",
    "a\nb\r\n",
    "[bold red]x[/]",
    "<script>alert(1)</script>",
    "--><!--",
    "\u202egnp",
    "%s{0}",
    "\x00\x7f\x9b",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_steer_a_terminal_or_a_page(tmp_path, capsys, name):
    model = conv_bn()
    norm_of(model).name = name
    model.graph.node[0].name = f"{name} of conv"
    path = write(model, tmp_path / "model.onnx")
    assert (
        main([str(path), "--dry-run", "-v", "--report", str(tmp_path / "r.html"), "--report", str(tmp_path / "r.json")])
        == 0
    )
    said = "".join(capsys.readouterr())
    assert all(char.isprintable() or char == "\n" for char in said)
    page = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in page
    assert all(char.isprintable() or char == "\n" for char in page)


@pytest.mark.parametrize(
    "name", ["--><!--.onnx", "<b>&.onnx", "a\nb.onnx", "\udcff\udc80.onnx", "[red].onnx", "-v.onnx"]
)
def test_names_of_files_that_steer_a_page(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(conv_bn().SerializeToString())
    assert main(["--report", "r.html", "--report", "r.json", "--no-verify", "-o", "out.onnx", "--", name]) == 0
    said = "".join(capsys.readouterr())
    assert all(char.isprintable() or char == "\n" for char in said)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "--><!--" not in page
    assert "<b>&" not in page
    (tmp_path / "r.json").read_text(encoding="utf-8")


def test_a_report_of_a_file_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "--><!--\udcff.onnx").write_bytes(b"")
    assert main(["--report", "r.html", "--report", "r.json", "--", "--><!--\udcff.onnx"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    for report in tmp_path.glob("r.*"):
        assert "--><!--" not in report.read_text(encoding="utf-8") or report.suffix == ".json"


def test_a_body_and_a_list_of_bodies_in_one_attribute(tmp_path):
    """Found by fuzzing: an internal error."""
    inner = conv_bn().graph
    body = helper.make_graph(list(inner.node), "body", [], list(inner.output), list(inner.initializer))
    flag = numpy_helper.from_array(np.array(True), "flag")
    choice = helper.make_node("If", ["flag"], ["z"], then_branch=body, else_branch=body)
    output = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([choice], "g", list(inner.input), [output], [flag])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    model.graph.node[0].attribute[0].graphs.add().CopyFrom(body)
    fold(write(model, tmp_path / "m.onnx"))


def test_a_graph_without_outputs_is_refused(tmp_path):
    """Found by fuzzing: all of it folded away, and onnxruntime could not load what was left."""
    model = conv_bn()
    del model.graph.output[:]
    path = write(model, tmp_path / "m.onnx")
    with refused(tmp_path, "no outputs", ModelFormatError):
        fold(path)
