"""What a program may call: operators on tensors, numbers and texts, by name. Whatever is not listed is refused.

Operators of other packages are allowed where the user named the package; then its code is trusted, not the file's.
"""

import re
from collections.abc import Iterable
from functools import cache

import torch

from bnfold.errors import UnsupportedModelError
from bnfold.keywords import keyword

_COMPUTING = frozenset(
    """
    aten prim prims quantized _quantized quantization quantized_decomposed onednn mkldnn mkldnn_prepacked
    mkl sparse profiler rngprims
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
"""Namespaces whose operators compute, but for those that `_reaching` finds in them."""

_OTHERS_OF_TORCH = frozenset(
    """
    c10d _c10d_functional _c10d_functional_autograd _dtensor symm_mem static_runtime inductor inductor_prims
    _test _native debugprims debug_mode_ops export onnx rpc triton streams fbgemm_gpu aoti_torch
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
"""Namespaces of torch itself that programs have no need of: other machines, raw memory, tests of torch."""

_HIGHER_ORDER = frozenset(
    """
    associative_scan auto_functionalized auto_functionalized_v2 autograd_function_apply cond flex_attention
    hints_wrapper invoke_quant invoke_quant_packed invoke_subgraph map_impl out_dtype scan strict_mode
    tag_activation_checkpoint while_loop with_effects wrap wrap_activation_checkpoint wrap_with_autocast
    wrap_with_set_grad_enabled
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
_ON_NUMBERS = frozenset(
    """
    _operator.eq _operator.ne _operator.le _operator.ge _operator.lt _operator.gt _operator.neg _operator.pos
    _operator.mul _operator.add _operator.sub _operator.floordiv _operator.mod _operator.pow _operator.truediv
    _operator.and_ _operator.or_ _operator.lshift _operator.rshift math.trunc math.floor math.ceil torch.sym_not
    torch.sym_int torch.sym_float torch.sym_ite torch.sym_max torch.sym_min torch.sym_sqrt torch.sym_sum
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
_ON_BATCHES = frozenset(
    """
    _add_batch_dim _remove_batch_dim _vmap_increment_nesting _vmap_decrement_nesting _make_dual _unpack_dual
    _jvp_increment_nesting _jvp_decrement_nesting _unwrap_for_grad _enter_dual_level _exit_dual_level
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)
_WRAPPERS = "torch._functorch.predispatch."
_TARGET = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?", re.ASCII)

_NAMES_A_FILE = re.compile(r"(file|path|url)_?name|f(ile)?name|file|path|url", re.IGNORECASE)
_OTHER_MACHINES = re.compile(r"RRef|WorkerInfo|ProcessGroup|c10d|dist_rpc")
_LEAKS_ADDRESSES = frozenset({"mkldnn::data_ptr", "aten::data_ptr"})


def check_target(target: object, imports: Iterable[str]) -> None:
    """What a node of an exported program calls.

    Args:
        target: as torch writes it, such as "torch.ops.aten.conv2d.default".
        imports: packages that the user named.

    Raises:
        UnsupportedModelError: it may not, or nobody knows it.
    """
    name = target if isinstance(target, str) else ""
    if name in _ON_NUMBERS or (name.startswith(_WRAPPERS) and name.removeprefix(_WRAPPERS) in _ON_BATCHES):
        return
    found = _TARGET.fullmatch(name)
    if found is None:
        raise UnsupportedModelError(f"calls {str(target)[:80]!r}, which is no operator that programs need")
    namespace, name = found[1], found[2]
    if namespace == "higher_order":
        if name not in _HIGHER_ORDER:
            raise UnsupportedModelError(f"calls the operator 'higher_order::{name}', which is not one that computes")
        return
    check_operator(f"{namespace}::{name}", imports)


def check_operator(operator: str, imports: Iterable[str]) -> None:
    """An operator of any program.

    Args:
        operator: namespace and name, such as "aten::conv2d".
        imports: packages that the user named.

    Raises:
        UnsupportedModelError: it may not be called, or nobody knows it.
    """
    namespace, _, name = operator.partition("::")
    if operator in _reaching():
        raise UnsupportedModelError(f"calls the operator {operator!r}, which reaches files or the network")
    if namespace in _COMPUTING:
        return
    if namespace in _OTHERS_OF_TORCH:
        raise UnsupportedModelError(f"calls the operator {operator!r}, which is not one that computes")
    if not tuple(imports):
        raise UnsupportedModelError(
            f"calls the operator {operator!r} of another package: name the package with {keyword('imports')} to allow "
            "its operators"
        )
    if not hasattr(getattr(torch.ops, namespace), name):
        raise UnsupportedModelError(
            f"calls the operator {operator!r}, which no imported package has: name its package with "
            f"{keyword('imports')}"
        )


def reaches_outside(operator: str) -> bool:
    """Whether an operator of torch reads or writes files, talks to other machines, or works on raw memory."""
    return operator in _reaching() or operator.partition("::")[0] in _OTHERS_OF_TORCH


@cache
def _reaching() -> frozenset[str]:
    """Operators that torch computes with, and yet read or write files, talk to other machines, or show addresses.

    Their schemas say so: a text that is called a file's name, or a type of torch's distributed part.
    """
    schemas = torch._C._jit_get_all_schemas()
    return _LEAKS_ADDRESSES | {schema.name for schema in schemas if _says_so(schema)}


def _says_so(schema: torch._C.FunctionSchema) -> bool:
    arguments = [(argument.name, str(argument.type)) for argument in schema.arguments]
    return (
        schema.name.startswith("prim::rpc_")
        or any("str" in kind and _NAMES_A_FILE.fullmatch(name) for name, kind in arguments)
        or _OTHER_MACHINES.search(str(schema)) is not None
    )
