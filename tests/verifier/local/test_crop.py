"""Subgraphs run on a crop of an image: how large it is, and that nothing wrong escapes it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.verifier.local.crop import crop_of
from bnfold.verifier.models.changed import ChangedTensor, cut_without, find_changed_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from tests.networks import Network
from tests.verifier.spoiling import of_shape, spoiled


def convolution(size, kernel, *, op="Conv", **attributes):
    """A convolution and its BatchNorm on an image of any number of axes."""
    net = Network(seed=5)
    shape = (6, 4, *kernel) if op == "Conv" else (4, 6, *kernel)
    net.node(op, ["x", net.weight("w", *shape)], "c", **attributes)
    net.batch_norm("c", "n", 6)
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, *size]}, ["y"])


def crop_around(original, new=None, tensor="y"):
    new = new or bnfold.fold(original, verify=None).model
    ours, theirs = Structure(Model("the original", original)), Structure(Model("the new model", new))
    shapes = {entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim] for entry in original.graph.input}
    (site,) = (site for site in find_changed_tensors(ours, theirs) if site.name in (tensor, "n"))
    return crop_of(site, ours, theirs, dict.fromkeys(site.boundary, shapes["x"]))


@pytest.mark.parametrize(
    ("kernel", "attributes", "side"),
    [
        ([1, 1], {}, 3),
        ([3, 3], {"pads": [1] * 4}, 3),
        ([3, 3], {}, 5),
        ([3, 3], {"auto_pad": "VALID"}, 5),
        ([7, 7], {"auto_pad": "SAME_UPPER"}, 7),
        ([7, 7], {"pads": [3] * 4}, 7),
        ([7, 7], {"strides": [2, 2], "pads": [3] * 4}, 8),
        ([16, 16], {"strides": [16, 16]}, 48),
        ([3, 3], {"dilations": [12, 12], "pads": [12] * 4}, 25),
        ([3], {}, 11),
        ([3, 3, 3], {}, 5),
        ([4, 4], {"op": "ConvTranspose", "strides": [2, 2]}, 6),
    ],
)
def test_a_crop_has_room_for_receptive_fields_of_enough_outputs(kernel, attributes, side):
    crop = crop_around(convolution([128] * len(kernel), kernel, **attributes))
    assert (crop.any_samples, crop.side) == (True, side)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_a_weight_that_is_stored_as_integers_has_the_same_kernel(op):
    model = convolution([128, 128], [3, 3], op=op)
    plain = crop_around(model)
    dequantised(model, "w")
    assert crop_around(model) == plain
    assert plain.side == 5


def dequantised(model, name):
    """A weight becomes integers, behind a node for each scale and one that keeps what it reads."""
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    integers = np.round(20 * numpy_helper.to_array(weight)).astype(np.int8)
    weight.CopyFrom(numpy_helper.from_array(integers, "integers"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.05), "scale"))
    nodes = [
        helper.make_node("DequantizeLinear", ["integers", "scale"], ["numbers"]),
        helper.make_node("Identity", ["numbers"], [name]),
        *model.graph.node,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def sliced(starts, ends, axes, **spelling):
    """A slice between a convolution and its BatchNorm, its places as initializers or as Constant nodes."""
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w", 4, 4, 1, 1)], "c")
    places = {"starts": starts, "ends": ends, "axes": axes}
    for name, numbers in places.items():
        if spelling:
            net.node("Constant", [], name, value_ints=numbers)
        else:
            net.constant(name, numbers, "int64")
    net.node("Slice", ["c", *places], "s")
    net.batch_norm("s", "y", 4)
    return net.model({"x": [2, 4, 8, 8]}, ["y"])


@pytest.mark.parametrize("spelling", [{}, {"as_nodes": True}], ids=["stored", "as nodes"])
@pytest.mark.parametrize(
    ("starts", "ends", "axes", "any_samples"),
    [
        ([1], [7], [2], True),
        ([0, 1], [2**63 - 1, 7], [0, 2], True),
        ([1, 0], [7, 2**31 - 1], [3, 0], True),
        ([0], [1], [0], False),
        ([1], [2**63 - 1], [0], False),
        ([1], [7], [-1], False),
    ],
)
def test_a_slice_treats_samples_alike_unless_it_leaves_some_out(starts, ends, axes, any_samples, spelling):
    crop = crop_around(sliced(starts, ends, axes, **spelling))
    assert (crop.any_samples, crop.side) == (any_samples, None)


def test_what_changes_the_type_treats_places_alike():
    net = Network(seed=5)
    net.node("Conv", ["x", net.weight("w", 6, 4, 3, 3)], "c", pads=[1] * 4)
    net.node("Cast", [net.node("Cast", ["c"], "h", to=TensorProto.FLOAT16)], "f", to=TensorProto.FLOAT)
    net.batch_norm("f", "y", 6)
    original = net.model({"x": [1, 4, 64, 64]}, ["y"])
    new = spoiled(original, of_shape([6, 4, 3, 3]), lambda weight: np.multiply(weight, 2, out=weight))
    ours, theirs = Structure(Model("the original", original)), Structure(Model("the new model", new))
    whole = ChangedTensor("y", tuple(range(4)), tuple(range(4)), ("x",))
    crop = crop_of(whole, ours, theirs, {"x": [1, 4, 64, 64]})
    assert (crop.any_samples, crop.side) == (True, 3)


def two_convolutions():
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w1", 4, 4, 3, 3)], "c1", strides=[2, 2])
    net.node("Conv", ["c1", net.weight("w2", 6, 4, 3, 3)], "c2", strides=[2, 2])
    net.batch_norm("c2", "y", 6)
    original = net.model({"x": [1, 4, 64, 64]}, ["y"])
    new = bnfold.fold(original, verify=None).model
    for entry in new.graph.node:  # a name that only the new model has makes one part of both
        for names in (entry.input, entry.output):
            names[:] = ["other" if name == "c1" else name for name in names]
    return original, new


def of_places(bias):
    """A Conv, and a bias for each place."""
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w", 4, 4, 1, 1)], "c")
    net.node("Add", ["c", net.constant("b", bias)], "a")
    net.batch_norm("a", "y", 4)
    return net.model({"x": [1, 4, 32, 32]}, ["y"])


def pooled():
    net = Network(seed=2)
    net.node("Conv", ["x", net.weight("w", 4, 4, 1, 1)], "c")
    net.node("AveragePool", ["c"], "p", kernel_shape=[2, 2])
    net.batch_norm("p", "y", 4)
    return net.model({"x": [1, 4, 32, 32]}, ["y"])


@pytest.mark.parametrize(
    "models",
    [
        two_convolutions(),
        (of_places(np.ones((1, 4, 32, 32))), None),
        (of_places(np.ones((1, 32))), None),
        (pooled(), None),
        (convolution([32, 32], [3, 3], auto_pad="SAME_UPPER", strides=[2, 2]), None),
        (convolution([32, 32], [4, 4], op="ConvTranspose", output_shape=[30, 30]), None),
    ],
    ids=["two convolutions", "a bias by place", "a bias by column", "pooling", "auto_pad", "output_shape"],
)
def test_what_may_not_treat_places_alike_is_run_whole(models):
    assert crop_around(*models).side is None


def rows(op, inputs, weight, **attributes):
    net = Network(seed=2)
    net.batch_norm("x", "n", 6)
    net.constant("w", weight)
    net.node(op, inputs, "y", **attributes)
    return net.model({"x": [5, 6]}, ["y"])


def test_rows_of_a_matrix_are_samples_unless_it_is_turned():
    def any_samples(weight, op="Gemm", **attributes):
        models = (rows(op, ["n", "w"], factor * weight, **attributes) for factor in (1, 2))
        return crop_around(*models).any_samples

    weight = np.random.default_rng(0).normal(size=(6, 6))
    assert any_samples(weight)
    assert any_samples(weight[0], "Add")
    assert not any_samples(weight[:5], "Add")
    assert not any_samples(weight[:5], transA=1)


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)])
@pytest.mark.parametrize("dilation", [1, 5, 20])
def test_a_fault_in_any_weight_of_a_kernel_is_seen(place, dilation):
    original = convolution([90, 90], [3, 3], dilations=[dilation] * 2, pads=[dilation] * 4)
    folded = bnfold.fold(original, verify=None).model

    def fault(weight):
        weight[(3, 1, *place)] *= 1.01

    assert bnfold.verify(original, folded).passed
    verdict = bnfold.verify(original, spoiled(folded, of_shape([6, 4, 3, 3]), fault))
    assert "channel 3 " in verdict.problem


def test_faults_at_one_place_of_an_image_are_seen_on_the_samples():
    original = of_places(np.ones((1, 4, 32, 32)))
    new = of_places(np.ones((1, 4, 32, 32)))

    def fault(bias):
        bias[0, 2, 31, 30] += 1

    wrong = spoiled(new, of_shape([1, 4, 32, 32]), fault)
    assert bnfold.verify(original, new).passed
    assert not bnfold.verify(original, wrong).passed


def branches(*convolutions, joined="Sum"):
    """Convolutions of one image, a BatchNorm behind each, all added up; each by its kernel, and attributes."""
    net = Network(seed=6)
    ends = []
    for number, (kernel, op, attributes) in enumerate(convolutions):
        shape = (6, 4, *kernel) if op == "Conv" else (4, 6, *kernel)
        net.node(op, ["x", net.weight(f"w{number}", *shape)], f"c{number}", **attributes)
        ends.append(net.batch_norm(f"c{number}", f"b{number}", 6))
    net.node(joined, ends, "n")
    net.node("Relu", ["n"], "y")
    return net.model({"x": [1, 4, 32, 32]}, ["y"])


SAME, POINT, LARGE = ([3, 3], "Conv", {"pads": [1] * 4}), ([1, 1], "Conv", {}), ([5, 5], "Conv", {"pads": [2] * 4})


def around_the_sum(original):
    """The crop where nothing has folded, but one number of each weight is another one."""
    new = bnfold.fold(original, verify=None).model
    ours, theirs = Structure(Model("the original", original)), Structure(Model("the new model", new))
    site = cut_without([name for name in ours.producers if name not in ("x", "n", "y")], ours, theirs, "n")
    return crop_of(site, ours, theirs, {"x": [1, 4, 32, 32]})


@pytest.mark.parametrize("joined", ["Sum", "Max", "Mean", "Min"])
@pytest.mark.parametrize(("convolutions", "side"), [([SAME, POINT], 3), ([POINT] * 3, 3), ([LARGE, SAME], 5)])
def test_branches_that_fit_together_share_a_crop(convolutions, side, joined):
    crop = around_the_sum(branches(*convolutions, joined=joined))
    assert (crop.any_samples, crop.side) == (True, side)


HALF = ([2, 2], "Conv", {"strides": [2, 2]})
OTHER_HALF = ([1, 1], "Conv", {"strides": [2, 2]})
TURNED = ([3, 3], "ConvTranspose", {"pads": [1] * 4})


@pytest.mark.parametrize("convolutions", [[HALF, OTHER_HALF], [SAME, TURNED]])
def test_branches_that_fit_together_on_this_image_only_need_all_of_it(convolutions):
    crop = around_the_sum(branches(*convolutions))
    assert (crop.any_samples, crop.side) == (True, None)
