"""Names of changed nodes: a name that the old program has too stands for the same values in both."""

from collections.abc import Mapping, Sequence

from torch import fx

from bnfold.frontends.aten.journal import JournalEntry, NodeRemoved, Renamed
from bnfold.frontends.aten.node import AtenValue
from bnfold.frontends.common.fresh_names import fresh_name
from bnfold.frontends.torch_export.copies import Copies


class Views:
    """What stands for the nodes of a program in other graphs than their own.

    Args:
        copies: the graphs, as they were copied.
    """

    def __init__(self, copies: Copies) -> None:
        nodes = [node for graph in copies.all_graphs() for node in graph.nodes] if copies.calls else []
        found = {node: tuple(copies.views(node)) for node in nodes}
        self._found = {node: views for node, views in found.items() if views}

    def rename(self, values: Mapping[AtenValue, str], nodes: Mapping[fx.Node, fx.Node]) -> None:
        """Give what stood for values that are not what they were the names that these have now.

        Args:
            values: the new names.
            nodes: the copies of the nodes that the values come from.
        """
        for value, name in values.items():
            for view in self._found.get(nodes.get(value.origin), ()):
                if not view._erased:
                    view.name = _free(view, name)


def changed_values(journal: Sequence[JournalEntry]) -> dict[AtenValue, str]:
    """The values that became others, and what they are called now."""
    replaced = {change.output: change.replacement for change in journal if isinstance(change, NodeRemoved)}
    changed: dict[AtenValue, str] = {}
    for change in journal:
        if isinstance(change, Renamed):
            changed[change.value] = change.value.name
    for value in reversed(replaced):
        replacement = replaced[value]
        changed.pop(value, None)
        # Under the same name stand the same values, unless they changed later.
        if replacement is not None and (
            replacement.name != value.name or (replacement in replaced and replacement in changed)
        ):
            changed[value] = changed.get(replacement, replacement.name)
    return changed


def rename_nodes(copies: Copies, names: Mapping[fx.Node, str]) -> dict[str, str]:
    """Name nodes.

    Args:
        copies: the graphs.
        names: of nodes of any graph; those that are gone do not count.

    Returns:
        The new names in the program's own graph, by the old ones, of all nodes.
    """
    before = {node: node.name for node in copies.graph.nodes}
    for node, name in names.items():
        if not node._erased:
            node.name = name if node.graph is copies.graph else _free(node, name)
    return {name: node.name for node, name in before.items()}


def _free(node: fx.Node, wanted: str) -> str:
    """A body has names of its own, which the graph around it may have too."""
    return fresh_name(wanted, {other.name for other in node.graph.nodes if other is not node})
