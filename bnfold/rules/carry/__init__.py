"""Maps on tensors that others read: what a node makes of them on its other sides, and how it lives with them.

A map says what a tensor's readers have to apply to it: old value = map(new value). A node is given the maps of some of
its tensors. `spread` says which maps its other tensors must have then; `settle` says what the node must mean so that it
makes new outputs of new inputs. `pull` and `push` move a map from one side to the other; here both sides may have some.
An operator with weights applies the maps of its inputs, and undoes that of its output: only there is a scale of 0 in
the way.
"""

from bnfold.rules.carry.absorbing import settle_absorber
from bnfold.rules.carry.arithmetic import settle_arithmetic
from bnfold.rules.carry.dispatch import settle, spread
from bnfold.rules.carry.joins import settle_product, settle_sum
from bnfold.rules.carry.passing import settle_passing
from bnfold.rules.carry.sides import Sides, agree

__all__ = [
    "Sides",
    "agree",
    "settle",
    "settle_absorber",
    "settle_arithmetic",
    "settle_passing",
    "settle_product",
    "settle_sum",
    "spread",
]
