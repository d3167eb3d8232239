"""Which run the page is of: versions, options, opsets, files by their content, and where the time went."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from bnfold.report.html.entries import Subject
from bnfold.report.html.markup import definitions, table, text
from bnfold.report.model import Digest
from bnfold.report.wording import timing, whole


def environment(subject: Subject) -> str:
    """What the result depends on besides the model."""
    report = subject.report
    took = definitions((("time", timing(asdict(report.seconds))),))
    found = report.environment
    if found is None:
        return took
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found.opsets)
    return (
        took
        + definitions((*found.versions, ("opsets", opsets)))
        + _files((*_roles("read", found.read), *_roles("written", found.written)))
        + f"<h3>Options</h3>\n{definitions(_given(found.options))}"
    )


def _roles(role: str, digests: Sequence[Digest]) -> Iterable[tuple[str, Digest]]:
    return ((role, digest) for digest in digests)


def _files(files: Sequence[tuple[str, Digest]]) -> str:
    """Digests are long: each has a line of its own, which wraps where it must."""
    return "".join(
        f'<p class="file"><span>{role}</span> {text(digest.name)}, {whole(digest.bytes)} bytes<br>'
        f"<code>sha256 {digest.sha256}</code></p>\n"
        for role, digest in files
    )


def _given(options: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name, value or "\u2013") for name, value in options)


def parameters(subject: Subject) -> str:
    """Sizes in exact numbers."""
    report = subject.report
    sizes = (("nodes", report.nodes), ("parameters", report.parameters), ("bytes", report.bytes))
    rows = [(name, whole(size.before), whole(size.after), f"{size.after - size.before:+,}") for name, size in sizes]
    return table((("", ""), ("before", "number"), ("after", "number"), ("change", "number")), rows)
