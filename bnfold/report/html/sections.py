"""What the page says of one model, in its order. A new section is a function here, and its row in `SECTIONS`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bnfold.report.html.answer import answer
from bnfold.report.html.check import check
from bnfold.report.html.codes import codes
from bnfold.report.html.entries import Subject
from bnfold.report.html.environment import environment, parameters
from bnfold.report.html.folds import folds
from bnfold.report.html.kept import apart, kept_batch_norms, kept_others
from bnfold.report.html.latency import latency
from bnfold.report.html.lowered import lowered
from bnfold.report.html.markup import text
from bnfold.report.html.merges import merges
from bnfold.report.html.strip import strip
from bnfold.report.html.weights import weights


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        slug: in links to it.
        title: its heading; empty where it has its own.
        build: its content as HTML; nothing where there is nothing to say, and the section is left out.
        is_open: whether it stands open, or behind its heading.
        is_searched: whether the filter looks at its rows.
    """

    slug: str
    title: str
    build: Callable[[Subject], str]
    is_open: bool = True
    is_searched: bool = False


SECTIONS: tuple[Section, ...] = (
    Section("answer", "", answer),
    Section("map", "", strip),
    Section("folded", "Folded", folds, is_searched=True),
    Section("lowered", "Lowered", lowered, is_searched=True),
    Section("left", "Left", kept_batch_norms, is_searched=True),
    Section("merged", "Merged", merges),
    Section("check", "Check", check),
    Section("latency", "Latency", latency),
    Section("weights", "Scales and weights", weights),
    Section("left-others", "Other affine nodes left", kept_others, is_open=False, is_searched=True),
    Section("apart", "Branches that stay apart", lambda subject: apart(subject.report.outcome.apart), is_open=False),
    Section("sizes", "Sizes", parameters, is_open=False),
    Section("environment", "Environment", environment, is_open=False),
    Section("codes", "What the codes mean", codes, is_open=False),
)


def render_sections(subject: Subject) -> list[tuple[Section, str]]:
    """All sections that have something to say, with what that is."""
    return [(section, content) for section in SECTIONS if (content := section.build(subject))]


def in_full(sections: Sequence[tuple[Section, str]], tools: str) -> Iterator[str]:
    """The sections of the one model of a page, with the tools in front of the first rows that they work on."""
    for section, content in sections:
        if section.is_searched:
            yield tools
            tools = ""
        yield _section(section, content, "", is_open=section.is_open)


def in_short(sections: Sequence[tuple[Section, str]], prefix: str) -> Iterator[str]:
    """The sections of one of several models: all that has a heading stays behind it."""
    for section, content in sections:
        yield _section(section, content, prefix, is_open=False)


def links(sections: Sequence[tuple[Section, str]]) -> str:
    """A link to every section with a heading."""
    found = [section for section, _ in sections if section.title]
    return "".join(f'<a href="#{section.slug}">{text(section.title)}</a>\n' for section in found)


def _section(section: Section, content: str, prefix: str, *, is_open: bool) -> str:
    kind = " searched" if section.is_searched else ""
    start = f'<section id="{prefix}{section.slug}" class="{section.slug}{kind}">\n'
    if not section.title:
        return f"{start}{content}</section>\n"
    heading = f"<h2>{text(section.title)}</h2>"
    if is_open:
        return f"{start}{heading}\n{content}</section>\n"
    return f'{start}<details class="more"><summary>{heading}</summary>\n{content}</details></section>\n'
