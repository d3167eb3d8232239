"""Large weights of a file stay in its bytes until it is written, and nobody can tell from the result."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from onnx import numpy_helper

import bnfold
from bnfold.errors import ModelFormatError
from bnfold.frontends.onnx.file import open_model
from bnfold.frontends.onnx.large_weights import LargeWeights
from bnfold.intake.protobuf_fields import message
from tests.networks import Network
from tests.weights import lists_of_weights

OPTIONS = bnfold.FoldOptions(verify=None)


def of_weights(*weights):
    """A model of any weights: what it computes does not matter."""
    model = onnx.ModelProto(ir_version=8, producer_name="someone")
    model.opset_import.add(version=17)
    model.graph.name, model.graph.doc_string = "weights", "what it is"
    for number, values in enumerate(weights):
        tensor = numpy_helper.from_array(values, f"w{number}")
        tensor.doc_string = "a weight"
        model.graph.initializer.append(tensor)
        model.graph.node.add(op_type="Identity", input=[f"w{number}"], output=[f"y{number}"])
        model.graph.output.add(name=f"y{number}")
    return model


def written(file):
    """What comes out of a file whose weights were left where they are."""
    weights = LargeWeights(file)
    return weights, b"".join(weights.serialised(onnx.ModelProto.FromString(weights.bare)))


@given(lists_of_weights())
def test_what_is_written_is_what_protobuf_would_write(held):
    model = of_weights(*held)
    large, data = written(model.SerializeToString())
    assert data == model.SerializeToString(deterministic=True)
    assert len(large.bare) <= len(data)


LARGE = np.arange(2.0**15, dtype=np.float32)


@pytest.mark.parametrize("number", [3, 4, 6, 100])
def test_fields_that_onnx_does_not_know_stay_where_protobuf_puts_them(number):
    strange = message(number, b"strange")
    tensor = numpy_helper.from_array(LARGE, "w0").SerializeToString() + message(100, b"strange")
    graph = message(1, onnx.NodeProto(op_type="Identity", input=["w0"], output=["y"]).SerializeToString())
    graph += message(2, b"g") + message(5, tensor) + strange
    file = onnx.ModelProto(ir_version=8).SerializeToString() + message(7, graph)
    weights, data = written(file)
    assert len(weights.bare) < 10_000
    assert onnx.ModelProto.FromString(data) == onnx.ModelProto.FromString(file)
    assert onnx.ModelProto.FromString(data).graph.initializer[0].raw_data == LARGE.tobytes()


def test_a_file_cannot_forge_a_mark():
    model = of_weights(LARGE, LARGE)
    forged = model.graph.initializer[0]
    forged.ClearField("raw_data")
    forged.external_data.add(key="bnfold.0123456789abcdef", value="0")
    weights, data = written(model.SerializeToString())
    parsed = onnx.ModelProto.FromString(weights.bare)
    assert [weights.find(tensor) is None for tensor in parsed.graph.initializer] == [True, False]
    assert data == model.SerializeToString(deterministic=True)


def network():
    net = Network()
    convolved = net.node("Conv", ["x", net.weight("w", 64, 64, 3, 3)], "c")
    net.batch_norm(convolved, "n", 64)
    behind = net.node("Conv", ["n", net.weight("untouched", 64, 64, 3, 3)], "d")
    return net.model({"x": [1, 64, 8, 8]}, [net.node("Relu", [behind], "y")])


def test_a_folded_file_is_the_folded_model(tmp_path):
    model = network()
    onnx.save(model, tmp_path / "m.onnx")
    assert open_model(tmp_path / "m.onnx").model.ByteSize() < 10_000
    report = bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "out.onnx", OPTIONS)
    assert report.batch_norms.folded == 1
    expected = bnfold.fold(model, verify=None).model
    assert (tmp_path / "out.onnx").read_bytes() == expected.SerializeToString(deterministic=True)
    assert bnfold.fold(tmp_path / "m.onnx", verify=None).model == expected


def test_a_file_with_nothing_to_fold_is_copied_however_it_was_spelled(tmp_path):
    model = of_weights(LARGE)
    graph = message(7, model.graph.SerializeToString())
    model.ClearField("graph")
    file = graph + model.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(file)
    assert onnx.ModelProto.FromString(file).SerializeToString() != file
    bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "out.onnx", OPTIONS)
    assert (tmp_path / "out.onnx").read_bytes() == file


def test_a_weight_of_the_wrong_size_is_damage(tmp_path):
    model = of_weights(LARGE)
    model.graph.initializer[0].dims[:] = [7]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match="the file is damaged"):
        bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "out.onnx", OPTIONS)


def test_mapped_files_are_let_go_while_they_are_read(tmp_path, monkeypatch):
    """What counts as memory of the process does not grow with the file."""
    net, last = Network(), "x"
    for number in range(4):
        last = net.node("Conv", [last, net.weight(f"w{number}", 64, 64 if number else 3, 3, 3)], f"c{number}")
        last = net.batch_norm(last, f"n{number}", 64)
    model = net.model({"x": [1, 3, 16, 16]}, [last])
    expected = {tensor.name: tensor.raw_data for tensor in bnfold.fold(model, verify=None).model.graph.initializer}
    onnx.save(model, tmp_path / "inside.onnx")
    onnx.save(model, tmp_path / "outside.onnx", save_as_external_data=True, location="data", size_threshold=0)

    gone = []
    monkeypatch.setattr("bnfold.frontends.onnx.storage._MOST_LENT", 2**16)
    for module in ("model_file", "data_folder"):
        real = __import__(f"bnfold.intake.{module}", fromlist=["let_go"]).let_go
        monkeypatch.setattr(
            f"bnfold.intake.{module}.let_go", lambda mapped, real=real: (gone.append(mapped), real(mapped))
        )
    for name in ("inside", "outside"):
        gone.clear()
        bnfold.fold_file(tmp_path / f"{name}.onnx", tmp_path / f"{name}.out.onnx", OPTIONS)
        assert len(gone) >= 4
        got = onnx.load(tmp_path / f"{name}.out.onnx").graph.initializer
        assert {tensor.name: tensor.raw_data for tensor in got} == expected


def test_a_model_that_is_mapped_may_be_written_over(tmp_path):
    onnx.save(network(), tmp_path / "m.onnx")
    bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "other.onnx", OPTIONS)
    bnfold.fold_file(tmp_path / "m.onnx", tmp_path / "m.onnx", OPTIONS, in_place=True)
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()
