"""What people are told of every code."""

import re

import pytest

from bnfold.explanations import EXPLANATIONS, FAMILIES
from bnfold.explanations.explanation import in_words
from bnfold.refusal import Reason


def test_every_code_is_explained_and_belongs_to_one_family():
    assert set(EXPLANATIONS) == set(Reason)
    assert all(sum(reason.code.startswith(prefix) for prefix in FAMILIES) == 1 for reason in Reason)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_an_explanation_is_whole(reason):
    explanation = EXPLANATIONS[reason]
    texts = vars(explanation).values()

    assert not any("{" in in_words(text) for text in texts)
    assert all(text.strip() == text and "  " not in text.replace(",  ", "").replace(":  ", "") for text in texts)
    for sentences in (explanation.text, explanation.advice):
        assert re.fullmatch(r"[A-Z{].*\.", sentences), sentences
    assert explanation.before
    assert explanation.after
    assert not explanation.remedy.endswith(".")
    assert len(in_words(explanation.short)) <= 56, "it must fit beside the ways of a terminal of 80 columns"


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_advice_never_changes_what_the_network_computes(reason):
    explanation = EXPLANATIONS[reason]

    said = f"{explanation.advice} {explanation.remedy}".lower()
    assert not re.search(r"\b(move|insert|swap|replace|retrain|remove) (the|a|its)\b", said)
    assert "read the output of the batchnorm" not in said
