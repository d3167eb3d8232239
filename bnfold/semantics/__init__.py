"""What a node means, free of any file format.

Frontends decode nodes to these values: attribute defaults, versions, layouts and spellings all end here. Whatever a
frontend does not fully understand is `Opaque`. Parameters are float64 and exact: rounding happens once, on writing.
"""

from typing import TypeAlias

from bnfold.semantics.absorber import Absorber
from bnfold.semantics.affine_map import AffineMap, BroadcastScale, Form, Statistics
from bnfold.semantics.attention import Attention, Factor, Masking, MatrixProduct, Softmax
from bnfold.semantics.biased_sum import BiasedSum
from bnfold.semantics.choice import Choice
from bnfold.semantics.contraction import Contraction, FusedContraction
from bnfold.semantics.integer_product import IntegerProduct
from bnfold.semantics.joins import Operand, Product, Sum
from bnfold.semantics.movement import Concatenation, Rearrangement, Split
from bnfold.semantics.one_sided import Embedding, Normalisation, Recurrent, RuntimeContraction
from bnfold.semantics.opaque import Opaque
from bnfold.semantics.passing import Commuting, NoShift, Padding

__all__ = [
    "Absorber",
    "AffineMap",
    "Attention",
    "BiasedSum",
    "BroadcastScale",
    "Choice",
    "Commuting",
    "Concatenation",
    "Contraction",
    "Embedding",
    "Factor",
    "Form",
    "FusedContraction",
    "IntegerProduct",
    "Masking",
    "MatrixProduct",
    "Meaning",
    "NoShift",
    "Normalisation",
    "Opaque",
    "Operand",
    "Padding",
    "Product",
    "Rearrangement",
    "Recurrent",
    "RuntimeContraction",
    "Softmax",
    "Split",
    "Statistics",
    "Sum",
]

Meaning: TypeAlias = (
    Opaque
    | AffineMap
    | BroadcastScale
    | Contraction
    | FusedContraction
    | Commuting
    | Padding
    | Rearrangement
    | Concatenation
    | Choice
    | Split
    | Sum
    | BiasedSum
    | Product
    | MatrixProduct
    | Softmax
    | Masking
    | Attention
    | Normalisation
    | IntegerProduct
    | Embedding
    | Recurrent
    | RuntimeContraction
)
