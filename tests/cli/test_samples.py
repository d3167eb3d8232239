import numpy as np
import pytest

from bnfold.cli.samples import read_samples
from bnfold.errors import UsageError

VALUES = np.arange(6, dtype=np.float16).reshape(2, 3)


def test_a_npy_file_is_the_samples(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)

    samples = read_samples("data", tmp_path / "x.npy")

    assert samples.dtype == np.float16
    np.testing.assert_array_equal(samples, VALUES)


def test_an_archive_gives_the_array_of_that_name(tmp_path):
    np.savez(tmp_path / "x.npz", data=VALUES, other=VALUES + 1)

    np.testing.assert_array_equal(read_samples("other", tmp_path / "x.npz"), VALUES + 1)


def test_an_archive_of_one_array_needs_no_name(tmp_path):
    np.savez(tmp_path / "x.npz", VALUES)

    np.testing.assert_array_equal(read_samples("data", tmp_path / "x.npz"), VALUES)


def test_an_archive_of_several_arrays_needs_the_name(tmp_path):
    np.savez(tmp_path / "x.npz", a=VALUES, b=VALUES)

    with pytest.raises(UsageError, match=r"got the arrays a, b; expected data"):
        read_samples("data", tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_other_content_is_an_error_of_one_line(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=r"--input data=.*cannot be read as a NumPy file"):
        read_samples("data", tmp_path / name)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_samples("data", tmp_path / "x.npy")


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(UsageError, match="cannot be read"):
        read_samples("data", tmp_path / "x.npy")
