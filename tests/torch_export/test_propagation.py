"""Meta data of a changed graph, and views that meet other strides."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from bnfold.frontends.torch_export.propagation import propagate  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402


class Views(torch.nn.Module):
    def forward(self, x):
        return x.transpose(1, 2).clone(memory_format=torch.contiguous_format).view(x.shape[0], -1) + 1


def test_a_view_that_meets_other_strides_becomes_a_reshape():
    graph = export(Views(), torch.randn(2, 3, 4)).graph
    clone = next(node for node in graph.nodes if "clone" in str(node.target))
    view = next(node for node in graph.nodes if "view" in str(node.target))
    clone.replace_all_uses_with(clone.args[0])
    propagate(graph, [view])
    assert view.target is torch.ops.aten.reshape.default
    assert view.meta["val"].shape == (2, 12)
