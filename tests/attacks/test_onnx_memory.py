"""Small files that ask for much: refused before memory is taken, with one line."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.errors import UncheckedError
from bnfold.guard import Limits
from bnfold.verifier import VerifyOptions
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run import feeding, memory
from tests.attacks.onnx_models import conv_bn, refused, write
from tests.networks import Network

HUGE = 2**43
MOST = 2**30
"""Bytes beyond what the libraries take."""


def scaled_by(*nodes: onnx.NodeProto, **stored: np.ndarray) -> onnx.ModelProto:
    """conv_bn whose BatchNormalization has the scale that some nodes make."""
    model = conv_bn()
    for name, values in stored.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    for place, node in enumerate(nodes):
        model.graph.node.insert(1 + place, node)
    norm = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    norm.input[1] = nodes[-1].output[0]
    return model


def node(op_type: str, inputs: str, output: str = "huge", **attributes) -> onnx.NodeProto:
    return helper.make_node(op_type, [name.strip("_") for name in inputs.split()], [output], **attributes)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def doubled(times: int, op_type: str = "Concat") -> onnx.ModelProto:
    """A tensor that is doubled again and again."""
    nodes = [node(op_type, f"d{n} d{n}", f"d{n + 1}", axis=0) for n in range(times)]
    return scaled_by(*nodes, d0=np.ones(4, np.float32))


ONE = np.ones(1, np.float32)
CONSTANTS = {
    "Expand": scaled_by(node("Expand", "one size"), one=ONE, size=ints(HUGE)),
    "Expand in two dimensions": scaled_by(node("Expand", "one size"), one=ONE, size=ints(2**32, 2**32)),
    "ConstantOfShape": scaled_by(node("ConstantOfShape", "size"), size=ints(HUGE)),
    "ConstantOfShape of bytes": scaled_by(
        node("ConstantOfShape", "size", "b", value=helper.make_tensor("v", TensorProto.UINT8, [1], [1])),
        node("Cast", "b", to=TensorProto.FLOAT),
        size=ints(HUGE),
    ),
    "ConstantOfShape of negative sizes": scaled_by(node("ConstantOfShape", "size"), size=ints(-4)),
    "ConstantOfShape, transposed": scaled_by(
        node("ConstantOfShape", "size", "t"), node("Transpose", "t"), size=ints(2**20, 2**20)
    ),
    "ConstantOfShape, reshaped": scaled_by(
        node("ConstantOfShape", "size", "t"), node("Reshape", "t flat"), size=ints(2**20, 2**20), flat=ints(-1)
    ),
    "Tile": scaled_by(node("Tile", "one size"), one=ONE, size=ints(HUGE)),
    "Range": scaled_by(node("Range", "zero end step"), zero=np.float32(0), end=np.float32(1e12), step=np.float32(1)),
    "Pad": scaled_by(node("Pad", "one size"), one=ONE, size=ints(0, HUGE)),
    "Resize": scaled_by(node("Resize", "image _ _ size"), image=np.ones((1, 1, 4), np.float32), size=ints(1, 1, HUGE)),
    "OneHot": scaled_by(
        node("OneHot", "index depth values"), index=ints(0), depth=ints(HUGE), values=np.array([0, 1], np.float32)
    ),
    "EyeLike": scaled_by(node("ConstantOfShape", "size", "t"), node("EyeLike", "t", dtype=1), size=ints(2**21, 2**21)),
    "Concat of itself": doubled(30),
    "Concat of itself, 60 times": doubled(60),
    "Gather of one row": scaled_by(
        node("ConstantOfShape", "size", "index", value=helper.make_tensor("v", TensorProto.INT64, [1], [0])),
        node("Gather", "one index"),
        one=ONE,
        size=ints(HUGE),
    ),
    "an outer product": scaled_by(
        node("ConstantOfShape", "rows", "a"),
        node("ConstantOfShape", "columns", "b"),
        node("Mul", "a b"),
        rows=ints(2**22, 1),
        columns=ints(1, 2**22),
    ),
}


def read_as(shape: list[int]) -> onnx.ModelProto:
    """conv_bn with an input of some shape."""
    network = Network()
    network.weight("w", 4, 1, 3, 3)
    network.node("Conv", ["x", "w"], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": ["N", 1, 5, 5]}, {"y": ["N", 4, 3, 3]})
    del model.graph.input[0].type.tensor_type.shape.dim[:], model.graph.output[0].type.tensor_type.shape.dim[:]
    for length in shape:
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=length)
    return model


def blown_up(*nodes: onnx.NodeProto, **stored: np.ndarray) -> onnx.ModelProto:
    """conv_bn, behind which its output is made larger."""
    model = conv_bn()
    for name, values in stored.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    model.graph.node.extend(nodes)
    model.graph.output.append(helper.make_tensor_value_info("huge", TensorProto.FLOAT, None))
    return model


def sparse(length: int) -> onnx.ModelProto:
    """conv_bn with a sparse weight of one number."""
    model = blown_up(node("Add", "y s"))
    tensor = helper.make_sparse_tensor(
        numpy_helper.from_array(ONE, "s"), numpy_helper.from_array(ints(0), "i"), [length]
    )
    model.graph.sparse_initializer.append(tensor)
    return model


RUNS = {
    "a batch of 2^62": read_as([2**62, 1, 5, 5]),
    "an image of 2^31": read_as([1, 1, 2**31, 2**31]),
    "an image of 2^17": read_as([1, 1, 2**17, 2**17]),
    "an image without places of 2^62 rows": read_as([1, 1, 2**62, 0]),
    "Expand": blown_up(node("Expand", "y size"), size=ints(2**30, 1, 1, 1, 1)),
    "Tile": blown_up(node("Tile", "y size"), size=ints(1, 1, 2**20, 2**20)),
    "Pad": blown_up(node("Pad", "y size"), size=ints(0, 0, 0, 0, 0, 0, 2**30, 2**30)),
    "Resize": blown_up(node("Resize", "y _ scale"), scale=np.array([1, 1, 1e6, 1e6], np.float32)),
    "Concat": blown_up(
        *(node("Concat", f"d{n} d{n}", f"d{n + 1}", axis=2) for n in range(1, 40)),
        node("Identity", "y", "d1"),
        node("Identity", "d40"),
    ),
    "constants of no use": blown_up(
        node("ConstantOfShape", "size", "many"),
        node("ReduceSum", "many", "one"),
        node("Add", "y one"),
        size=ints(2**34),
    ),
    "a sparse weight": sparse(2**40),
}
RUNS["Concat"].graph.node.insert(2, RUNS["Concat"].graph.node[-2])
del RUNS["Concat"].graph.node[-2]


LITTLE = Limits(memory=MOST)
"""What does not refuse by itself dies of this, and says so in other words."""


@pytest.mark.parametrize("kind", CONSTANTS)
def test_constants_that_a_file_only_describes_are_not_made(tmp_path, kind):
    source = write(CONSTANTS[kind], tmp_path / "model.onnx")
    options = bnfold.FoldOptions(verify=None)
    report = bnfold.fold_file(source, tmp_path / "out.onnx", options, limits=LITTLE)
    assert report.batch_norms.kept == 1


@pytest.mark.parametrize("kind", RUNS)
def test_what_a_run_asks_for_is_known_before_it(tmp_path, kind):
    source = write(RUNS[kind], tmp_path / "model.onnx")
    with refused(tmp_path, "was not run: .* GiB, more than", UncheckedError):
        bnfold.fold_file(source, tmp_path / "out.onnx", bnfold.FoldOptions(), limits=LITTLE)


def test_constants_take_a_part_of_the_memory_alone():
    """Every session of a check makes them once more, and keeps them."""
    model = blown_up(
        node("ConstantOfShape", "size", "many"),
        node("ReduceSum", "many", "one"),
        node("Add", "y one"),
        size=ints(2**28 + 2**20),
    )
    demand = memory.Demand(Structure(Model.read("the original", model.SerializeToString())), 0)
    with pytest.raises(UncheckedError, match="the constants that it makes take 1 GiB, more than 512 MiB"):
        demand.require_a_run({"x": (1, 1, 5, 5)})


def test_smaller_sizes_are_tried_where_the_first_ones_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_LEAST", 300_000)
    network = Network()
    network.weight("w", 4, 3, 3, 3)
    network.node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1])
    network.batch_norm("c", "y", 4)
    path = write(network.model({"x": ["N", 3, "H", "W"]}, ["y"]), tmp_path / "m.onnx")
    fed = []
    draw = feeding.draw
    monkeypatch.setattr(
        feeding,
        "draw",
        lambda ports, setting, *more, **named: fed.append(setting) or draw(ports, setting, *more, **named),
    )
    assert bnfold.fold_file(
        path, tmp_path / "out.onnx", bnfold.FoldOptions(verify=VerifyOptions(memory=1))
    ).verification.passed
    assert fed[0].shapes["x"] == (1, 3, 32, 32)


def test_large_models_that_are_meant_so_run(tmp_path):
    """64 MiB in a tensor, and constants that the graph makes of others."""
    model = blown_up(node("Expand", "y size"), size=ints(2**14, 1, 4, 5, 5))
    report = bnfold.fold_file(write(model, tmp_path / "m.onnx"), tmp_path / "out.onnx", bnfold.FoldOptions())
    assert report.verification.passed
