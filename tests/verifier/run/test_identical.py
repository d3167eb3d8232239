"""Models that are the same are told from those that are nearly so, without a run."""

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.errors import UsageError
from bnfold.verifier import VerifyOptions, verdict_if_identical
from tests.verifier.small_models import FLOAT, model, model_proto, node

LARGE = np.arange(40_000, dtype=np.float32).reshape(200, 200)


def product(weight=LARGE, name="y"):
    return model_proto([node("MatMul", "x w", name)], {"x": (FLOAT, ["n", 200])}, {name: (FLOAT, None)}, {"w": weight})


def save(proto, path, *, outside):
    path.parent.mkdir(exist_ok=True)
    onnx.save(proto, path, save_as_external_data=outside, location="data")
    return path


def changed(place, value):
    weight = LARGE.copy()
    weight[place] = value
    return weight


def of(a, b):
    return verdict_if_identical(a, b, VerifyOptions())


def test_the_same_bytes():
    verdict = of(product().SerializeToString(), product().SerializeToString())
    assert verdict is not None
    assert (verdict.passed, verdict.identical, verdict.samples) == (True, True, 0)


@pytest.mark.parametrize("outside", [(False, True), (True, False), (True, True)])
def test_where_the_numbers_lie_makes_no_difference(tmp_path, outside):
    a, b = (save(product(), tmp_path / str(n) / "m.onnx", outside=where) for n, where in enumerate(outside))
    assert of(a, b)
    assert of(a, product().SerializeToString())


@pytest.mark.parametrize("outside", [False, True])
def test_one_number_in_a_file_makes_a_difference(tmp_path, outside):
    a = save(product(), tmp_path / "a" / "m.onnx", outside=outside)
    b = save(product(changed((199, 199), 0)), tmp_path / "b" / "m.onnx", outside=outside)
    assert of(a, b) is None


@pytest.mark.parametrize(
    "other",
    [product(changed((0, 0), -0.0)), product(name="z"), product(LARGE.reshape(200, 200, 1)[..., 0].T)],
    ids=["the sign of zero", "a name", "transposed"],
)
def test_little_things_make_a_difference(other):
    assert of(product().SerializeToString(), other.SerializeToString()) is None


def test_the_same_nan_makes_none():
    proto = product(changed((3, 3), np.nan)).SerializeToString()
    assert of(proto, proto) is not None


def test_what_is_no_model_is_not_called_identical(tmp_path):
    assert of(b"rubbish", b"rubbish") is None
    assert of(tmp_path / "absent", tmp_path / "absent") is None


@pytest.mark.parametrize(
    "options", [{"dims": {"k": 1}}, {"shapes": {"z": (1,)}}, {"shapes": {"x": (1, 3)}}], ids=["dim", "input", "size"]
)
def test_options_that_contradict_the_model_are_not_passed_in_silence(options):
    proto = product().SerializeToString()
    with pytest.raises(UsageError):
        verdict_if_identical(proto, proto, VerifyOptions(**options))


def unknown_operator():
    return model_proto(
        [node("MyOp", "x", "y", domain="com.acme")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, domains={"com.acme": 1}
    )


def test_what_cannot_be_run_and_was_not_changed_needs_no_run():
    result = bnfold.fold(unknown_operator())
    assert result.report.verification.passed
    assert result.report.verification.identical
    assert result.model == unknown_operator()


def test_a_file_in_which_nothing_folds_is_copied_byte_by_byte(tmp_path):
    # Fields of a message may come in any order, and twice: none of this survives reading and writing.
    data = unknown_operator().SerializeToString() + onnx.ModelProto(producer_name="somebody").SerializeToString()
    assert onnx.ModelProto.FromString(data).SerializeToString(deterministic=True) != data
    source, target = tmp_path / "m.onnx", tmp_path / "out.onnx"
    source.write_bytes(data)
    report = bnfold.fold_file(source, target, bnfold.FoldOptions())
    assert target.read_bytes() == data
    assert report.verification.identical


def test_verify_says_so_too():
    assert bnfold.verify(unknown_operator(), unknown_operator()).identical
    other = model([node("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    assert not bnfold.verify(other, other + onnx.ModelProto(producer_name="b").SerializeToString()).identical
