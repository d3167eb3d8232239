"""Write docs/rules.md from the rules' docstrings, docs/refusals.md from the codes, the layers in CONTRIBUTING.md, the
man page, the pictures, and the address of the repository where pages install from it.

python docs/generate.py            # rewrite them
python docs/generate.py --check    # exit 1 if one is out of date
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from pathlib import Path

import addresses  # beside this file
import man
import pictures
import stream_picture

from bnfold import rules
from bnfold.cli.spelling import as_option
from bnfold.explanations import EXPLANATIONS, FAMILIES, MAP
from bnfold.explanations.explanation import in_words
from bnfold.keywords import spelled
from bnfold.refusal import Reason

DOCS = Path(__file__).parent
PROJECT = DOCS.parent / "pyproject.toml"
CONTRIBUTING = DOCS.parent / "CONTRIBUTING.md"
HOW_TO_READ = """\
A **map** is `s * x + t`, with constants s and t that are broadcast against x. The name of a rule says what it does with
one:

| rule | does |
|---|---|
| `read_...` | says which map a node is |
| `pull_...` | moves a map that stands behind an operator in front of it |
| `push_...` | moves a map that stands in front of an operator behind it |
| `absorb_output_...`, `absorb_input_...` | ends a map behind or in front of an operator in its parameters |
| `merge_...`, `chain_...` | makes one operator of several that are linear |
| `settle_...` | says what an operator becomes whose tensors hold other values, on every side ([theory](theory.md)) |
| `lower_...` | writes a map as operators that every device has ([lowering](lowering.md)) |

`x -- f -- y` is a graph: f makes y of x. A prime marks what changed. `Refuses` names the [codes](refusals.md) by which
the rule says no, and when: `NOT_FINITE` is not-finite, BNF004."""
PROVED = (
    "Each law is a property test over random maps (tests/rules), and each decoder and encoder is compared with "
    "onnxruntime over a grid of attributes (tests/onnx)."
)


def render_rules() -> str:
    """docs/rules.md as text."""
    parts = [
        "# Rules",
        "<!-- Written by docs/generate.py from the docstrings of bnfold/rules. Do not edit. -->",
        HOW_TO_READ,
        PROVED,
    ]
    groups: dict[str, list[Callable[..., object]]] = {}
    for rule in rules.ALL:
        groups.setdefault(_subject(rule), []).append(rule)
    for subject, members in groups.items():
        parts += [f"## {subject}", *map(_render_rule, members)]
    return "\n\n".join(parts) + "\n"


def _subject(rule: Callable[..., object]) -> str:
    """What the file of a rule is about, in the words of its docstring."""
    module = sys.modules[rule.__module__]
    if module.__name__.startswith("bnfold.rules.carry."):
        return "Across tensors that others read"
    return re.split(r"[:.]", inspect.getdoc(module) or "", maxsplit=1)[0]


def render_refusals() -> str:
    """docs/refusals.md as text: every code in the words of the command, under a heading that can be linked to."""
    parts = [
        "# Refusals",
        "<!-- Written by docs/generate.py from bnfold/refusal.py and bnfold/explanations. Do not edit. -->",
        MAP,
        "Every BatchNorm that stays has one of these codes for each direction that was tried; codes are never reused.",
        "`bnfold explain CODE` prints what is said here.",
    ]
    with spelled(as_option):
        for prefix, title in FAMILIES.items():
            reasons = sorted((reason for reason in Reason if reason.code.startswith(prefix)), key=attrgetter("code"))
            rows = [f"| [{r.code}](#{r.code.lower()}) | {r.slug} | {r.meaning} |" for r in reasons]
            parts.append("\n".join([f"## {title}", "", "| code | name | meaning |", "|---|---|---|", *rows]))
            parts += map(_render_reason, reasons)
    return "\n\n".join(parts) + "\n"


def _render_reason(reason: Reason) -> str:
    explanation = EXPLANATIONS[reason]
    return "\n\n".join(
        [
            f"### {reason.code}",
            f"**{reason.slug}**: {reason.meaning}.",
            in_words(explanation.text),
            f"```\nbefore  {in_words(explanation.before)}\nafter   {in_words(explanation.after)}\n```",
            f"What you can do: {in_words(explanation.advice)}",
        ]
    )


def render_contributing() -> str:
    """CONTRIBUTING.md with the layers as import-linter holds them, and the first sentence of each package."""
    contract = re.search(r"^layers = \[\n(.*?)^\]", PROJECT.read_text(), re.MULTILINE | re.DOTALL)
    assert contract is not None
    layers = [line.split(" | ") for line in re.findall(r'"(.*)",', contract[1])]
    width = 2 + max(len(module) for layer in layers for module in layer) - len("bnfold.")
    picture = "\n".join("\n".join(_render_module(module, width) for module in layer) + "\n" for layer in layers)
    return re.sub(
        r"(<!-- layers -->\n```\n).*?(?=```)",
        lambda found: found[1] + picture,
        CONTRIBUTING.read_text(),
        flags=re.DOTALL,
    )


def _with_source(name: str) -> str:
    return addresses.with_source((DOCS / name).read_text(), addresses.addresses().source)


def _render_module(module: str, width: int) -> str:
    path = PROJECT.parent / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    sentence, *_ = re.split(r"(?<=\.)\s", ast.get_docstring(ast.parse(file.read_text())) or "")
    return f"{module.removeprefix('bnfold.'):{width}}{sentence.rstrip('.')}".rstrip()


PAGES: dict[str, Callable[[], str]] = {
    "rules.md": render_rules,
    "refusals.md": render_refusals,
    "../CONTRIBUTING.md": render_contributing,
    **{name: partial(_with_source, name) for name in ("../README.md", "recipes/pre_commit.md", "recipes/uvx.md")},
    "bnfold.1": man.man_page,
    "images/idea-light.svg": lambda: pictures.idea(pictures.LIGHT),
    "images/idea-dark.svg": lambda: pictures.idea(pictures.DARK),
    "images/logo.svg": pictures.mark,
    "images/stream-light.svg": lambda: stream_picture.stream(pictures.LIGHT),
    "images/stream-dark.svg": lambda: stream_picture.stream(pictures.DARK),
}


def _render_rule(rule: Callable[..., object]) -> str:
    words, _, law = inspect.getdoc(rule).partition("\n\nBefore::")
    body = re.sub(r"^After::", "After: ", f"Before: {law}", flags=re.MULTILINE)
    return f"### {rule.__name__}\n\n{words}\n\n```\n{body}\n```"


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, render in PAGES.items():
        page = DOCS / name
        if page.exists() and page.read_text() == render():
            continue
        stale.append(name)
        if not check:
            page.write_text(render())
    print("\n".join(f"{name}: {'out of date' if check else 'written'}" for name in stale) or "up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
