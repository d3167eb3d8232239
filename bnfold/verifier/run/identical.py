"""Models that are the same, number by number: there is nothing to prove, and nothing to run.

Many models cannot be run at all by whoever folds them: their operators are custom ones, or nobody says what they take.
"""

from typing import TYPE_CHECKING

from bnfold.verification import Verification, VerifyOptions
from bnfold.verifier.models.graph import same_bits
from bnfold.verifier.models.load import Model, ModelSource
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.models.signature import Port, declared_shape
from bnfold.verifier.run.settings import Settings

if TYPE_CHECKING:
    from onnx import ModelProto


def verdict_if_identical(reference: ModelSource, candidate: ModelSource, options: VerifyOptions) -> Verification | None:
    """The verdict on two models that hold the same nodes and the same numbers; None where they do not.

    Where the numbers lie, in the model or in files beside it, makes no difference.

    Raises:
        UsageError: the options name an input or dimension that the models do not have, or contradict it.
    """
    try:
        models = Model.read("the original", reference), Model.read("the new model", candidate)
        if not _are_identical(*models):
            return None
    except RefusedError:
        return None
    Settings(_inputs(models[0].proto), options)
    return Verification(status="passed", samples=0, seed=options.seed, identical=True)


def _are_identical(a: Model, b: Model) -> bool:
    return _bare(a) == _bare(b) and all(same_bits(a.weights[name], b.weights[name]) for name in a.outside)


def _bare(model: Model) -> bytes:
    """The model without where the initializers of its graph lie. Those of bodies have to lie in the same place."""
    from onnx import ModelProto

    bare = ModelProto()
    bare.CopyFrom(model.proto)
    for tensor in bare.graph.initializer:
        if tensor.name in model.outside:
            del tensor.external_data[:]
    data: bytes = bare.SerializeToString(deterministic=True)
    return data


def _inputs(model: "ModelProto") -> list[Port]:
    """What has to be fed, read off the file; types matter only so far as they are sequences."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [
        Port(entry.name, "seq(tensor(float))" if entry.type.HasField("sequence_type") else "", declared_shape(entry))
        for entry in model.graph.input
        if entry.name not in stored
    ]
