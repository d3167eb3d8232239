"""The table of operators, torch's registry, and all else that names operators agree."""

import ast
import importlib
import pkgutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")

import bnfold.frontends  # noqa: E402
from bnfold.frontends.aten.constants import AtenConstants  # noqa: E402
from bnfold.frontends.aten.graph import AtenGraph  # noqa: E402
from bnfold.frontends.aten.node import AtenNode, AtenValue  # noqa: E402
from bnfold.frontends.aten.operators.commuting import decode_nonlinear  # noqa: E402
from bnfold.frontends.aten.operators.family import Known  # noqa: E402
from bnfold.frontends.aten.operators.movement import decode_dropout  # noqa: E402
from bnfold.frontends.aten.operators.row import AtenOperator  # noqa: E402
from bnfold.frontends.aten.operators.table import OPERATORS, operator_of  # noqa: E402
from bnfold.frontends.aten.schema import effects_of  # noqa: E402
from bnfold.frontends.common.signatures import kinds_encoded  # noqa: E402
from bnfold.frontends.torch_archive.operators import check_operator  # noqa: E402
from bnfold.semantics import AffineMap, Contraction, Embedding, Normalisation, Recurrent  # noqa: E402
from bnfold.verifier.programs.parts.crop import crop_of  # noqa: E402
from bnfold.verifier.programs.parts.graph import Node as PartNode  # noqa: E402

HAVE_PARAMETERS = (AffineMap, Contraction, Embedding, Normalisation, Recurrent)
DECODED = sorted(name for name, row in OPERATORS.items() if row.decode not in (None, decode_nonlinear))


def schemas(name):
    return torch._C._jit_get_schemas_for_operator(name)


def meanings(row):
    returned = row.decode.__annotations__["return"]
    return getattr(returned, "__args__", (returned,))


def test_no_operator_has_two_rows():
    families = [getattr(module, "FAMILY", None) for module in torch_frontends()]
    rows = [row.name for family in families if family is not None for row in family.operators]
    assert sorted(rows) == sorted(OPERATORS)


def test_a_row_may_say_whatever_is_known_of_an_operator():
    assert set(Known.__annotations__) == {entry.name for entry in fields(AtenOperator)} - {"name", "decode"}


def test_every_row_is_of_an_operator_that_exists():
    for name in OPERATORS:
        base, _, overload = name.partition(".")
        assert any(overload in ("", schema.overload_name) for schema in schemas(base)) or "prim::" in name, name


@pytest.mark.parametrize("name", DECODED)
def test_what_is_in_place_is_the_twin_of_what_has_its_name(name):
    for twin in schemas(f"{name}_"):
        first, *others = twin.arguments
        if str(first.type) != "Tensor":
            continue  # of lists
        assert effects_of(twin).writes == {first.name} or name == "aten::detach"
        names = {argument.name for argument in others}
        assert any(names <= {argument.name for argument in schema.arguments} for schema in schemas(name)), twin
    twin, row = operator_of(f"{name}_"), operator_of(name)
    assert (twin.decode, twin.encode, twin.keeps) == (row.decode, row.encode, row.keeps)
    assert twin.is_in_place
    assert twin.functional == name


@pytest.mark.parametrize("name", DECODED)
def test_what_has_parameters_can_be_written(name):
    row = OPERATORS[name]
    may_change = any(meaning in HAVE_PARAMETERS for meaning in meanings(row))
    only_trains = name.startswith("aten::_batch_norm_with_update")
    assert (row.encode is not None) == (may_change and not only_trains)
    assert row.may_be_affine == (AffineMap in meanings(row))
    if row.encode is not None:
        assert {meaning for meaning in meanings(row) if meaning in HAVE_PARAMETERS} <= kinds_encoded(row.encode)


def test_batch_norms_are_the_operators_of_that_name():
    named = {schema.name for schema in torch._C._jit_get_all_schemas() if "batch_norm" in schema.name}
    others = {name for name in named if any(word in name for word in ("backward", "_stats", "elemt", "gather", "impl"))}
    of_torch = {name for name in named - others if name.startswith("aten::")}
    assert of_torch - {name for name, row in OPERATORS.items() if row.is_batch_norm} <= {
        "aten::batch_norm_update_stats",
        "aten::quantized_batch_norm",
    }


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_files_may_call_every_operator(name):
    check_operator(name, imports=())


ALIKE_EVERYWHERE = {"aten::linear", "aten::addmm", "aten::mm", "aten::batch_norm"} | {
    name for name in OPERATORS if "conv" in name and OPERATORS[name].encode is not None
}


@pytest.mark.parametrize("name", sorted(ALIKE_EVERYWHERE))
def test_the_check_of_programs_knows_that_it_treats_all_places_alike(name):
    """So a crop shows all that a part with it does; the lists of the verifier are its own."""
    node = PartNode(name, reads=(), static=None, outputs=(), handle=None)
    assert crop_of([node], [np.ones((2, 3, 4, 4))]).side


def test_what_operators_with_weights_accept_is_known():
    with_weights = {name for name in DECODED if any(kind in HAVE_PARAMETERS[1:] for kind in meanings(OPERATORS[name]))}
    two_activations = {"aten::bmm", "aten::einsum"}
    said = {name for name, row in OPERATORS.items() if row.takes is not None}
    assert said - {name for name in said if OPERATORS[name].is_batch_norm} == {
        name for name in with_weights - two_activations if not OPERATORS[name].is_batch_norm
    }
    for name in said:
        names = [{argument.name for argument in schema.arguments} for schema in schemas(name)]
        takes = OPERATORS[name].takes
        assert any({takes.operand, takes.weight} <= arguments for arguments in names), name


def test_scripts_drop_every_dropout():
    from bnfold.frontends.torchscript.prepare import _DROPOUTS

    assert {name for name, row in OPERATORS.items() if row.decode is decode_dropout} == _DROPOUTS


def torch_frontends():
    folder = Path(bnfold.frontends.__path__[0])
    for package in ("aten", "torchscript", "torch_export"):
        prefix = f"bnfold.frontends.{package}."
        for found in pkgutil.walk_packages([str(folder / package)], prefix):
            yield importlib.import_module(found.name)


def named_in(module):
    """What looks like an operator: in the code as it is written, and in what tables hold."""
    tree = ast.parse(Path(module.__file__).read_text())
    pieces = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in pieces]
    texts = [node.value for node in whole if isinstance(node.value, str)]
    tables = [held for held in vars(module).values() if isinstance(held, (dict, frozenset, set, tuple, list))]
    texts += [entry for table in tables for entry in table if isinstance(entry, str)]
    return {text for text in texts if text.startswith("aten::") and text.removeprefix("aten::").isidentifier()}


def works_on_numbers_or_lists(name):
    return any(not any("Tensor" in str(argument.type) for argument in schema.arguments) for schema in schemas(name))


def test_every_operator_on_tensors_that_is_named_somewhere_has_a_row():
    named = {name for module in torch_frontends() for name in named_in(module)}
    assert {"aten::conv2d", "aten::view", "aten::unbind", "aten::reshape", "aten::upsample_"} <= named
    prefixes = {"aten::upsample_", "aten::_upsample_"}
    others = {"aten::_unwrap_optional", "aten::list"}
    unknown = {name for name in named - prefixes - others - set(OPERATORS) if not works_on_numbers_or_lists(name)}
    assert {name for name in unknown if operator_of(name).decode is None} == set()


def test_an_operator_of_which_nothing_is_known():
    row = operator_of("custom::thing")
    assert (row.decode, row.encode, row.may_be_affine) == (None, None, False)
    assert row.name == "custom::thing"
    assert not AtenOperator().may_be_affine


UNDONE = [
    ("transpose.int", (2, 3, 4), (0, 2)),
    ("t", (2, 3), ()),
    ("permute", (2, 3, 4), ([2, 0, -2],)),
    ("view", (2, 3, 4), ([6, 4],)),
    ("reshape", (2, 3, 4), ([-1, 2],)),
    ("flatten.using_ints", (2, 3, 4), (1, 2)),
    ("squeeze.dim", (2, 1, 4), (1,)),
    ("unsqueeze", (2, 3), (1,)),
    ("expand", (3, 1), ([2, 3, 4],)),
    ("repeat", (3,), ([4],)),
    ("alias", (2, 3), ()),
    ("clone", (2, 3), ()),
    ("contiguous", (2, 3), ()),
    ("detach", (2, 3), ()),
    ("detach_", (2, 3), ()),
    ("lift_fresh_copy", (2, 3), ()),
    ("to.dtype", (2, 3), (torch.float32,)),
    ("_to_copy", (2, 3), ()),
]


@pytest.mark.parametrize(("name", "shape", "further"), UNDONE, ids=str)
def test_new_values_find_their_way_back(name, shape, further):
    base, _, overload = name.partition(".")
    operator = getattr(getattr(torch.ops.aten, base), overload or "default")
    new = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    result = operator(new.clone(), *further)
    graph = AtenGraph()
    stored = graph.add_input(AtenValue("stored", parameter=torch.zeros(shape), shape=shape, dtype=torch.float32))
    given = (stored, *further)
    arguments = {
        argument.name: given[place] if place < len(given) else argument.default_value
        for place, argument in enumerate(operator._schema.arguments)
    }
    made = AtenValue("made", shape=tuple(result.shape), dtype=result.dtype)
    node = graph.append(AtenNode(operator_of(f"aten::{base}"), arguments, [made], "node"))
    assert torch.equal(torch.from_numpy(node.operator.undo(node, result.numpy())), new)
    assert torch.equal(AtenConstants().read(made), operator(torch.zeros(shape), *further))


def test_every_operator_that_can_be_undone_is_tried():
    tried = {f"aten::{name.partition('.')[0]}" for name, _, _ in UNDONE}
    assert {name for name, row in OPERATORS.items() if row.undo is not None} == tried
