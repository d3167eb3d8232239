"""Each place where two models part, judged by itself: both parts cut out and run on equal inputs."""

from collections.abc import Container, Sequence

from bnfold.verifier.local.bench import Bench, Values
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.local.narrow_bench import NarrowBench
from bnfold.verifier.local.network_bench import NetworkBench
from bnfold.verifier.local.wide_bench import WideBench
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.depth import is_network
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.subgraph import TO_SINGLE


class LocalJudge:
    """Runs parts of two models side by side: two small sessions for any number of inputs.

    Args:
        original, new: the models.
        sites: no site whose part gives other values each time.
        like: tensors of the boundaries, of the shapes and types that all values will have.
    """

    def __init__(self, original: Structure, new: Structure, sites: Sequence[Site], like: Values) -> None:
        kinds: dict[type[Bench], list[Site]] = {WideBench: [], NarrowBench: [], NetworkBench: []}
        for site in sites:
            kinds[_bench(original, new, site)].append(site)
        self._benches = [kind(original, new, of_kind, like) for kind, of_kind in kinds.items() if of_kind]

    def judge(self, values: Values, random: Container[str] = ()) -> dict[str, LocalFinding]:
        """Judge all sites on given inputs.

        Args:
            values: of every tensor in their boundaries.
            random: those whose values are independent of each other. Only parts that begin with one are judged by
                slopes as well: elsewhere places may repeat each other, and so do their rounding errors.

        Returns:
            A finding by tensor for each site with floating-point values whose parts run; none for the others.
        """
        waiting, self._benches = self._benches, []
        findings: dict[str, LocalFinding] = {}
        while waiting:
            bench = waiting.pop()
            found = bench.judge(values, random)
            if found is None and bench.size > 1:
                waiting += bench.halves()
            else:
                self._benches.append(bench)
                findings |= {finding.tensor: finding for finding in found or ()}
        return findings

    def read(self, like: Values) -> list[LocalFinding]:
        """What the single weights of half precision say, where they can be read.

        Args:
            like: tensors of the boundaries.
        """
        return [finding for bench in self._benches for finding in bench.read(like)]


def can_be_cut_out(site: Site, original: Structure, like: Values) -> bool:
    """Whether the parts of a site run by themselves: all that they begin with is known, and nothing is random."""
    random = any(original.is_random(index) for index in site.original)
    return not random and all(name in like for name in site.boundary)


def _bench(original: Structure, new: Structure, site: Site) -> type[Bench]:
    """What kind of part it is."""
    if is_network(site, original, new):
        return NetworkBench
    narrow = any(_is_narrow(new, index) for index in site.new)
    return NarrowBench if narrow else WideBench


def _is_narrow(graph: Structure, index: int) -> bool:
    tensors = (graph.parameter(name) for name in graph.reads(index))
    return any(tensor is not None and tensor.data_type in TO_SINGLE for tensor in tensors)
