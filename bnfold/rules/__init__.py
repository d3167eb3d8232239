"""The algebra: pure functions on meanings and maps. No rule ever sees a graph, none returns a bool."""

from collections.abc import Callable

from bnfold.rules.absorbers import absorb_output_into_embedding, absorb_output_into_normalisation
from bnfold.rules.affine_map import (
    absorb_input_into_affine_map,
    absorb_output_into_affine_map,
    push_scale_past_addition,
    read_batch_norm_as_affine,
)
from bnfold.rules.attention import (
    pull_through_attention,
    pull_through_masking,
    push_drift,
    push_into_softmax,
    push_through_attention,
    push_through_masking,
)
from bnfold.rules.biased_sum import pull_through_biased_sum, push_through_biased_sum
from bnfold.rules.broadcast_scale import (
    absorb_input_into_broadcast_scale,
    absorb_output_into_broadcast_scale,
    absorb_widening,
)
from bnfold.rules.carry import (
    settle_absorber,
    settle_arithmetic,
    settle_passing,
    settle_product,
    settle_sum,
)
from bnfold.rules.choice import pull_through_choice, push_through_choice
from bnfold.rules.commuting import pull_through_commuting, push_through_commuting
from bnfold.rules.contraction import (
    absorb_input_into_contraction,
    absorb_input_into_recurrent,
    absorb_output_into_contraction,
    push_shift_through_contraction,
)
from bnfold.rules.dispatch import (
    pull,
    push,
    push_past_additions,
    push_past_products,
    refuse,
    shows_a_difference,
    where_shown,
)
from bnfold.rules.fused_contraction import absorb_input_into_fused_contraction, absorb_output_into_fused_contraction
from bnfold.rules.integer_product import push_into_integer_product
from bnfold.rules.joins import pull_through_product, pull_through_sum, push_through_product, push_through_sum
from bnfold.rules.lowering import lower_to_addition, lower_to_arithmetic, lower_to_convolution
from bnfold.rules.matrix_product import pull_through_matrix_product, push_through_matrix_product
from bnfold.rules.merge import chain_contractions, merge_branches, read_map_as_contraction
from bnfold.rules.moves import Moved
from bnfold.rules.padding import pull_through_padding, push_through_padding
from bnfold.rules.parts import (
    pull_through_concatenation,
    pull_through_split,
    push_through_concatenation,
    push_through_split,
)
from bnfold.rules.rearrangement import pull_through_rearrangement, push_through_rearrangement
from bnfold.rules.runtime_contraction import pull_through_runtime_contraction, push_through_runtime_contraction

__all__ = [
    "ALL",
    "Moved",
    "chain_contractions",
    "lower_to_addition",
    "lower_to_arithmetic",
    "lower_to_convolution",
    "merge_branches",
    "pull",
    "push",
    "push_past_additions",
    "push_past_products",
    "read_map_as_contraction",
    "refuse",
    "shows_a_difference",
    "where_shown",
]

ALL: tuple[Callable[..., object], ...] = (
    read_batch_norm_as_affine,
    absorb_output_into_contraction,
    absorb_input_into_contraction,
    push_shift_through_contraction,
    absorb_output_into_fused_contraction,
    absorb_input_into_fused_contraction,
    absorb_input_into_recurrent,
    pull_through_runtime_contraction,
    push_through_runtime_contraction,
    push_into_integer_product,
    absorb_output_into_normalisation,
    absorb_output_into_embedding,
    absorb_output_into_affine_map,
    absorb_input_into_affine_map,
    push_scale_past_addition,
    absorb_output_into_broadcast_scale,
    absorb_input_into_broadcast_scale,
    absorb_widening,
    pull_through_commuting,
    push_through_commuting,
    pull_through_padding,
    push_through_padding,
    pull_through_rearrangement,
    push_through_rearrangement,
    pull_through_concatenation,
    push_through_concatenation,
    pull_through_split,
    push_through_split,
    pull_through_choice,
    push_through_choice,
    pull_through_sum,
    push_through_sum,
    pull_through_biased_sum,
    push_through_biased_sum,
    pull_through_product,
    push_through_product,
    pull_through_matrix_product,
    push_through_matrix_product,
    push_into_softmax,
    pull_through_masking,
    push_through_masking,
    pull_through_attention,
    push_through_attention,
    push_drift,
    read_map_as_contraction,
    chain_contractions,
    merge_branches,
    settle_absorber,
    settle_passing,
    settle_arithmetic,
    settle_sum,
    settle_product,
    lower_to_convolution,
    lower_to_arithmetic,
    lower_to_addition,
)
"""Every rule, in the order of docs/rules.md."""
