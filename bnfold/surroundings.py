"""What stands around a BatchNorm in the model as it was, and what its scales are: for those who read a report."""

from bnfold.label import Label, first_labels
from bnfold.outcome import Surroundings
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Refusal
from bnfold.scales import summarise
from bnfold.semantics import AffineMap, Meaning


def surroundings(port: GraphPort[N, V, E], node: N, meaning: Meaning) -> Surroundings:
    """Look around a node, before anything is folded.

    Args:
        port: the graph.
        node: the node; of one that is no affine map, the first input counts as the one that it works on.
        meaning: what it means.
    """
    affine = meaning.affine if isinstance(meaning, AffineMap) else None
    readers = _readers(port, node)
    return Surroundings(
        before=_maker(port, node, meaning.source if isinstance(meaning, AffineMap) else 0),
        behind=first_labels(readers),
        readers=len(readers),
        scales=None if affine is None else summarise(affine),
    )


def _maker(port: GraphPort[N, V, E], node: N, source: int) -> str:
    """The label of what makes an input; nothing where no node of the graph does."""
    inputs = port.inputs(node)
    value = inputs[source] if source < len(inputs) else None
    producer = None if value is None else port.producer(value)
    return "" if producer is None or isinstance(producer, Refusal) else Label(producer.label, producer.op)


def _readers(port: GraphPort[N, V, E], node: N) -> list[N]:
    """The nodes that read the first output, each once."""
    outputs = port.outputs(node)
    value = outputs[0] if outputs else None
    return [] if value is None else list(dict.fromkeys(reader for reader, _ in port.readers(value)))
