"""Sizes that the file leaves free: read off the weights, off what onnxruntime says, and tried."""

import numpy as np
import pytest
from onnx import helper

from bnfold.errors import UncheckedError
from bnfold.verifier import VerifyOptions
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.feeding import choose_feeding
from bnfold.verifier.run.inputs import draw
from bnfold.verifier.run.session import Session
from bnfold.verifier.run.settings import Setting
from bnfold.verifier.run.wanted import wanted_by
from tests.verifier.small_models import FLOAT, INT64, model, model_proto, node


def shapes(nodes, inputs, parameters=None, **options):
    """The sizes that the check feeds a model with."""
    source = Model.read("the original", model(nodes, inputs, {"y": (FLOAT, None)}, parameters))
    chosen = choose_feeding(Session(source), VerifyOptions(**options), wanted_by(Structure(source)))
    return [dict(setting.shapes) for setting in chosen.settings]


def ones(*shape):
    return np.ones(shape, np.float32)


def test_images_whose_channels_come_last_have_extents_in_front_of_them():
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        *(node("MaxPool", "c", "p", kernel_shape=[8, 8]), node("Relu", "p", "y")),
    ]
    first, second = shapes(nodes, {"x": (FLOAT, ["n", "h", "w", 3])}, {"w": ones(4, 3, 3, 3)})
    assert first["x"] == (1, 64, 64, 3)
    assert second["x"] == (3, 96, 96, 3)


@pytest.mark.parametrize(
    ("nodes", "parameters", "x"),
    [
        ([node("Conv", "x w", "y")], {"w": ones(4, 7, 3, 3)}, (1, 7, 64, 64)),
        ([node("Relu", "x", "r"), node("Conv", "r w", "y", group=3)], {"w": ones(6, 2, 3, 3)}, (1, 6, 64, 64)),
        ([node("ConvTranspose", "x w", "y")], {"w": ones(5, 2, 3, 3)}, (1, 5, 64, 64)),
    ],
)
def test_channels_are_those_of_the_weight(nodes, parameters, x):
    assert shapes(nodes, {"x": (FLOAT, ["n", "c", "h", "w"])}, parameters)[0]["x"] == x


@pytest.mark.parametrize(
    ("nodes", "parameters", "x"),
    [
        ([node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "y")], {"w": ones(4, 7, 3, 3)}, (64, 7)),
        (
            [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w", "y")],
            {"w": ones(7, 2)},
            (7, 64),
        ),
        (
            [node("Pad", "x pads", "p"), node("Conv", "p w", "y")],
            {"w": ones(4, 7, 3, 3), "pads": np.array([0, 0, 1, 1] * 2)},
            (7, 64),
        ),
        (
            [node("DequantizeLinear", "q s", "w"), node("Conv", "x w", "y")],
            {"q": np.ones((4, 7, 3, 3), np.int8), "s": np.float32(1)},
            (7, 64),
        ),
    ],
    ids=["transposed", "pooled", "padded", "quantized"],
)
def test_channels_are_found_wherever_they_go(nodes, parameters, x):
    first = shapes(nodes, {"x": (FLOAT, ["n", "c", "h", "w"])}, parameters)[0]["x"]
    assert (first[1], first[3]) == x


def test_features_are_found_in_functions():
    own = helper.make_function(
        "own", "F", ["a", "b"], ["c"], [node("MatMul", "a b", "c")], [helper.make_opsetid("", 17)]
    )
    proto = model_proto(
        [node("F", "x w", "y", domain="own")],
        {"x": (FLOAT, ["n", "d"])},
        {"y": (FLOAT, None)},
        {"w": ones(37, 5)},
        domains={"own": 1},
    )
    proto.functions.append(own)
    assert wanted_by(Structure(Model("a model", proto))).sizes == {"d": 37}


@pytest.mark.parametrize(
    ("nodes", "weight"),
    [
        ([node("MatMul", "x w", "y")], ones(37, 5)),
        ([node("Gemm", "x w", "y")], ones(37, 5)),
        ([node("Gemm", "x w", "y", transB=1)], ones(5, 37)),
    ],
)
def test_features_are_those_of_the_weight(nodes, weight):
    assert shapes(nodes, {"x": (FLOAT, ["n", "d"])}, {"w": weight})[0]["x"] == (1, 37)


def test_sound_has_more_samples_than_images_have_pixels_in_a_row():
    nodes = [node("Conv", "x w", "y", strides=[160])]
    assert shapes(nodes, {"x": (FLOAT, ["n", 1, "t"])}, {"w": ones(8, 1, 400)})[0]["x"] == (1, 1, 512)


def test_what_the_first_failing_node_says_is_tried():
    nodes, inputs = [node("Reshape", "x s", "y")], {"x": (FLOAT, ["n", "a", "b"])}
    assert np.prod(shapes(nodes, inputs, {"s": np.array([1, 80, 9])})[0]["x"]) == 720
    joined = [node("Concat", "x k", "y", axis=1)]
    assert shapes(joined, {"x": (FLOAT, [None, None, None])}, {"k": ones(1, 3, 77)})[0]["x"][::2] == (1, 77)


def test_each_free_dimension_may_have_a_size_of_its_own():
    nodes = [node("Unsqueeze", "x axis", "u"), node("Concat", "h u", "y", axis=1)]
    inputs = {"x": (FLOAT, ["b", 512]), "h": (FLOAT, ["q", "r", 512])}
    assert shapes(nodes, inputs, {"axis": np.array([0])})[0]["h"][0] == 1


def test_what_the_caller_says_comes_before_what_the_graph_wants():
    nodes, inputs = [node("MatMul", "x w", "y")], {"x": (FLOAT, ["n", "d"])}
    assert shapes(nodes, inputs, {"w": ones(37, 5)}, shapes={"x": (4, 37)}) == [{"x": (4, 37)}]
    with pytest.raises(UncheckedError, match="fed with x=4,36"):
        shapes(nodes, inputs, {"w": ones(37, 5)}, shapes={"x": (4, 36)})


def test_a_model_that_takes_nothing_says_what_was_tried():
    with pytest.raises(UncheckedError, match=r"fed with x=1,64,64 nor with \d+ other choices.*give shapes, "):
        shapes([node("Reshape", "x s", "y")], {"x": (FLOAT, ["n", "a", "b"])}, {"s": np.array([7919, 7907])})


def test_a_single_integer_may_be_a_stride_and_is_not_zero():
    source = Model.read(
        "the original", model([node("Cast", "n", "y", to=FLOAT)], {"n": (INT64, [])}, {"y": (FLOAT, [])})
    )
    ports = Session(source).signature.inputs
    drawn = [draw(ports, Setting({"n": ()}, 8), VerifyOptions(), sample)["n"] for sample in range(50)]
    assert min(drawn) == 1
    assert max(drawn) == 7
    assert draw(ports, Setting({"n": ()}, 8, {"n": 1}), VerifyOptions(), 0)["n"] == 0, (
        "an index into a table of one row"
    )


def test_no_hint_that_cannot_help():
    """Of sizes that are all fixed, another shape is no way out; integers may be."""
    nodes, parameters = [node("Reshape", "x s", "y", name="r")], {"s": np.array([5, 7])}
    with pytest.raises(UncheckedError) as error:
        shapes(nodes, {"x": (FLOAT, [2, 3])}, parameters)
    assert "shapes" not in str(error.value)
    assert "inputs" not in str(error.value)
    chosen = [node("Gather", "t n", "g", axis=0), node("Reshape", "g s", "y", name="r")]
    with pytest.raises(UncheckedError, match=r"; give VerifyOptions\.inputs$"):
        shapes(chosen, {"n": (INT64, [2])}, {"t": np.ones((9, 3), np.float32), **parameters})
