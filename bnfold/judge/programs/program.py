"""Programs of torch, made alike: what they take, what they give, and how to run them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bnfold.errors import UncheckedError, UsageError
from bnfold.judge.programs.inside import tensors_inside
from bnfold.judge.programs.tensors import named_results, numpy_dtype, to_array
from bnfold.pulse import beat

if TYPE_CHECKING:
    import torch

Observe: TypeAlias = Callable[[Sequence[Any]], tuple[object, Mapping[str, Any]]]
"""Runs a program on flat arguments: what it returns, and torch.Tensors inside it by name."""


@dataclass(frozen=True)
class TorchPort:
    """One argument of a program, nested ones taken apart.

    Attributes:
        name: its name.
        type: for people: "Tensor", "int", "Optional[Tensor]".
        dtype: of a tensor, None where nothing says it.
        shape: of a tensor, None where nothing says it.
        constant: what is passed where the caller says nothing: a default, or a number that the program was made with.
        is_optional: whether `constant` may be passed.
    """

    name: str
    type: str
    dtype: "np.dtype[Any] | None" = None
    shape: tuple[int, ...] | None = None
    constant: object = None
    is_optional: bool = False

    @property
    def is_tensor(self) -> bool:
        """Whether values are drawn for it."""
        return self.type == "Tensor"


class TorchProgram:
    """A program that can be run.

    Args:
        role: how messages call it: "the original".
        ports: its arguments.
        call: runs it on flat arguments.
        weights: its parameters, buffers and constants.
        observe: runs it and shows tensors inside, where that is possible.
    """

    def __init__(
        self,
        role: str,
        ports: Sequence[TorchPort],
        call: Callable[[Sequence[Any]], object],
        weights: Sequence["torch.Tensor"],
        observe: Observe | None = None,
    ) -> None:
        self.role = role
        self.ports = tuple(ports)
        self._call = call
        self._weights = weights
        self._observe = observe

    def run(self, arguments: Sequence[Any]) -> dict[str, object]:
        """Everything it returns, by name.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        return named_results(self._guarded(self._call, arguments))

    def observe(self, arguments: Sequence[Any]) -> tuple[dict[str, object], dict[str, Any]]:
        """Everything it returns, and the tensors inside it that can be seen, by name.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        if self._observe is None:
            return self.run(arguments), {}
        result, inside = self._guarded(self._observe, arguments)
        return named_results(result), {name: to_array(tensor) for name, tensor in inside.items()}

    def float_types(self) -> "set[np.dtype[Any]]":
        """The floating point types of its weights."""
        return {dtype for tensor in self._weights if (dtype := _float_type(tensor)) is not None}

    @contextmanager
    def moved_weights(self, seed: int, step: int) -> Iterator[None]:
        """For a while, every number in a weight over two axes and more is moved up or down, in place.

        Args:
            seed: of the directions.
            step: in units of the last place of 1.
        """
        import torch

        rng = np.random.default_rng(seed)
        weights = {tensor.data_ptr(): tensor for tensor in self._weights if _can_move(tensor)}
        before = {place: tensor.detach().clone() for place, tensor in weights.items()}
        try:
            with torch.no_grad():
                for tensor in weights.values():
                    directions = torch.from_numpy(rng.integers(0, 2, tuple(tensor.shape), np.int8) * 2 - 1)
                    tensor.mul_(1 + step * directions.to(tensor.dtype) * torch.finfo(tensor.dtype).eps)
            yield
        finally:
            with torch.no_grad():
                for place, tensor in weights.items():
                    tensor.copy_(before[place])

    def _guarded(self, run: Callable[[Sequence[Any]], Any], arguments: Sequence[Any]) -> Any:  # noqa: ANN401
        import torch

        # Its own copies, because a program may write to what it is given.
        own = [argument.clone() if isinstance(argument, torch.Tensor) else argument for argument in arguments]
        beat()
        try:
            with torch.no_grad():
                return run(own)
        except Exception as error:  # whatever the program raises
            raise UncheckedError(f"torch cannot run {self.role}: {_one_line(error)}") from error


def open_program(role: str, model: object, observe: Observe | None = None) -> TorchProgram:
    """A ScriptModule or an ExportedProgram as a program.

    Args:
        role: how messages call it.
        model: the model.
        observe: for a ScriptModule, how to look inside; an ExportedProgram shows its tensors by itself.

    Raises:
        UsageError: it is neither.
    """
    import torch

    if isinstance(model, torch.jit.ScriptModule):
        return _script_program(role, model, observe)
    if isinstance(model, torch.export.ExportedProgram):
        return _exported_program(role, model)
    raise UsageError(f"cannot check a {type(model).__name__}: expected a ScriptModule or an ExportedProgram")


def _script_program(role: str, module: Any, observe: Observe | None) -> TorchProgram:  # noqa: ANN401
    import torch

    method = module._c._get_method("forward")
    inputs = list(method.graph.inputs())[1:]
    ports = [_script_port(argument, value) for argument, value in zip(method.schema.arguments[1:], inputs, strict=True)]
    constants = module.code_with_constants[1].const_mapping.values()
    weights = [held for held in (*module.state_dict().values(), *constants) if isinstance(held, torch.Tensor)]
    return TorchProgram(role, ports, lambda arguments: module(*arguments), weights, observe)


def _script_port(argument: Any, value: Any) -> TorchPort:  # noqa: ANN401 - torch has no public names for these
    shape = dtype = None
    if value.type().kind() == "TensorType":
        sizes, dtype = value.type().sizes(), value.type().dtype()
        shape = None if sizes is None else tuple(sizes)
    return TorchPort(
        name=argument.name,
        type=str(argument.type),
        dtype=None if dtype is None else numpy_dtype(dtype),
        shape=shape,
        constant=argument.default_value if argument.has_default_value() else None,
        is_optional=argument.has_default_value() or str(argument.type).startswith("Optional["),
    )


def _exported_program(role: str, program: "torch.export.ExportedProgram") -> TorchProgram:
    import torch
    from torch.utils import _pytree as pytree

    spec = program.call_spec.in_spec
    names = [str(name) for name in program.graph_signature.user_inputs]
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    examples = [None] * len(names) if program.example_inputs is None else pytree.tree_leaves(program.example_inputs)
    ports = [_exported_port(name, nodes.get(name), given) for name, given in zip(names, examples, strict=True)]
    module = program.module()

    def call(arguments: Sequence[Any]) -> object:
        args, kwargs = pytree.tree_unflatten(list(arguments), spec)
        return module(*args, **kwargs)

    def observe(arguments: Sequence[Any]) -> tuple[object, Mapping[str, "torch.Tensor"]]:
        return call(arguments), tensors_inside(module, arguments)

    constants = [value for value in program.constants.values() if isinstance(value, torch.Tensor)]
    return TorchProgram(role, ports, call, [*program.state_dict.values(), *constants], observe)


def _exported_port(name: str, node: Any, example: object) -> TorchPort:  # noqa: ANN401
    """From the example where there is one, else from the graph; a size that is not fixed gets its hint."""
    import torch

    held = example if example is not None or node is None else node.meta.get("val")
    if not isinstance(held, torch.Tensor):
        return TorchPort(name, type(held).__name__, constant=held, is_optional=True)
    return TorchPort(name, "Tensor", numpy_dtype(held.dtype), tuple(map(_size, held.shape)))


def _float_type(tensor: "torch.Tensor") -> "np.dtype[Any] | None":
    return numpy_dtype(tensor.dtype) if tensor.dtype.is_floating_point else None


def _can_move(tensor: "torch.Tensor") -> bool:
    """Whether it is a weight that torch computes with, each number of which is stored once and may be written."""
    import torch

    computes = tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return bool(computes and tensor.dim() > 1 and tensor.is_contiguous() and not tensor.is_inference())


def _size(size: Any) -> int:  # noqa: ANN401 - an int or a torch.SymInt
    hint = size if isinstance(size, int) else getattr(size.node, "hint", None)
    return int(hint) if hint is not None else 2


def _one_line(error: Exception) -> str:
    """What the program said: of a TorchScript traceback the last line, of others the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    text = lines[-1] if "Traceback of TorchScript" in str(error) else lines[0]
    return text if len(text) <= 400 else text[:397] + "..."
