"""The table of operators: one row for each, and no list beside it."""

import ast
from collections import Counter
from pathlib import Path

import onnx.defs
import pytest

import bnfold.frontends.onnx
import bnfold.verifier
from bnfold.frontends.common.signatures import kinds_encoded
from bnfold.frontends.onnx.operators import table
from bnfold.frontends.onnx.operators.table import OPERATORS
from bnfold.semantics import Absorber, AffineMap, Contraction, Recurrent

FRONTEND = Path(bnfold.frontends.onnx.__file__).parent
FILES = sorted(FRONTEND.rglob("*.py"))
STANDARD = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}


def words(path):
    """Every word in a string of a file's code, docstrings left out."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and is_text(node.body[0])}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_the_walk_over_the_code_finds_operators():
    assert {"Dropout", "DequantizeLinear"} <= {word for path in FILES for word in words(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FRONTEND)))
def test_every_operator_that_the_frontend_names_has_a_row(path):
    named = {word for word in words(path) if word in STANDARD}
    assert named - {op_type for _, op_type in OPERATORS} == set()


def test_no_operator_has_two_rows():
    rows = Counter((row.domain, row.op_type) for family in table._FAMILIES for row in family.operators)
    assert {key for key, count in rows.items() if count > 1} == set()


def test_every_row_of_the_standard_is_an_operator_of_it():
    assert {op_type for domain, op_type in OPERATORS if not domain} - STANDARD == set()


@pytest.mark.parametrize("key", OPERATORS, ids=str)
def test_a_row_says_either_what_an_operator_means_or_why_it_means_nothing(key):
    row = OPERATORS[key]
    assert not (row.decode and row.why_not_linear)
    assert bool(row.decode) == bool(row.versions)
    assert row.decode or not row.encode


def meanings(row):
    """The kinds of meaning that a decoder returns, as its signature says."""
    returned = row.decode.__annotations__["return"] if row.decode else None
    return set(getattr(returned, "__args__", (returned,))) - {None}


@pytest.mark.parametrize("key", OPERATORS, ids=str)
def test_what_has_parameters_can_be_written(key):
    row = OPERATORS[key]
    assert row.traits.may_be_affine == (AffineMap in meanings(row))
    parameters = {kind for kind in meanings(row) if issubclass(kind, Absorber)}
    assert parameters <= (kinds_encoded(row.encode) if row.encode else set())


WITH_WEIGHTS = sorted(key for key, row in OPERATORS.items() if meanings(row) & {Contraction, Recurrent})


def test_operators_with_weights_are_found():
    assert {op_type for _, op_type in WITH_WEIGHTS} >= {
        "Conv",
        "ConvTranspose",
        "Einsum",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
    }


@pytest.mark.parametrize("op_type", [op_type for _, op_type in WITH_WEIGHTS])
def test_the_verifier_knows_every_operator_with_weights(op_type):
    """It keeps lists of its own, for independence, and a fold into an operator that they lack is held to less."""
    files = Path(bnfold.verifier.__file__).parent.rglob("*.py")
    assert op_type in {word for path in files for word in words(path)}
