"""A check tells how far it is, and ends where it said it would."""

import onnx
from onnx import numpy_helper

from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.progress import Count
from tests.networks import Network


def test_it_counts_inputs_and_changes():
    told = []
    count = Count(told.append, 2, 1500)
    assert list(count.of_changes("ab")) == ["a", "b"]
    count.input_done()

    assert told == [
        "comparing 0/2 inputs, 0/1,500 changes",
        "comparing 0/2 inputs, 1/1,500 changes",
        "comparing 0/2 inputs, 2/1,500 changes",
        "comparing 1/2 inputs, 2/1,500 changes",
    ]


def test_what_is_not_told_is_not_counted():
    told = []
    Count(told.append, 3).input_done()

    assert told == ["comparing 0/3 inputs", "comparing 1/3 inputs"]


def chain(scale=1.0):
    network = Network(seed=1)
    value = "x"
    for index in range(3):
        value = network.node("Conv", [value, network.weight(f"w{index}", 3, 3, 1, 1)], f"c{index}")
        value = network.node("Relu", [value], f"r{index}")
    model = network.model({"x": [1, 3, 4, 4]}, [value])
    for tensor in model.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(
                numpy_helper.to_array(tensor) * numpy_helper.to_array(tensor).dtype.type(scale), tensor.name
            )
        )
    return model.SerializeToString()


def test_a_check_counts_to_the_end():
    told = []
    model = onnx.load_from_string(chain())
    verdict = check(chain(), model.SerializeToString(), VerifyOptions(samples=2), told.append)
    assert (verdict.passed, told[-1]) == (True, "comparing 2/2 inputs")

    told = []
    check(chain(), chain(1.5), VerifyOptions(samples=2), told.append)
    assert "comparing 0/2 inputs, 0/3 changes" in told
    assert told[-1] == "comparing 2/2 inputs, 3/3 changes"
