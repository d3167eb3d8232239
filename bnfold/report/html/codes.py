"""What the codes mean that occur on the page, and what a person can do about each."""

from bnfold.explanations import EXPLANATIONS
from bnfold.explanations.explanation import in_words
from bnfold.refusal import Reason
from bnfold.report.html.entries import Subject
from bnfold.report.html.markup import definitions, paragraph, text


def codes(subject: Subject) -> str:
    """An explanation for each; nothing where nothing was refused."""
    outcome = subject.report.outcome
    refused = [node.refusals for node in outcome.kept]
    refused += [node.refusals for node in outcome.lowered]
    refused += [node.refusals for node in outcome.apart]
    refused += [(node.not_lowered,) for node in outcome.kept if node.not_lowered is not None]
    found = {refusal.reason for refusals in refused for refusal in refusals}
    return "".join(_code(reason, subject.prefix) for reason in sorted(found, key=lambda reason: reason.code))


def _code(reason: Reason, prefix: str) -> str:
    said = EXPLANATIONS[reason]
    examples = (("for example", said.before), ("then", said.after), ("what to do", in_words(said.advice)))
    return (
        f'<section class="code-text" id="{prefix}{reason.code}">'
        f"<h3>{reason.code} <span>{text(reason.slug)}</span></h3>\n"
        f"{paragraph(f'{reason.meaning[:1].upper()}{reason.meaning[1:]}.')}{paragraph(in_words(said.text))}"
        f"{definitions(examples)}</section>\n"
    )
