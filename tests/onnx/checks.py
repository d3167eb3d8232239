"""What the tests of decoders and encoders ask of a folded model."""

from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from tests.folding import fold, fold_and_compare


def operators(model):
    """Operator types of the main graph, in order."""
    return [node.op_type for node in model.graph.node]


def initializer_shapes(model):
    return {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


def assert_folds_to(model, *expected, **options):
    """The outputs stay equal and these operators are left, in this order."""
    folded = fold_and_compare(model, **options)
    assert operators(folded.model) == list(expected)
    return folded


def assert_stays(model, reason, evidence="", **options):
    """Nothing folds, not a byte changes, and each BatchNorm gives this reason first, with this in its evidence."""
    folded = fold(model, **options)
    assert folded.folds == ()
    assert folded.model.SerializeToString() == model.SerializeToString()
    refusals = [entry.refusals[0] for entry in folded.kept if entry.is_batch_norm]
    assert refusals
    for refusal in refusals:
        assert refusal.reason is reason, refusal
        assert evidence in refusal.evidence
    return folded


def decode_all(model):
    """The meaning of every node of a model, by the node's first output."""
    port = OnnxPort(model, TensorStore(None))
    return {node.outputs[0].name: port.decode(node) for node in port.nodes()}
