"""Small ONNX models with a tensor of a kind of one's choice, and files that must not be read."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.errors import BnfoldError
from bnfold.report.readable import Report
from tests.networks import Network

SECRET = np.frombuffer(b"never in output!" * 9, np.float32)
"""36 numbers: a weight of shape [4, 1, 3, 3] that no file but the stolen one holds."""
WEIGHT = [4, 1, 3, 3]
_OPSETS = [helper.make_opsetid("", 17)]


def conv_bn() -> onnx.ModelProto:
    """x -> Conv of weight w -> BatchNormalization -> y, all data inside."""
    network = Network()
    network.weight("w", *WEIGHT)
    network.node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1])
    network.batch_norm("c", "y", 4)
    return network.model({"x": ["N", 1, 5, 5]}, {"y": ["N", 4, 5, 5]})


def external(name: str, location: str) -> onnx.TensorProto:
    """A weight whose data lies at a location."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=WEIGHT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(SECRET.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """The weight of the convolution itself."""
    model.graph.initializer[0].CopyFrom(tensor)
    model.graph.initializer[0].name = "w"


def in_constant_node(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """The weight, made by a Constant."""
    del model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))


def in_body(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """An initializer in both branches of an If behind the graph."""
    branch = helper.make_graph(
        [helper.make_node("Conv", ["y", tensor.name], ["b"], group=4, pads=[1, 1, 1, 1])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [tensor],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    model.graph.node.append(helper.make_node("If", ["flag"], ["z"], then_branch=branch, else_branch=branch))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4, 5, 5]))


def in_function(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """A Constant in a function of the model."""
    nodes = [
        helper.make_node("Constant", [], ["k"], value=tensor),
        helper.make_node("Conv", ["a", "k"], ["b"], group=4, pads=[1, 1, 1, 1]),
    ]
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], nodes, _OPSETS))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("F", ["y"], ["z"], domain="own"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4, 5, 5]))


def in_sparse(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """The values of a sparse initializer that nobody reads."""
    indices = numpy_helper.from_array(np.arange(SECRET.size), "s_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [SECRET.size]))


def in_training_info(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """An initializer of the training part."""
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES: list[Callable[[onnx.ModelProto, onnx.TensorProto], None]] = [
    in_initializer,
    in_constant_node,
    in_body,
    in_function,
    in_sparse,
    in_training_info,
]


@contextmanager
def refused(folder: Path, match: str, error: type[BnfoldError] = BnfoldError) -> Iterator[None]:
    """A call that fails with one line and leaves every file as it is."""
    before = snapshot_of_files(folder)
    with pytest.raises(error, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert snapshot_of_files(folder) == before


def snapshot_of_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes; links, pipes and folders without."""
    plain = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    others = {str(path): b"" for path in folder.rglob("*") if path not in plain}
    return others | {str(path): path.read_bytes() for path in plain}


def write(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model into a folder that may not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def fold(path: Path) -> Report:
    """Fold a file beside itself, without a check."""
    return bnfold.fold_file(path, path.with_name("out.onnx"), bnfold.FoldOptions(verify=None))


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
