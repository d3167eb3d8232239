"""The picture in docs/report.md: the top of the HTML report on a DenseNet-121, in a headless Chromium.

python docs/report_picture.py    # from a checkout, with its tests beside it and a Chromium on PATH

A browser's pixels are no two machines' the same, so that the suite cannot compare pictures. It compares what the
picture was taken of, whose digest stands beside it: tests/docs/test_report_picture.py fails when the top of the page
looks otherwise than when the picture was taken.
"""

import os
import re
import sys
import tempfile
from base64 import b64decode
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import onnx
from dense_network import densenet121  # beside this file

import bnfold

IMAGES = Path(__file__).parent / "images"
PICTURE, DIGEST = IMAGES / "report.webp", IMAGES / "report.sha256"
_WIDTH, _HEIGHT, _QUALITY = 1180, 900, 80
_BEGIN, _END = "<style>", '<details class="row'
"""Between these is what the picture shows of the page: no script, and no row of a group."""
_OTHERWISE_EVERYWHERE = re.compile(r"\d+\.\d+(e[+-]\d+)?|\bin [\d.]+ m?s\b")
"""Differences, sizes and times, which no two machines have alike."""


def page(folder: Path) -> str:
    """The report as the command writes it.

    Args:
        folder: empty; the model and its fold are put there.
    """
    before = Path.cwd()
    os.chdir(folder)  # the page shows paths as they were given
    try:
        onnx.save(densenet121(), "densenet121.onnx")
        result = bnfold.fold_file("densenet121.onnx", "densenet121.folded.onnx")
    finally:
        os.chdir(before)
    return result.to_html()


def digest(html: str) -> str:
    """Of what the picture shows: the style and the top of the page, but for numbers that vary."""
    shown = html.partition(_BEGIN)[2].partition(_END)[0]
    if not shown:
        raise SystemExit(f"the page has no {_BEGIN}: say in docs/report_picture.py where what the picture shows begins")
    return sha256(_OTHERWISE_EVERYWHERE.sub("#", shown).encode()).hexdigest() + "\n"


def main() -> None:
    """Take the picture, and note of what."""
    sys.path.insert(0, str(IMAGES.parents[1]))
    from tests.report.html.chromium import Chromium

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        html = page(folder / "work")
        (folder / "report.html").write_text(html, encoding="utf-8")
        with closing(Chromium(folder / "profile")) as browser:
            browser.size(_WIDTH, _HEIGHT)
            browser.call("Emulation.setScrollbarsHidden", hidden=True)
            browser.open(folder / "report.html")
            taken = browser.call("Page.captureScreenshot", format="webp", quality=_QUALITY)
        PICTURE.write_bytes(b64decode(taken["data"]))
        DIGEST.write_text(digest(html), encoding="utf-8")


if __name__ == "__main__":
    main()
