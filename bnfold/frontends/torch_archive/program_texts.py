"""What every text in the JSON of an exported program may be: held against what torch makes of it."""

import re
import typing
from collections.abc import Callable, Mapping
from functools import partial

from bnfold.errors import BnfoldError
from bnfold.frontends.torch_archive.expressions import check_size, is_symbol, plain_guard
from bnfold.frontends.torch_archive.json_kinds import Check, dict_of, is_one_of, is_text, only
from bnfold.frontends.torch_archive.json_text import read_json
from bnfold.frontends.torch_archive.names import is_dotted, is_path, is_variable
from bnfold.frontends.torch_archive.treespecs import check_arguments, check_treespec

_FUNCTION_OF_TORCH = re.compile(r"torch\.(nn|ops|_C\._nn|functional)(\.\w+)+|torch\.\w+|\w+", re.ASCII)
_VERIFIERS = frozenset({"", "ATEN", "TRAINING"})
_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu", "hpu", "xla", "mtia", "meta", "privateuseone"})


def _guard(text: object) -> None:
    plain_guard(text)


def allowed_texts(imports: tuple[str, ...], target: Check) -> Mapping[tuple[str, str], Check]:
    """The check of every field that holds a text, by the class of the schema and the field's name.

    Args:
        imports: packages that the user named.
        target: the check of what a program calls.
    """
    text = only("the text", is_text)
    variable = only("the name", is_variable)
    path = only("the name", is_path)
    argument = only("the name", lambda name: name == "" or (isinstance(name, str) and name.isidentifier()))
    checks: dict[Check, str] = {
        text: "Argument.as_string Argument.as_strings ConstantValue.as_string ExportedProgram.torch_version "
        "GraphModule.metadata PayloadMeta.path_name",
        variable: "SymIntArgument.as_name SymFloatArgument.as_name SymBoolArgument.as_name TensorArgument.name "
        "TokenArgument.name GraphArgument.name CustomObjArgument.name Node.name InputToConstantInputSpec.name "
        "GradientToUserInputSpec.user_input_name UserInputMutationSpec.user_input_name NamedTupleDef.field_names "
        "ModuleCallSignature.forward_arg_names",
        path: "InputToParameterSpec.parameter_name InputToBufferSpec.buffer_name "
        "InputToTensorConstantSpec.tensor_constant_name InputToCustomObjSpec.custom_obj_name "
        "BufferMutationSpec.buffer_name ParameterMutationSpec.parameter_name GradientToParameterSpec.parameter_name "
        "ModuleCallEntry.fqn",
        argument: "NamedArgument.name",
        only("the class", is_dotted): "CustomObjArgument.class_fqn",
        only("the device", partial(is_one_of, _DEVICES)): "Device.type",
        only("the dialect", partial(is_one_of, _VERIFIERS)): "ExportedProgram.verifiers",
        check_size: "SymExpr.expr_str",
        target: "Node.target Argument.as_operator",
        partial(check_arguments, imports=imports): "ModuleCallSignature.in_spec",
        partial(check_treespec, imports=imports): "ModuleCallSignature.out_spec",
        _guard: "ExportedProgram.guards_code",
    }
    return {
        typing.cast("tuple[str, str]", tuple(field.split("."))): check
        for check, fields in checks.items()
        for field in fields.split()
    }


def allowed_keys() -> Mapping[tuple[str, str], Callable[[object], bool]]:
    """What the keys of a dict may be, by the same; of any other dict, any text."""
    values = ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values")
    return {
        **{("Graph", name): is_variable for name in values},
        ("ExportedProgram", "opset_version"): is_dotted,
        ("ExportedProgram", "range_constraints"): is_symbol,
        ("GraphModule", "treespec_namedtuple_fields"): is_dotted,
        ("PayloadConfig", "config"): is_path,
    }


def check_node_metadata(value: object) -> None:
    """What a node remembers of its origin, which torch keeps beside the graph. What torch would use is dropped.

    Raises:
        ModelFormatError, UnsupportedModelError: it is no object, or holds something else than texts.
    """
    dict_of(is_text, only("the text", is_text), value)
    metadata = typing.cast("dict[str, str]", value)
    for key in list(metadata):
        if not _is_harmless(key, metadata[key]):
            del metadata[key]


def _is_harmless(key: str, text: str) -> bool:
    """Whether torch knows it and only keeps it; sources of functions are looked up in torch itself."""
    if key in ("stack_trace", "nn_module_stack", "torch_fn"):
        return True
    if key == "source_fn_stack":
        return all(_FUNCTION_OF_TORCH.fullmatch(entry.partition(",")[2]) for entry in text.split(";"))
    if key in ("custom", "from_node"):
        try:
            read_json(key, text.encode(errors="replace"), most_parts=100_000)
        except BnfoldError:
            return False
        return True
    return False
