"""Every rule and every meaning says what it computes, with which shapes, and where that is written."""

import inspect
import re
import typing

import pytest

from bnfold import rules
from bnfold.semantics import Meaning, Opaque

ELSEWHERE = re.compile(r"\bas in the other direction\b", re.IGNORECASE)


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: rule.__name__)
def test_a_rule_has_its_law_its_shapes_and_its_source(rule):
    text = inspect.getdoc(rule)
    for field in ("Before::", "After::", "Law:", "Shapes:", "Refuses:", "Source:"):
        assert re.search(rf"^{field} +\S", text, re.MULTILINE), field
    law = re.search(r"^(Law:.*?)^Refuses:", text, re.MULTILINE | re.DOTALL).group(1)
    assert not ELSEWHERE.search(law)


@pytest.mark.parametrize("meaning", sorted(set(typing.get_args(Meaning)) - {Opaque}, key=lambda kind: kind.__name__))
def test_a_meaning_has_its_equation_its_symbols_and_its_source(meaning):
    text = inspect.getdoc(meaning)
    for field in ("Equation:", "Symbols:", "Source:"):
        assert re.search(rf"^{field} +\S", text, re.MULTILINE), field
