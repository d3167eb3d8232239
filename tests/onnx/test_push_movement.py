"""x -- affine -- data movement -- Conv, Gemm or MatMul -- y: the parameters move down as the data does."""

import numpy as np
import pytest

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_stuck, conv, step, steps, then_conv

# An image of 4 channels, 6 by 4.
MOVES = [
    step("Reshape", [2, 4, 24]),
    step("Reshape", [0, 4, -1]),
    step("Reshape", [2, 96]),
    step("Reshape", [-1, 96]),
    step("Reshape", [0, -1], opset=7),
    step("Flatten"),
    step("Flatten", axis=-3, opset=11),
    step("Flatten", axis=1, opset=7),
    step("Unsqueeze", [4]),
    step("Expand", [1, 1, 6, 4]),
    step("Slice", [1], [3], [1]),
    step("Slice", [3], [-9], [1], [-1]),
    step("Slice", [-1], [np.iinfo(np.int64).min + 1], [-3], [-2]),
    step("Slice", [0, 1], [100, 100], [-1, 2], [1, 2]),
    step("Slice", [0, 1, 1, 0], [2, 4, 5, 4]),
    step("Slice", starts=[1, -2], ends=[9, 9], axes=[1, 3], opset=9),
    step("Gather", [2], axis=1),
    step("Gather", 1, axis=3),
    step("Gather", -1, axis=-2),
    step("SpaceToDepth", blocksize=2),
    step("SpaceToDepth", blocksize=2, opset=7),
    step("Identity"),
    step("Dropout"),
]


@steps(*MOVES)
@pytest.mark.parametrize("kind", KINDS)
def test_movement(step, kind):
    model = then_conv([step], kind)
    assert_moves(model, step.op_type, model.graph.node[-1].op_type, direction="downstream")


@steps(
    step("Reshape", [2, 2, 48]),
    step("Reshape", [0, 2, 2, 6, 4]),
    step("DepthToSpace", blocksize=2),
    step("DepthToSpace", blocksize=2, mode="CRD"),
    step("Transpose", perm=[0, 2, 1, 3]),
)
@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_become_places_are_no_input_channels(step, kind):
    assert_stuck(then_conv([step], kind), Reason.WRONG_AXIS, "normal", "v0", "y", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
@steps(step("Flatten"), step("Reshape", [0, -1]), step("Reshape", [-1, 96]), step("Flatten", opset=9))
def test_flatten_of_an_image_before_a_linear_layer(step, batch, kind):
    model = then_conv([step], kind, image=(batch, 4, 6, 4))
    assert_moves(model, step.op_type, "Gemm", direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
def test_pooled_and_flattened(batch, kind):
    """DenseNet, ResNet v2: BatchNorm -- GlobalAveragePool -- Flatten -- Gemm."""
    chain = [step("GlobalAveragePool"), step("Flatten")]
    model = then_conv(chain, kind, image=(batch, 4, "height", "width"))
    shapes = {"x": (2, 4, 6, 4)}
    assert_moves(model, "GlobalAveragePool", "Flatten", "Gemm", direction="downstream", shapes=shapes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("perm", [None, [0, 2, 3, 1], [2, 0, 3, 1], [0, 3, 2, 1]], ids=str)
@pytest.mark.parametrize("opset", [8, 17])
def test_transposed_before_a_product(perm, kind, opset):
    """The channels meet the rows of the weight where they come last."""
    network = Network(opset=opset)
    affine(network, "x", "normal", kind, (2, 4, 6, 4))
    network.node("Transpose", ["normal"], "v0", **({} if perm is None else {"perm": perm}))
    network.node("MatMul", ["v0", network.weight("w", 4 if perm else 2, 3)], "product")
    network.node("Add", ["product", network.weight("b", 3)], "y")
    model = network.model({"x": (2, 4, 6, 4)}, ["y"])
    folded = fold_and_compare(model)
    kept = {entry.node: entry.refusals[1] for entry in folded.kept}
    if perm is None:
        assert (kept["normal_node"].reason, kept["normal_node"].path[1:]) == (
            Reason.WRONG_AXIS,
            ("v0_node", "product_node"),
        )
    else:
        assert operators(folded.model) == ["Transpose", "MatMul", "Add"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(6, 4), ("height", "width")], ids=str)
def test_space_to_depth_of_a_known_size_only(size, kind):
    """YOLOv5's focus: the lengths are needed to see what goes where."""
    model = then_conv([step("SpaceToDepth", blocksize=2)], kind, image=(2, 4, *size))
    if size == (6, 4):
        assert_moves(model, "SpaceToDepth", "Conv")
    else:
        assert_stuck(model, Reason.UNKNOWN_SHAPE, "normal", "v0", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_channels_mixed(kind):
    network = Network()
    affine(network, "x", "normal", kind, (2, 6))
    network.node("Reshape", ["normal", network.constant("target", [3, 4], "int64")], "v0")
    network.node("Gemm", ["v0", network.weight("w", 4, 5)], "y")
    assert_stuck(network.model({"x": (2, 6)}, ["y"]), Reason.WRONG_AXIS, "normal", "v0", "y", downstream=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rest", [96, -1])
def test_a_shape_query_beside_the_path(rest, kind):
    """PyTorch's view(x.size(0), -1): the reader of the shape does not hold the BatchNorm back, on either side."""
    network = Network()
    network.node("Sigmoid", ["x"], "r")
    affine(network, "r", "normal", kind, (2, 4, 6, 4))
    network.node("Shape", ["normal"], "shape")
    network.node("Gather", ["shape", network.constant("zero", 0, "int64")], "length", axis=0)
    network.node("Unsqueeze", ["length", network.constant("axes", [0], "int64")], "first")
    network.node("Concat", ["first", network.constant("rest", [rest], "int64")], "target", axis=0)
    network.node("Reshape", ["normal", "target"], "v0")
    network.node("Gemm", ["v0", network.weight("w", 96, 3), network.weight("b", 3)], "y")
    model = network.model({"x": ("batch", 4, 6, 4)}, {"y": ("batch", 3)})
    expected = ["Sigmoid", "Shape", "Gather", "Unsqueeze", "Concat", "Reshape", "Gemm"]
    assert_moves(model, *expected, direction="downstream")


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_query_on_the_way_up(kind):
    network = Network()
    conv(network, "x", "start", 3, 4)
    network.node("Shape", ["start"], "shape")
    network.node("Reshape", ["start", "shape"], "v0")
    affine(network, "v0", "y", kind, (2, 4, 6, 4))
    network.node("Size", ["v0"], "size")
    network.node("Cast", ["size"], "count", to=1)
    model = network.model({"x": (2, 3, 6, 4)}, ["y", "count"])
    assert_moves(model, "Conv", "Shape", "Reshape", "Size", "Cast", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@steps(step("Expand", [3, 1, 1, 1, 1]))
def test_expand_to_a_higher_rank(step, kind):
    """The channels move to axis 2, and a reshape brings them back to axis 1."""
    chain = [step, type(step)("Reshape", ([6, 4, 6, 4],))]
    assert_moves(then_conv(chain, kind), "Expand", "Reshape", "Conv", direction="downstream")


@pytest.mark.parametrize("step", [-3, -2, -1, 1, 2, 3])
@pytest.mark.parametrize("start", [-7, -5, -4, -1, 0, 2, 3, 4, 7])
def test_slices_are_clamped_as_onnx_says(start, step):
    """Going backwards from far below zero leaves the first place, where Python leaves none."""
    for stop in (-9, -4, -1, 0, 2, 4, 9):
        first, last = (bound + 4 if bound < 0 else bound for bound in (start, stop))
        backwards = step < 0
        first = min(max(first, 0), 3 if backwards else 4)
        last = min(max(last, -1 if backwards else 0), 3 if backwards else 4)
        length = len(range(first, last, step))
        if length == 0:
            continue
        network = Network()
        affine(network, "x", "normal", "BN", (2, 4))
        bounds = [network.constant(f"bound{i}", [value], "int64") for i, value in enumerate((start, stop, 1, step))]
        network.node("Slice", ["normal", *bounds], "v0")
        network.node("Gemm", ["v0", network.weight("w", length, 3)], "y")
        folded = fold_and_compare(network.model({"x": (2, 4)}, {"y": (2, 3)}, check=False))
        assert folded.batch_norms_left == 0
