"""What an import loads, and what the package offers."""

import subprocess
import sys

import pytest

import bnfold
import bnfold.errors

HEAVY = ["google.protobuf", "ml_dtypes", "numpy", "onnx", "onnx_ir", "onnxruntime", "torch"]


def loaded_by(statement: str) -> set[str]:
    """The heavy modules that a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import bnfold", "import bnfold; bnfold.__version__", "import bnfold.errors"])
def test_the_package_alone_loads_nothing_heavy(statement):
    assert loaded_by(statement) == set()


def test_errors_are_caught_without_loading_what_raises_them():
    assert loaded_by("from bnfold import BnfoldError, UncheckedError, VerificationError") == set()


def test_every_error_is_offered():
    errors = {name for name, kind in vars(bnfold.errors).items() if isinstance(kind, type)}
    assert errors <= set(bnfold.__all__)
    assert bnfold.UncheckedError is bnfold.errors.UncheckedError


def test_the_api_loads_neither_torch_nor_onnx_ir():
    loaded = loaded_by("import bnfold; bnfold.fold")
    assert loaded & {"torch", "onnx_ir"} == set()
    assert "onnx" in loaded


@pytest.mark.parametrize("name", bnfold.__all__)
def test_everything_in_all_exists(name):
    assert getattr(bnfold, name) is not None


def test_completion_offers_everything():
    """Shells and editors ask dir()."""
    assert set(bnfold.__all__) <= set(dir(bnfold))


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = bnfold.no_such_thing


@pytest.mark.parametrize("name", ["explain", "fold", "fold_file", "verify"])
def test_functions_stay_functions_once_everything_is_loaded(name):
    """A subpackage of the same name would take the function's place."""
    script = f"import bnfold; bnfold.fold; import bnfold.api; assert callable(bnfold.{name}), bnfold.{name}"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_star_import():
    script = "from bnfold import *; assert callable(fold) and callable(verify) and callable(FoldOptions)"
    subprocess.run([sys.executable, "-c", script], check=True)
