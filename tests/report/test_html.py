from html.parser import HTMLParser

import pytest

from bnfold.report.html import render_html
from bnfold.report.model import Failure
from bnfold.verification import OutputCheck, Verification
from tests.reports import FAILED, fold, kept, refusal, report

EVIL = "<script>alert('1')</script>&\"\x1b"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects tags and text, and refuses tags that are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def evil():
    return report(
        folds=[fold(EVIL, op=EVIL, into=(EVIL,), through=(EVIL,))],
        stays=[kept(EVIL, refusal(evidence=EVIL, path=(EVIL, EVIL), hint=EVIL)), kept(EVIL, op=EVIL)],
        input=EVIL,
        output=EVIL,
        verification=FAILED,
    )


def test_names_are_escaped_everywhere(evil):
    page = Page(render_html([evil, report()], [Failure(EVIL, 3, EVIL)]))

    assert "script" not in page.tags
    shown = [text for text in page.text if "<script>" in text]
    assert len(shown) >= 14
    assert all(r"<script>alert('1')</script>&" in text and r"\x1b" in text for text in shown)


def test_the_page_needs_no_other_file(evil):
    page = Page(render_html([evil]))

    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "style"} & {name for name, _ in page.attributes}
    assert "url(" not in render_html([evil])
    assert "@import" not in render_html([evil])


def test_the_page_holds_what_the_text_holds():
    made = report(folds=[fold("bn1", into=("conv1",))], stays=[kept("bn3"), kept("m", op="Mul")])

    text = "\n".join(Page(render_html([made])).text)

    for part in (
        "net.onnx",
        "1 of 2 BatchNorms folded, 1 stays",
        "0 of 1 other affine node folded, 1 stays",
        "written to net.folded.onnx",
        "passed",
        "1.19e-07",
        "8,020,000",
        "-42,504",
        "BNF104",
        "← pool2",
        "3 of 64 channels have scale < 0",
        "conv1",
    ):
        assert part in text


def test_noise_and_warnings_of_a_check():
    outputs = (OutputCheck("a", 1e-3, 2e-3, True, noise_floor=4e-3),)
    check = Verification("passed", 4, 0, outputs, warnings=("output <y> never varied",))

    text = Page(render_html([report(verification=check)])).text

    assert {"4.00e-03", "warning: output <y> never varied"} <= set(text)


def test_every_node_is_listed():
    made = report(folds=[fold(f"bn{i}") for i in range(300)], stays=[kept(f"k{i}") for i in range(300)])

    text = Page(render_html([made])).text

    assert {f"bn{i}" for i in range(300)} | {f"k{i}" for i in range(300)} <= set(text)


def test_several_models_share_a_page():
    page = Page(render_html([report(), report(input="b.onnx")], [Failure("c.onnx", 3, "is empty")]))

    assert page.tags.count("article") == 3
    assert {"net.onnx", "b.onnx", "c.onnx", "is empty"} <= set(page.text)


def test_warnings_are_shown():
    assert "warning: weights.bin stays" in Page(render_html([report(warnings=("weights.bin stays",))])).text


@pytest.mark.parametrize(("reports", "title"), [([], "bnfold: bad.onnx"), ([report()], "bnfold: 2 models")])
def test_a_page_of_failures(reports, title):
    page = render_html(reports, [Failure("bad.onnx", 3, "is empty")])

    assert f"<title>{title}</title>" in page
    assert "Models without a result" in page
