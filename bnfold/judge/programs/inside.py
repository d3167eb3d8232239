"""The tensors inside an exported program, seen by running its graph node by node."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def tensors_inside(module: "torch.fx.GraphModule", arguments: Sequence[Any]) -> Mapping[str, "torch.Tensor"]:
    """Every tensor that an operator makes, by the name of its node.

    Args:
        module: of torch.export, with its guards.
        arguments: flat.
    """
    import torch

    seen: dict[str, torch.Tensor] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: "torch.fx.Node") -> Any:  # noqa: ANN401
            result = super().run_node(n)
            if n.op == "call_function" and isinstance(result, torch.Tensor):
                seen[n.name] = result.clone()  # because a later node may write to it
            return result

    # The interpreter takes what the placeholders take, one argument each.
    Recorder(module).run(*arguments, enable_io_processing=False)
    return seen
