"""x -- Conv or MatMul -- data movement -- affine -- y: the parameters move up as the data would move back."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.kernels import needs_newer_kernels
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.paths import KINDS, affine, assert_moves, assert_stuck, conv_then, shape_of, step, steps

# Behind a convolution with 4 channels and an image of 6 by 4.
MOVES = [
    step("Reshape", [2, 4, 24]),
    step("Reshape", [0, 4, -1]),
    step("Reshape", [0, 2, 2, 6, 4]),
    step("Reshape", [2, 2, 48]),
    step("Unsqueeze", [4]),
    step("Unsqueeze", axes=[2, 5], opset=11),
    step("Expand", [1, 1, 6, 4]),
    step("Expand", [2, 4, 6, 4]),
    step("Slice", [1], [3], [1]),
    step("Slice", [3], [-9], [1], [-1]),
    step("Slice", [-1], [np.iinfo(np.int64).min + 1], [-3], [-2]),
    step("Slice", [0, 1], [100, 100], [-1, 2], [1, 2]),
    step("Slice", [0, 1, 1, 0], [2, 4, 5, 4]),
    step("Slice", [3], [100], [1]),
    step("Slice", starts=[1, -2], ends=[9, 9], axes=[1, 3], opset=9),
    step("Gather", [2], axis=2),
    step("Gather", 1, axis=3),
    step("Gather", -1, axis=-2),
    step("Gather", [[3]], axis=2),
    step("DepthToSpace", blocksize=2),
    step("DepthToSpace", blocksize=2, mode="CRD"),
    step("DepthToSpace", blocksize=2, opset=7),
    step("Identity"),
    step("Dropout"),
    step("Dropout", 0.5),
    step("Dropout", 0.5, opset=12),
    step("Cast", to=TensorProto.FLOAT),
]


# Axis 1 of the result mixes channels with places.
MIXTURES = [
    step("Reshape", [2, 8, 12]),
    step("Reshape", [2, 96]),
    step("Reshape", [0, -1], opset=7),
    step("Flatten"),
    step("Flatten", axis=-3, opset=11),
    step("Flatten", axis=1, opset=7),
]


@steps(*MOVES)
@pytest.mark.parametrize("kind", KINDS)
def test_movement(step, kind):
    assert_moves(conv_then([step], kind), "Conv", step.op_type, direction="upstream")


@steps(*MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_channels_mixed_with_places_are_no_output_channels(step, kind):
    model = conv_then([step], kind)
    assert_stuck(model, Reason.WRONG_AXIS, "y", "v0", "start", evidence="the output channels are on axis 1")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
@steps(
    step("Flatten"),
    step("Flatten", opset=9),
    step("Reshape", [0, -1]),
    step("Reshape", [-1, 4]),
    step("Reshape", [-1, 4], opset=7),
    step("Squeeze", [2, 3]),
    step("Squeeze", [-1, -2]),
    step("Squeeze", axes=[2, 3], opset=11),
)
def test_flatten_of_one_place(step, batch, kind):
    """Conv -- GlobalAveragePool -- Flatten -- BatchNorm1d, with any batch."""
    network = Network(opset=step.opset)
    network.node("Conv", ["x", network.weight("weight", 4, 3, 1, 1)], "start")
    network.node("GlobalAveragePool", ["start"], "pooled")
    step.add(network, "pooled", "v0")
    affine(network, "v0", "y", kind, (2, 4))
    model = network.model({"x": (batch, 3, 6, 4)}, ["y"])
    assert_moves(model, "Conv", "GlobalAveragePool", step.op_type, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
@steps(step("Flatten"), step("Reshape", [0, -1]), step("Reshape", [-1, 4]))
def test_a_convolution_that_covers_the_image(step, batch, kind):
    """Conv over the whole image -- Flatten -- BatchNorm1d: nothing but channels is left."""
    network = Network()
    network.node("Conv", ["x", network.weight("weight", 4, 3, 6, 4)], "start")
    step.add(network, "start", "v0")
    affine(network, "v0", "y", kind, (2, 4))
    assert_moves(network.model({"x": (batch, 3, 6, 4)}, ["y"]), "Conv", step.op_type, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
@pytest.mark.parametrize("target", [[-1, 4], [0, 0, 2, 2], [0, 5, 2, 2]], ids=str)
def test_rows_and_heads(target, batch, kind):
    """LeViT: MatMul -- Reshape(-1, channels) -- BatchNorm -- and a split of the channels into heads behind."""
    network = Network()
    network.node("MatMul", ["x", network.weight("weight", 3, 4)], "start")
    network.node("Reshape", ["start", network.constant("target", target, "int64")], "v0")
    rank = len(target)
    affine(
        network,
        "v0",
        "y",
        kind if rank == 2 else kind.replace("BN", "Mul"),
        (2,) * (rank - 1) + ((4, 2)[rank > 2],),
        axis=rank - 1,
    )
    expected = ["MatMul", "Reshape"] if kind != "Add" and (rank > 2 or kind == "Mul") else ["MatMul", "Add", "Reshape"]
    model = network.model({"x": (batch, 5, 3)}, ["y"])
    if kind == "Add":
        assert_stuck(model, Reason.NO_BIAS, "y", "start", evidence="MatMul has no bias")
    else:
        assert_moves(model, *expected, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
@pytest.mark.parametrize("opset", [7, 13, 17, 21])
def test_layout_changes_of_channels_last(kind, batch, opset):
    """TensorFlow's exporter: an NHWC tensor is transposed around the convolution."""
    network = Network(opset=opset)
    network.node("Transpose", ["x"], "first", perm=[0, 3, 1, 2])
    network.node("Conv", ["first", network.weight("w", 4, 3, 1, 1)], "start")
    network.node("Transpose", ["start"], "v0", perm=[0, 2, 3, 1])
    kind = kind.replace("BN", "Mul")
    affine(network, "v0", "y", kind, (2, 6, 5, 4), axis=3)
    assert_moves(network.model({"x": (batch, 6, 5, 3)}, ["y"]), "Transpose", "Conv", "Transpose", direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("perm", [None, [0, 2, 1], [2, 1, 0]], ids=str)
def test_transposed_products(kind, perm):
    """The channels of a MatMul come to axis 1, or its rows do, which it cannot scale."""
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 3, 4)], "start")
    network.node("Transpose", ["start"], "v0", **({} if perm is None else {"perm": perm}))
    affine(network, "v0", "y", kind, shape_of(network, {"x": (2, 5, 3)}, "v0"))
    model = network.model({"x": (2, 5, 3)}, ["y"])
    if perm != [0, 2, 1]:
        assert_stuck(model, Reason.WRONG_AXIS, "y", "v0", "start")
    elif kind == "Add":
        assert_stuck(model, Reason.NO_BIAS, "y", "start")
    else:
        expected = ["MatMul", "Transpose"] if kind == "Mul" else ["MatMul", "Add", "Transpose"]
        assert_moves(model, *expected, direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
def test_a_reshape_that_mixes_rows_with_channels(kind):
    """(2, 6) as (3, 4): each column of the result takes from several columns of the product."""
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 3, 6)], "start")
    network.node("Reshape", ["start", network.constant("target", [3, 4], "int64")], "v0")
    affine(network, "v0", "y", kind, (3, 4))
    assert_stuck(network.model({"x": (2, 3)}, ["y"]), Reason.WRONG_AXIS, "y", "v0", "start")


@pytest.mark.parametrize("kind", KINDS)
def test_a_reshape_of_unknown_lengths(kind):
    """(rows, 6) as (rows', 4): nothing is known of what goes where."""
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 3, 6)], "start")
    network.node("Reshape", ["start", network.constant("target", [-1, 4], "int64")], "v0")
    affine(network, "v0", "y", kind, (3, 4))
    assert_stuck(network.model({"x": ("rows", 3)}, ["y"]), Reason.UNKNOWN_SHAPE, "y", "v0", evidence="regrouped")


def test_a_target_that_the_caller_gives():
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 3, 4)], "start")
    network.node("Reshape", ["start", "target"], "v0")
    affine(network, "v0", "y", "BN", (2, 4))
    model = network.model({"x": (2, 3)}, {"y": (2, 4)}, check=False)
    model.graph.input.append(helper.make_tensor_value_info("target", TensorProto.INT64, [2]))
    folded = fold(model)
    assert folded.reasons == [Reason.UNKNOWN_SHAPE]


@pytest.mark.parametrize("kind", KINDS)
@steps(step("Slice", [0], ["width"], [3]), step("Gather", 0, axis=3))
def test_a_sliced_axis_of_unknown_length_stops(step, kind):
    constants = tuple([9] if entry == ["width"] else entry for entry in step.constants)
    model = conv_then([type(step)(step.op_type, constants, step.attributes)], kind, image=(2, 3, 6, "width"))
    assert_stuck(model, Reason.UNKNOWN_SHAPE, "y", "v0", evidence="the length of axis 3")


@pytest.mark.parametrize("kind", KINDS)
@steps(step("Gather", 1, axis=1), step("Gather", [2], axis=1), step("Slice", [1], [2], [1]))
def test_one_channel_is_taken(step, kind):
    chain = [step] if step.constants != (1,) else [step, type(step)("Unsqueeze", ([1],))]
    assert_moves(conv_then(chain, kind), "Conv", *[entry.op_type for entry in chain], direction="upstream")


@pytest.mark.parametrize("kind", KINDS)
@steps(
    step("Gather", [3, 0, 2, 1], axis=1),
    step("Gather", [-1, 0], axis=1),
    step("Gather", [0, 2, 2], axis=2),
    step("Gather", [[0, 1], [2, 3]], axis=2),
)
def test_places_that_are_taken_in_another_order(step, kind):
    """Channels from RGB to BGR; some of them; places named twice, along which nothing varies."""
    assert_moves(conv_then([step], kind), "Conv", "Gather", direction="upstream")


def test_a_place_that_is_taken_twice_takes_one_map():
    model = conv_then([step("Gather", [1, 1, 2, 3], axis=1)], "Mul")
    assert_stuck(model, Reason.WRONG_AXIS, "y", "v0")


def test_places_known_at_run_time_take_what_is_the_same_everywhere():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "start")
    network.node("Gather", ["start", "places"], "v0", axis=2)
    affine(network, "v0", "y", "BN", (2, 4, 3, 4))
    model = network.model({"x": (2, 3, 6, 4), "places": (3,)}, {"y": (2, 4, 3, 4)}, check=False)
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    assert fold(model).batch_norms_left == 0
    model.graph.node[1].attribute[0].i = 1
    assert fold(model).batch_norms_left == 1


def test_a_place_that_is_not_there_is_malformed():
    model = conv_then([step("Gather", [0, 9], axis=2)], "BN")
    assert_stuck(model, Reason.MALFORMED, "y", "v0")


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_channels_would_need_different_scales(kind):
    """One channel expanded to four, and then four scales."""
    model = conv_then([step("Expand", [2, 4, 6, 4])], kind, channels=1)
    assert_stuck(model, Reason.WRONG_AXIS, "y", "v0", evidence="along which values are repeated")


@pytest.mark.parametrize("kind", KINDS)
@steps(step("Expand", [3, 1, 1, 1, 1]), step("Expand", [3, 2, 4, 6, 4], opset=9))
def test_expand_to_a_higher_rank(step, kind):
    kind = kind.replace("BN", "Mul")
    assert_moves(conv_then([step], kind, axis=2), "Conv", "Expand", direction="upstream")


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_space_to_depth(block, kind):
    """Each place of a block is a channel of its own behind it, and the convolution in front has no such channels."""
    model = conv_then([step("SpaceToDepth", blocksize=block)], kind)
    if block == 1:
        assert_moves(model, "Conv", "SpaceToDepth", direction="upstream")
    else:
        assert_stuck(model, Reason.WRONG_AXIS, "y", "v0", "start", evidence="the output channels are on axis 1")


@pytest.mark.parametrize("batch", [2, "batch", None], ids=str)
@pytest.mark.parametrize("size", [(6, 4), ("height", "width"), (None, None)], ids=str)
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_pixel_shuffle_of_any_size(batch, size, mode):
    model = conv_then([step("DepthToSpace", blocksize=2, mode=mode)], "BN", image=(batch, 3, *size), channels=12)
    shapes = {"x": (2, 3, 6, 4)}
    assert_moves(model, "Conv", "DepthToSpace", direction="upstream", shapes=shapes)


def test_a_dropout_whose_mask_is_read_stays():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "start")
    network.node("Dropout", ["start"], ["v0", "mask"])
    affine(network, "v0", "y", "BN", (2, 4, 6, 4))
    network.node("Not", ["mask"], "other")
    model = network.model({"x": (2, 3, 6, 4)}, {"y": (2, 4, 6, 4), "other": (2, 4, 6, 4)})
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.BOOL
    assert_stuck(model, Reason.NOT_LINEAR, "y", "v0", evidence="mask")


def test_a_dropout_whose_mask_nobody_reads():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "start")
    network.node("Dropout", ["start"], ["v0", "mask"])
    affine(network, "v0", "y", "BN", (2, 4, 6, 4))
    assert_moves(network.model({"x": (2, 3, 6, 4)}, ["y"]), "Conv", "Dropout")


@pytest.mark.parametrize("training", [False, True, None], ids=str)
def test_a_dropout_with_a_training_mode(training):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "start")
    mode = "mode" if training is None else network.constant("mode", training, "bool")
    network.node("Dropout", ["start", "", mode], "v0")
    affine(network, "v0", "y", "BN", (2, 4, 6, 4))
    model = network.model({"x": (2, 3, 6, 4)}, {"y": (2, 4, 6, 4)}, check=training is not None)
    if training is None:
        model.graph.input.append(helper.make_tensor_value_info("mode", TensorProto.BOOL, []))
    if training is False:
        assert_moves(model, "Conv", "Dropout")
    else:
        assert_stuck(model, Reason.TRAINING_MODE, "y", "v0")


@needs_newer_kernels
@pytest.mark.parametrize("target", ["DOUBLE", "FLOAT16"])
@pytest.mark.parametrize("source", ["float32", "float16"])
def test_casts(source, target):
    """A half has not the digits of a wider type in front of it; what is a half already loses nothing."""
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 3, 4, dtype=source)], "start")
    network.node("Cast", ["start"], "v0", to=getattr(TensorProto, target))
    dtype = {"DOUBLE": "float64", "FLOAT16": "float16"}[target]
    network.node("Mul", ["v0", network.weight("k", 4, dtype=dtype)], "scaled")
    network.node("Cast", ["scaled"], "y", to=getattr(TensorProto, source.upper().replace("32", "")))
    model = network.model({"x": (2, 3)}, ["y"], dtype=source)
    if (source, target) == ("float32", "FLOAT16"):
        assert_stuck(model, Reason.NOT_LINEAR, "scaled", "v0", evidence="digits that float16 does not keep")
    else:
        folded = fold_and_compare(model)
        assert operators(folded.model) == ["MatMul", "Cast", "Cast"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_of_many_moves(kind):
    chain = [
        step("Reshape", [0, 2, 2, 6, 4]),
        step("Transpose", perm=[0, 2, 1, 3, 4]),
        step("Reshape", [0, 4, 24]),
        step("Unsqueeze", [3]),
        step("Slice", [1], [4], [1]),
        step("Identity"),
        step("Squeeze", [3]),
    ]
    assert_moves(conv_then(chain, kind), "Conv", *[entry.op_type for entry in chain], direction="upstream")
