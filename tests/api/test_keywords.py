"""Keyword arguments: what is known of them before a call, and what is said of wrong ones."""

import inspect
from dataclasses import fields

import pytest

import bnfold
from bnfold.api.typed import FileKeywords, FoldKeywords, VerifyKeywords
from tests.api.folders import save, snapshot


def names_of(kind):
    return {entry.name for entry in fields(kind)}


def test_what_mypy_sees_are_the_fields():
    assert set(FileKeywords.__annotations__) == names_of(bnfold.FoldOptions)
    assert set(FoldKeywords.__annotations__) == names_of(bnfold.FoldOptions) - {"to"}
    assert set(VerifyKeywords.__annotations__) == names_of(bnfold.VerifyOptions)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (bnfold.fold, bnfold.FoldOptions),
        (bnfold.explain, bnfold.FoldOptions),
        (bnfold.fold_file, bnfold.FoldOptions),
        (bnfold.verify, bnfold.VerifyOptions),
    ],
)
def test_what_help_shows_are_the_fields_with_their_defaults(function, kind):
    shown = inspect.signature(function).parameters
    for entry in fields(kind):
        assert shown[entry.name].default == getattr(kind(), entry.name) or entry.name == "verify"


@pytest.mark.parametrize(("verify", "status"), [(True, "passed"), (False, "skipped"), (None, "skipped")])
def test_a_check_is_asked_for_by_a_word(model, verify, status):
    assert bnfold.fold(model, verify=verify).report.verification.status == status
    assert bnfold.fold(model, verify=bnfold.VerifyOptions(samples=2)).report.verification.samples == 2


def test_shapes_are_those_of_the_check_too(model):
    options = bnfold.FoldOptions(shapes={"x": (2, 3), "y": (1,)}, verify=bnfold.VerifyOptions(shapes={"x": (9, 9)}))
    assert options.check.shapes == {"x": (9, 9), "y": (1,)}
    with pytest.raises(bnfold.UsageError, match="has no input 'typo'"):
        bnfold.fold(model, shapes={"typo": (1,)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"affin": False}, "unknown option 'affin': did you mean 'affine'?"),
        ({"samples": 2}, r"unknown option 'samples': it is one of the check, give verify=VerifyOptions\(samples=...\)"),
        ({"qqq": 1}, "unknown option 'qqq': expected one of affine, merge_branches"),
        ({"verify": "yes"}, "verify must be True, False or VerifyOptions, got 'yes'"),
    ],
)
def test_wrong_ones_are_told_before_anything_is_read(options, said):
    for function in (bnfold.fold, bnfold.explain):
        if function is bnfold.fold or "verify" not in options:
            with pytest.raises(bnfold.UsageError, match=said):
                function("gone.onnx", **options)


def test_options_and_keywords_are_one_or_the_other(model, tmp_path):
    source = save(model, tmp_path / "m.onnx")
    before = snapshot(tmp_path)
    with pytest.raises(bnfold.UsageError, match="options and affine are both given"):
        bnfold.fold_file(source, tmp_path / "out.onnx", bnfold.FoldOptions(), affine=False)
    assert snapshot(tmp_path) == before
    assert bnfold.fold_file(str(source), None, affine=False).outcome.folds


MISSING = {
    "fold": lambda _, gone: bnfold.fold(gone),
    "explain": lambda _, gone: bnfold.explain(gone),
    "fold_file": lambda _, gone: bnfold.fold_file(gone, None),
    "verify a": lambda good, gone: bnfold.verify(gone, good),
    "verify b": lambda good, gone: bnfold.verify(good, gone),
}


@pytest.mark.parametrize("call", MISSING.values(), ids=list(MISSING))
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_missing_file_is_named_whichever_argument_it_is(model, tmp_path, call, kind):
    good = save(model, tmp_path / "m.onnx")
    with pytest.raises(bnfold.ModelFormatError, match=r"gone\.onnx cannot be read: No such file"):
        call(kind(good), kind(tmp_path / "gone.onnx"))


def test_a_folder_is_no_model(model, tmp_path):
    good = save(model, tmp_path / "m.onnx")
    with pytest.raises(bnfold.BnfoldError, match=str(tmp_path)):
        bnfold.verify(good, tmp_path)


def test_a_missing_library_of_operators_is_named(model):
    other = bnfold.fold(model).model
    with pytest.raises(bnfold.UsageError, match=r"gone\.so"):
        bnfold.verify(model, other, custom_ops=("gone.so",))
