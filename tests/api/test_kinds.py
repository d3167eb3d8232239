"""Options of another kind than they take: told by name, before anything is opened."""

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import bnfold
from bnfold import BenchOptions, FoldOptions, VerifyOptions

WRONG = [
    (FoldOptions, "affine", "no", "affine must be True or False, got 'no'"),
    (FoldOptions, "across", 1, "across must be True or False, got 1"),
    (FoldOptions, "exclude", "bn*", "exclude must be a sequence of strings, got 'bn*'"),
    (FoldOptions, "exclude", [1], "exclude must be a sequence of strings, got [1]"),
    (FoldOptions, "imports", "torchvision", "imports must be a sequence of strings, got 'torchvision'"),
    (FoldOptions, "shapes", [(1, 3)], "shapes must be shapes by name, such as"),
    (FoldOptions, "shapes", {"x": "1,3"}, "shapes must be shapes by name, such as"),
    (FoldOptions, "save_repro", 3, "save_repro must be a path or None, got 3"),
    (VerifyOptions, "samples", "x", "samples must be a whole number, got 'x'"),
    (VerifyOptions, "samples", 1.5, "samples must be a whole number, got 1.5"),
    (VerifyOptions, "samples", True, "samples must be a whole number, got True"),
    (VerifyOptions, "memory", "2GB", "memory must be a whole number, got '2GB'"),
    (VerifyOptions, "seed", None, "seed must be a whole number, got None"),
    (VerifyOptions, "rtol", "1e-3", "rtol must be a number or None, got '1e-3'"),
    (VerifyOptions, "dims", {"batch": "2"}, "dims must be sizes by name, such as"),
    (VerifyOptions, "shapes", {"x": 3}, "shapes must be shapes by name, such as"),
    (VerifyOptions, "inputs", {"x": [[1.0]]}, "inputs must be arrays of NumPy by name, got"),
    (VerifyOptions, "custom_ops", "ops.so", "custom_ops must be a sequence of strings, got 'ops.so'"),
    (VerifyOptions, "provider", 1, "provider must be a string, got 1"),
    (VerifyOptions, "probe", "yes", "probe must be True or False, got 'yes'"),
    (BenchOptions, "levels", "all", "levels must be a sequence of strings, got 'all'"),
    (BenchOptions, "threads", 4, "threads must be a sequence of whole numbers, got 4"),
    (BenchOptions, "seconds", "2", "seconds must be a number, got '2'"),
]


@pytest.mark.parametrize(("options", "name", "value", "message"), WRONG)
def test_a_value_of_another_kind_is_told_with_what_is_expected(options, name, value, message):
    with pytest.raises(bnfold.UsageError, match=re.escape(message)):
        options(**{name: value})


def test_a_long_value_is_told_in_short():
    with pytest.raises(bnfold.UsageError) as caught:
        VerifyOptions(samples="x" * 10_000)
    assert len(str(caught.value)) < 100


def test_what_means_the_same_is_taken():
    FoldOptions(
        affine=np.bool_(True), exclude=["a"], imports=("b",), shapes={"x": [1, np.int64(3)]}, save_repro=Path("x")
    )
    VerifyOptions(
        samples=np.int32(2), rtol=0, atol=np.float32(0.5), dims=OrderedDict(n=2), inputs={"x": np.ones((2, 3))}
    )
    BenchOptions(levels=["all"], threads=[1, 2], seconds=0)


def test_it_is_told_before_a_file_is_opened():
    with pytest.raises(bnfold.UsageError, match="samples must be a whole number"):
        bnfold.verify("not-there.onnx", "not-there.onnx", samples="x")
