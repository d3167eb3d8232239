"""Which norm took the freedom of a stream, where another one stays for it: what a reason does not know by itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Generic

from bnfold.compensation import Region
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Reason, Refusal

# In front of a ramp, a stream bears the zero and the sign of one norm.
_OF_RIVALS = (Reason.SHIFT_CANNOT_PASS, Reason.NEEDS_NON_NEGATIVE_SCALE)


class Rivals(Generic[N, V, E]):
    """Remembers which operators stood behind a BatchNorm that has folded across.

    While it was there, it would have absorbed what now reaches them.

    Args:
        port: the graph.
    """

    def __init__(self, port: GraphPort[N, V, E]) -> None:
        self._port = port
        self._gone: dict[str, str] = {}

    def note(self, node: N, region: Region[N, V]) -> None:
        """A BatchNorm is about to go, with these maps."""
        self._gone.update((other.label, node.label) for other in self._passed_behind(node, region))

    def _passed_behind(self, node: N, region: Region[N, V]) -> Iterator[N]:
        """The operators of a region that see what a BatchNorm has made, with nothing between that absorbs a map."""
        waiting = [node]
        seen: set[N] = set()
        while waiting:
            for value in self._port.outputs(waiting.pop()):
                for reader, _ in () if value is None else self._port.readers(value):
                    if reader in region.passed and reader not in seen:
                        seen.add(reader)
                        waiting.append(reader)
                        yield reader

    def named(self, refusal: Refusal) -> Refusal:
        """A refusal with the norm that is gone in front of where it was met, if one is."""
        rival = self._gone.get(refusal.path[-1]) if refusal.reason in _OF_RIVALS and refusal.path else None
        if rival is None:
            return refusal
        return replace(refusal, evidence=f"{refusal.evidence}; {rival!r} has folded across it")
