"""The page as a document: whole, harmless, self-contained; what stands in it stands in the report."""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from bnfold.label import Label
from bnfold.refusal import Reason
from bnfold.report.html import render_html
from bnfold.report.html.sections import SECTIONS
from bnfold.report.model import Digest, Environment, Failure
from bnfold.timings import Latency, Spread
from bnfold.verification import SKIPPED, DeploymentCheck, OutputCheck, TensorCheck, Verification
from tests.report.html.large import LOWERED, folded, large_report, left
from tests.reports import FAILED, FULL, apart, fold, kept, merge, refusal, report

EVIL = [
    "<script>alert('1')</script>&\"\x1b",
    "--><!--",
    "</style></title></textarea>",
    "\" onmouseover=\"alert(1)' onload='alert(1)",
    "javascript:alert(1)",
    "a\udcffb\u202ec\x00",
    "]]>{{7*7}}</svg><img src=x onerror=alert(1)>",
]
VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "path", "circle"}
LEFT_OPEN = {"tr", "option"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and refuses tags that are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        assert len({name for name, _ in attributes}) == len(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        while self.open[-1] in LEFT_OPEN and self.open[-1] != tag:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, name):
        return [value for key, value in self.attributes if key == name]


def everything(name):
    """A report in which every string that a model can choose is one."""
    digest = Digest(name, 3, "0" * 64)
    check = Verification(
        "failed",
        3,
        7,
        (OutputCheck(name, 1.0, 1.0, False, name, 1.0),),
        (TensorCheck(f"{name}_out", frozenset({name}), 1.0, 3, False, problem=name),),
        DeploymentCheck(name, 1.0, False, name, name),
        name,
        (name,),
    )
    return report(
        folds=[
            fold(name, op=name, into=(name,), through=(name,)),
            fold(Label(name, name), direction="downstream", into=(Label(name, name),) * 2),
            replace(folded(3), node=Label(name, name), direction="both", into=(Label(name, "Conv"), name)),
        ],
        stays=[
            kept(name, refusal(evidence=name, path=(name, name), hint=name)),
            kept(name, op=name),
            replace(
                left(4),
                node=name,
                refusals=(
                    replace(refusal(Reason.OTHER_CONSUMERS, name, (name, name), name), way="upstream", readers=(name,)),
                    replace(refusal(Reason.NOT_LINEAR, name, (name, Label(name, name))), way="downstream"),
                ),
            ),
        ],
        merges=[merge(name, name), merge(name, name, branches=1)],
        branches=[apart(name)],
        lowered=[replace(LOWERED, node=name, op=name, operators=(name, name), refusals=(refusal(evidence=name),))],
        latencies=(Latency(name, name, name, 1, 7), Latency(name, name, name, 0, problem=name)),
        input=name,
        output=name,
        verification=check,
        warnings=(name,),
        environment=Environment(((name, name),), ((name, name),), ((name, 1),), (digest,), (digest,)),
    )


@pytest.mark.parametrize("name", EVIL)
def test_names_are_harmless_wherever_they_stand(name):
    innocent = Page(render_html([everything("innocent"), report()], [Failure("innocent", 3, "innocent")]))
    page = Page(render_html([everything(name), report()], [Failure(name, 3, name)]))

    # Whatever the name: the same elements with the same attributes.
    assert page.tags == innocent.tags
    assert [key for key, _ in page.attributes] == [key for key, _ in innocent.attributes]
    assert page.tags.count("script") == 1


def test_names_are_shown_as_they_are():
    page = Page(render_html([everything(EVIL[0])]))

    shown = [text for text in page.text if "<script>alert" in text]
    assert len(shown) >= 25
    assert all(r"\x1b" in text for text in shown)


def test_what_cannot_be_encoded_is_spelled_out():
    assert r"a\udcffb\u202ec\x00" in render_html([everything(EVIL[5])])
    render_html([everything(EVIL[5])]).encode("utf-8")


def test_the_page_needs_no_other_file_and_no_network():
    html = render_html([everything("x"), FULL])
    page = Page(html)

    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not {"src", "style", "action", "srcdoc", "background"} & {name for name, _ in page.attributes}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(link.startswith("#") for link in page.all("href"))
    assert "url(" not in html
    assert "@import" not in html


def test_the_policy_allows_the_style_sheet_and_the_script_and_nothing_else():
    html = render_html([FULL])
    (policy,) = (value for value in Page(html).all("content") if "default-src" in value)

    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        content = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "reports",
    [[FULL], [everything("x")], [FULL, everything("x"), report()], [large_report(3, 3)], [large_report(500, 3)]],
)
def test_every_link_leads_somewhere_and_every_place_has_one_name(reports):
    page = Page(render_html(reports, [Failure("c.onnx", 3, "is empty")] * (len(reports) > 1)))

    places = page.all("id")
    assert len(set(places)) == len(places)
    assert {link[1:] for link in page.all("href")} <= set(places)


def test_the_document_has_landmarks_and_one_heading_per_model():
    page = Page(render_html([FULL]))
    assert [page.tags.count(tag) for tag in ("main", "header", "footer", "nav", "article", "h1")] == [1] * 6
    assert ("lang", "en") in page.attributes

    page = Page(render_html([FULL, report()]))
    assert [page.tags.count(tag) for tag in ("main", "article", "h1")] == [1, 2, 3]


def test_the_answer_comes_first():
    html = render_html([large_report(3, 4)])

    answer = html.index("3 of 7 BatchNorms folded, 4 left")
    assert (
        answer < html.index("Same results: <b>yes") < html.index("4 left: cannot be folded") < html.index("strip large")
    )


def test_reasons_are_said_once_for_all_that_they_keep():
    text = " ".join(Page(render_html([large_report(0, 62)])).text)

    # In the answer and above the rows.
    assert text.count("others read what Conv makes") == 2
    assert text.count("such as") == 1


def test_the_page_holds_what_the_report_holds():
    text = "\n".join(Page(render_html([FULL])).text)

    for part in (
        "net.onnx",
        "1 of 2 BatchNorms folded, 1 left",
        "written to net.folded.onnx",
        "yes",
        "1.19e-07",
        "8,020,000",
        "-42,504",
        "BNF104",
        "pool2",
        "scale < 0 in 3 of 64 channels",
        "conv1",
        "move the BatchNorm before the pooling to fold it",
    ):
        assert part in text


def test_every_node_is_listed_once():
    page = Page(render_html([large_report(300, 300)]))

    for index in range(300):
        for made, number in ((folded, 2 * index), (left, 2 * index + 1)):
            assert page.text.count(made(number).node) >= 1
    assert page.all("class").count("row folded") == page.all("class").count("row kept") == 300


def test_environment_and_files():
    digest = Digest("net.onnx", 1234, "ab" * 32)
    made = Environment((("onnx", "1.18.0"),), (("exclude", ""), ("samples", "6")), (("", 17),), (digest,), ())

    text = "\n".join(Page(render_html([report(environment=made)])).text)

    assert all(part in text for part in ("1.18.0", "ai.onnx 17", "ab" * 32, "1,234 bytes", "opset 17"))


def test_codes_are_explained_once_and_only_those_that_occur():
    page = Page(render_html([FULL]))

    assert {place for place in page.all("id") if place.startswith("BNF")} == {"BNF101", "BNF104", "BNF202"}


def test_several_models_begin_with_totals_and_a_table():
    html = render_html(
        [large_report(3, 1), report(verification=FAILED, output=None)], [Failure("c.onnx", 3, "is empty")]
    )
    text = "\n".join(Page(html).text)

    assert "3 of 4 BatchNorms folded, 1 left; same results in 1 of 3 models; 1 without a result" in text
    assert html.index('id="contents"') < html.index('id="m1-model"') < html.index('id="m2-model"')
    assert "is empty" in text


def test_totals_of_plans_say_what_would_be_and_nothing_of_results_that_nobody_compared():
    planned = replace(large_report(2, 1), planned=True, output=None, verification=SKIPPED)
    text = "\n".join(Page(render_html([planned, planned])).text)

    assert "4 of 6 BatchNorms would fold, 2 would be left" in text
    assert "same results in" not in text


def test_a_plan_says_so():
    text = "\n".join(Page(render_html([replace(large_report(2, 1), planned=True, output=None)])).text)

    assert "2 of 3 BatchNorms would fold, 1 would be left" in text
    assert "nothing was written" in text


def test_latency_is_shown_where_it_was_measured():
    measured = Latency("onnxruntime", "all", "CPUExecutionProvider", 1, 9, *(Spread(1e-3, 2e-3, 3e-3),) * 2)
    wrong = Latency("onnxruntime", "basic", "CPUExecutionProvider", 1, problem="no memory")

    text = Page(render_html([report(latencies=(measured, wrong))])).text

    assert {"2.00 (1.00 to 3.00)", "as fast", "no memory"} <= set(text)
    assert "Latency" not in Page(render_html([report()])).text


def test_warnings_are_shown():
    outputs = (OutputCheck("a", 1e-3, 2e-3, True, noise_floor=4e-3),)
    check = Verification("passed", 4, 0, outputs, warnings=("output <y> never varied",))

    text = Page(render_html([report(verification=check, warnings=("weights.bin stays",))])).text

    assert {"4.00e-03", "warning: output <y> never varied", "warning: weights.bin stays"} <= set(text)


@pytest.mark.parametrize(("reports", "title"), [([], "bnfold: bad.onnx"), ([report()], "bnfold: 2 models")])
def test_a_page_of_failures(reports, title):
    page = render_html(reports, [Failure("bad.onnx", 3, "is empty")])

    assert f"<title>{title}</title>" in page
    assert "Models without a result" in page


def test_the_same_report_makes_the_same_bytes():
    assert render_html([everything("x"), FULL]) == render_html([everything("x"), FULL])


def test_sections_have_names_of_their_own():
    slugs = [section.slug for section in SECTIONS]
    assert len(set(slugs)) == len(slugs)


def test_what_would_do_in_the_place_of_a_group_is_said_above_too():
    stays = [replace(kept(f"bn{index}"), would_do="Add") for index in range(2)]
    text = "".join(Page(render_html([report(stays=stays)])).text)

    assert "instead one Add (lower='add')" in text


def test_after_a_failure_the_page_says_what_one_can_ask_for():
    failed = "".join(Page(render_html([report(verification=FAILED, output=None)])).text)

    assert "on_mismatch='revert' keeps what passes; save_repro='DIR' saves what differs" in failed
    assert "keeps what passes" not in "".join(Page(render_html([report()])).text)
