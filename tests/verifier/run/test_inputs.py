"""What the models are fed: draws, sizes, and the caller's own values."""

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper

from bnfold.errors import UsageError, VerificationError
from bnfold.verifier import VerifyOptions, check
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.signature import ELEMENTS, Port
from bnfold.verifier.run.inputs import draw
from bnfold.verifier.run.session import Session
from bnfold.verifier.run.settings import Settings
from tests.verifier.small_models import (
    BFLOAT16,
    BOOL,
    DOUBLE,
    FLOAT,
    HALF,
    INT32,
    INT64,
    STRING,
    UINT8,
    model,
    node,
    unary,
)


def drawn(port: Port, sample: int = 0, **options):
    chosen = VerifyOptions(**options)
    return draw([port], next(Settings([port], chosen).natural()), chosen, sample)[port.name]


def floats(name: str = "float") -> Port:
    return Port("x", f"tensor({name})", (50, 40))


def test_draws_repeat_with_their_seed_and_differ_without():
    assert np.array_equal(drawn(floats()), drawn(floats()))
    assert not np.array_equal(drawn(floats()), drawn(floats(), seed=1))
    integers = Port("x", "tensor(int64)", (100,))
    assert not np.array_equal(drawn(integers), drawn(integers, sample=1))


def test_floats_are_symmetric_then_wide_then_negative_then_zero_then_constant():
    normal, wide, negative, zero, constant = (drawn(floats(), sample) for sample in range(5))
    assert abs(normal.mean()) < 0.1
    assert 0.9 < normal.std() < 1.1
    assert 9 < wide.std() < 11
    assert negative.max() <= 0 > negative.min()
    assert not zero.any()
    assert constant.any()
    assert np.unique(constant).size == 1


@pytest.mark.parametrize("name", ["float16", "float", "double", "bfloat16"])
def test_floats_have_the_dtype_of_the_input(name):
    assert drawn(floats(name)).dtype == ELEMENTS[name]


def test_integers_that_may_be_an_index_are_small_and_not_negative():
    for name in ("int32", "int64", "uint32", "uint64"):
        values = drawn(Port("x", f"tensor({name})", (1000,)))
        assert values.dtype == ELEMENTS[name]
        assert set(values.tolist()) == set(range(8))


def test_pixels_take_their_whole_range():
    values = drawn(Port("x", "tensor(uint8)", (10000,)))
    assert (values.min(), values.max()) == (0, 255)
    values = drawn(Port("x", "tensor(int8)", (10000,)))
    assert (values.min(), values.max()) == (-128, 127)


def test_booleans_take_both_values_and_strings_are_digits():
    assert set(drawn(Port("x", "tensor(bool)", (100,))).tolist()) == {False, True}
    assert set(drawn(Port("x", "tensor(string)", (1000,))).tolist()) == set("0123456789")


@pytest.mark.parametrize("element", [FLOAT, DOUBLE, HALF, BFLOAT16, INT32, INT64, UINT8, BOOL, STRING])
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_every_element_reaches_the_model(element, shape):
    original = unary("Identity", element, shape)
    verdict = check(original, original, VerifyOptions())
    assert verdict.passed
    assert (verdict.samples, verdict.outputs[0].max_abs) == (6, 0)


def test_bfloat16_comes_back_as_it_went_in():
    values = np.array([[1.5, -2.0, 3.140625], [0.0, -1e30, np.inf]]).astype(ml_dtypes.bfloat16)
    (output,) = Session(Model.read("the original", unary("Identity", BFLOAT16))).run({"x": values})
    assert output.dtype == values.dtype
    assert np.array_equal(output, values)


def test_a_wrong_bfloat16_fails():
    def through(factor):
        nodes = [node("Cast", "x", "f", to=FLOAT), node("Mul", "f c", "s"), node("Cast", "s", "y", to=BFLOAT16)]
        port = (BFLOAT16, [2, 3])
        return model(nodes, {"x": port}, {"y": port}, {"c": np.float32(factor)})

    assert check(through(1), through(1), VerifyOptions()).passed
    assert not check(through(1), through(1.1), VerifyOptions()).passed


def test_an_index_stays_inside_its_table():
    for rows in (1, 2, 100):
        table = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        lookup = model(
            [node("Gather", "table x", "y")], {"x": (INT64, [30])}, {"y": (FLOAT, [30, 2])}, {"table": table}
        )
        verdict = check(lookup, lookup, VerifyOptions())
        assert verdict.passed
        assert verdict.samples == 6


def shape_seen(original: bytes, **options) -> list[tuple[int, ...]]:
    """The shapes that the first setting that runs gives to the inputs."""
    session, chosen = Session(Model.read("the original", original)), VerifyOptions(**options)
    for setting in Settings(session.signature.inputs, chosen).natural():
        try:
            session.run(draw(session.signature.inputs, setting, chosen, 0))
        except VerificationError:
            continue
        return list(setting.shapes.values())
    raise AssertionError("no setting runs")


def conv(*declared, flattened: int | None = None) -> bytes:
    """A Conv over 3 channels; flattened, a MatMul behind it wants exactly so many values."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(2, 3, 3, 3)).astype(np.float32)}
    nodes = [node("Conv", "x w", "y" if flattened is None else "c")]
    if flattened is not None:
        weights["m"] = random.normal(size=(flattened, 2)).astype(np.float32)
        nodes += [node("Flatten", "c", "f"), node("MatMul", "f m", "y")]
    return model(nodes, {"x": (FLOAT, declared)}, {"y": (FLOAT, None)}, weights)


def test_free_dimensions_are_found_by_trial():
    assert shape_seen(conv("n", 3, "h", "w")) == [(1, 3, 64, 64)]
    assert shape_seen(conv(None, None, None, None)) == [(1, 3, 64, 64)]
    assert shape_seen(conv("n", 3, "h", "w", flattened=2 * 30 * 30)) == [(1, 3, 32, 32)]
    assert shape_seen(conv("n", 3, "h", "w", flattened=2 * 222 * 222)) == [(1, 3, 224, 224)]


def test_one_symbol_has_one_size_everywhere():
    both = model(
        [node("MatMul", "a b", "y")], {"a": (FLOAT, ["n", "k"]), "b": (FLOAT, ["k", "m"])}, {"y": (FLOAT, None)}
    )
    assert shape_seen(both) == [(1, 64), (64, 64)]
    assert shape_seen(both, dims={"k": 5}) == [(1, 5), (5, 64)]
    assert shape_seen(both, shapes={"a": (2, 7)}) == [(2, 7), (7, 64)]
    assert shape_seen(both, inputs={"b": np.ones((4, 6), np.float32)}) == [(1, 4), (4, 6)]


def test_sizes_that_the_caller_gives_are_used():
    assert shape_seen(conv("n", 3, "h", "w"), dims={"n": 2, "h": 9}) == [(2, 3, 9, 64)]
    assert shape_seen(conv("n", 3, "h", "w"), shapes={"x": (2, 3, 10, 11)}) == [(2, 3, 10, 11)]


def test_the_first_dimension_of_a_vector_is_tried_as_more_than_one():
    table = np.ones((128, 2), np.float32)
    vector = model([node("MatMul", "x m", "y")], {"x": (FLOAT, ["n"])}, {"y": (FLOAT, [2])}, {"m": table})
    assert shape_seen(vector) == [(128,)]


def test_guesses_are_distinct_and_stay_small():
    for declared in (("n",), ("n", 3, "h", "w"), (None,) * 5):
        guesses = [
            setting.shapes["x"]
            for setting in Settings([Port("x", "tensor(float)", declared)], VerifyOptions()).natural()
        ]
        assert len(guesses) == len(set(guesses)) > 5
        assert all(np.prod(shape) <= 2**22 for shape in guesses)


def test_no_size_that_runs_is_an_error_that_says_how_to_go_on():
    odd = conv("n", 3, "h", "w", flattened=7)
    with pytest.raises(VerificationError) as error:
        check(odd, odd, VerifyOptions())
    message = str(error.value)
    assert message.startswith("onnxruntime cannot run the original: ")
    assert "(fed with x=1,3,64,64 nor with " in message
    assert all(word in message for word in ("shapes", "VerifyOptions.dims", "VerifyOptions.inputs"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": {"x": (3, 8, 8)}}, r"'x' has 4 dimensions \[n, 3, h, w\], got 3: \[3, 8, 8\]"),
        ({"shapes": {"x": (1, 4, 8, 8)}}, r"'x' is declared \[n, 3, h, w\], got \[1, 4, 8, 8\]"),
        ({"shapes": {"z": (1,)}}, "no input 'z': its inputs are x"),
        ({"dims": {"batch": 1}}, "no input has a dimension 'batch': the symbolic dimensions are h, n, w"),
        ({"dims": {"n": 2}, "shapes": {"x": (1, 3, 8, 8)}}, r"n=2 contradicts \[1, 3, 8, 8\] for 'x'"),
        ({"inputs": {"z": np.ones(1)}}, "no input 'z'"),
        ({"inputs": {"x": np.ones((3, 8, 8))}}, "'x' has 4 dimensions"),
        ({"inputs": {"x": np.ones((1, 3, 8, 8), complex)}}, "got values of dtype complex128"),
        ({"inputs": {"x": np.full((1, 3, 8, 8), "a")}}, "got values of dtype <U1"),
        ({"inputs": {"x": np.ones((1, 3, 8, 8))}, "shapes": {"x": (1, 3, 9, 9)}}, "is not that of its values"),
    ],
)
def test_options_that_contradict_the_model_are_usage_errors(options, message):
    original = conv("n", 3, "h", "w")
    with pytest.raises(UsageError, match=message):
        check(original, original, VerifyOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "at least 1 sample, got 0"),
        ({"samples": -1}, "at least 1 sample, got -1"),
        ({"seed": -1}, "seed must be 0 or greater, got -1"),
        ({"rtol": -1e-3}, "rtol must be a finite number"),
        ({"atol": float("nan")}, "atol must be a finite number"),
        ({"rtol": float("inf")}, "rtol must be a finite number"),
        ({"dims": {"n": -1}}, "sizes must be 0 or greater, got n=-1"),
        ({"shapes": {"n": (1, -3)}, "dims": {"n": 1}}, "sizes must be 0 or greater, got n=1,-3"),
    ],
)
def test_options_out_of_range_are_usage_errors(options, message):
    with pytest.raises(UsageError, match=message):
        VerifyOptions(**options)


def test_real_values_are_used_and_left_alone():
    # sqrt and sqrt of the absolute value differ at negative inputs only, and these values are not.
    absolute = model([node("Abs", "x", "a"), node("Sqrt", "a", "y")], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, [2, 3])})
    values = np.linspace(0, 1, 6).reshape(2, 3)
    before = values.copy()
    verdict = check(unary("Sqrt"), absolute, VerifyOptions(inputs={"x": values}))
    assert verdict.passed
    assert verdict.samples == 1
    assert np.array_equal(values, before)
    assert not check(unary("Sqrt"), absolute, VerifyOptions(inputs={"x": -values})).passed


def test_an_array_of_several_samples_is_taken_apart():
    # Only the third sample tells Relu from Identity.
    values = np.ones((3, 4), np.float32)
    values[2] = -1
    relu, identity = unary("Relu", shape=[1, 4]), unary("Identity", shape=[1, 4])
    verdict = check(relu, identity, VerifyOptions(inputs={"x": values}))
    assert verdict.samples == 3
    assert verdict.outputs[0].problem.endswith(" in sample 2")
    assert check(relu, identity, VerifyOptions(inputs={"x": values}, samples=2)).passed


def test_values_of_a_free_first_dimension_are_one_sample():
    free = model([node("Relu", "x", "y")], {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", 4])})
    assert check(free, free, VerifyOptions(inputs={"x": np.ones((3, 4))})).samples == 1


def test_inputs_without_real_values_are_drawn():
    added = model([node("Add", "a b", "y")], {"a": (FLOAT, [2]), "b": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    taken = model([node("Identity", "a", "y")], {"a": (FLOAT, [2]), "b": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    verdict = check(added, taken, VerifyOptions(inputs={"a": np.ones(2, np.float32)}))
    assert not verdict.passed
    assert verdict.samples == 6


def test_a_model_without_inputs_is_run_once():
    nodes = [node("Constant", "", "c", value_floats=[1.0, 2.0]), node("Neg", "c", "y")]
    constant = model(nodes, {}, {"y": (FLOAT, [2])})
    assert check(constant, constant, VerifyOptions()).samples == 1


def test_an_optional_tensor_is_given():
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2, 3]))
    graph = helper.make_graph(
        [node("OptionalGetElement", "x", "e"), node("Relu", "e", "y")], "graph",
        [helper.make_value_info("x", kind)], [helper.make_tensor_value_info("y", FLOAT, [2, 3])],
    )  # fmt: skip
    original = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    verdict = check(original, original, VerifyOptions())
    assert verdict.passed
    assert not verdict.warnings


def sequence(op_type: str, element=FLOAT, shape=None) -> bytes:
    """The sum of the first tensor and an operator of the second."""
    nodes = [node("SequenceAt", "x zero", "a"), node("SequenceAt", "x one", "b"), node(op_type, "b", "c"),
             node("Add", "a c", "y")]  # fmt: skip
    tensors = [numpy_helper.from_array(np.array(value), name) for name, value in (("zero", 0), ("one", 1))]
    ports = (
        [helper.make_tensor_sequence_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, None)],
    )
    graph = helper.make_graph(nodes, "graph", *ports, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("shape", [None, [2, 3], ["n", 4]], ids=str)
def test_a_sequence_is_given(shape):
    verdict = check(sequence("Relu", shape=shape), sequence("Relu", shape=shape), VerifyOptions())
    assert verdict.passed
    assert not verdict.warnings
    assert not check(sequence("Relu", shape=shape), sequence("Abs", shape=shape), VerifyOptions()).passed


def test_real_values_of_a_sequence_are_its_elements():
    values = np.ones((2, 5), np.float32)
    assert check(sequence("Relu"), sequence("Abs"), VerifyOptions(inputs={"x": values})).passed
    assert not check(sequence("Relu"), sequence("Abs"), VerifyOptions(inputs={"x": -values})).passed


def test_a_type_that_nobody_can_draw_is_refused_with_its_reason():
    port = Port("x", "map(int64,tensor(float))", ())
    with pytest.raises(VerificationError, match=r"cannot draw input 'x' of type map"):
        next(Settings([port], VerifyOptions()).natural())


def test_a_draw_that_the_original_refuses_is_left_out():
    # Values around 10 index outside of the table; those around 1 do not.
    nodes = [node("Abs", "x", "a"), node("Cast", "a", "i", to=INT64), node("Gather", "table i", "y")]
    table = np.arange(6, dtype=np.float32)
    lookup = model(nodes, {"x": (FLOAT, [40])}, {"y": (FLOAT, [40])}, {"table": table})
    verdict = check(lookup, lookup, VerifyOptions(samples=4))
    assert verdict.passed
    assert verdict.samples == 3
    (warning,) = verdict.warnings
    assert warning.startswith("sample 1 (ten times normal) left out: onnxruntime cannot run the original: ")
