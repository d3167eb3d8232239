"""Data files are found in the bytes of real ONNX files, however they were written."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bnfold.writing.locations import data_files_of


def external(location, name="w"):
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def save(path, *tensors, nodes=()):
    onnx.save(helper.make_model(helper.make_graph(list(nodes), "g", [], [], list(tensors))), path)
    return path


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "é.bin", "n" * 127, "n" * 128, "n" * 200, "location"])
def test_names_of_any_length(tmp_path, location):
    model = save(tmp_path / "m.onnx", external(location))
    assert data_files_of(model) == {tmp_path / location}


def test_every_place_for_tensors(tmp_path):
    body = helper.make_graph([helper.make_node("Constant", [], ["c"], value=external("body"))], "b", [], [])
    nodes = [helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)]
    model = save(tmp_path / "m.onnx", external("a"), external("b", "v"), external("./a", "u"), nodes=nodes)
    assert data_files_of(model) == {tmp_path / name for name in ("a", "b", "body")}


def test_a_model_without(tmp_path):
    words = numpy_helper.from_array(np.frombuffer(b"location\x12\x05w.bin", np.uint8), "location")
    assert data_files_of(save(tmp_path / "m.onnx", words)) == set()


@pytest.mark.parametrize(
    "content", [b"", b"\n\x08location\x12", b"\n\x08location\x12\xff", b"\n\x08location\x12\x05ab"]
)
def test_what_is_cut_off_is_no_error(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    assert data_files_of(tmp_path / "m.onnx") <= {tmp_path / "ab"}


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe"):
        assert data_files_of(path) == set()


ENTRY = external("spelled").external_data[0].SerializeToString()
SPELLED = b"\x6a" + bytes([len(ENTRY)]) + ENTRY


def large(name):
    """A weight whose numbers happen to spell an entry of external data."""
    data = np.frombuffer(SPELLED + b"\0" * (2**17 - len(SPELLED)), np.uint8)
    return numpy_helper.from_array(data, name)


def test_what_lies_between_large_weights_is_found(tmp_path):
    model = save(tmp_path / "m.onnx", external("a"), large("v"), external("b", "u"), large("t"), external("c", "s"))
    assert data_files_of(model) == {tmp_path / name for name in "abc"}


def test_of_what_is_no_message_every_byte_is_looked_at(tmp_path):
    model = save(tmp_path / "m.onnx", external("a"), large("v"), external("b", "u"))
    whole = model.read_bytes()
    for broken in (b"\xff" + whole, whole[:-3], whole + b"\x0b"):
        model.write_bytes(broken)
        assert data_files_of(model) >= {tmp_path / "a", tmp_path / "b"}


def test_many_small_fields_before_a_large_weight(tmp_path):
    nodes = [helper.make_node("Relu", [f"x{number}"], [f"x{number + 1}"]) for number in range(3000)]
    model = save(tmp_path / "m.onnx", large("v"), external("a"), nodes=nodes)
    assert tmp_path / "a" in data_files_of(model)
