"""The picture of the report shows the report as it is."""

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import report_picture

    return report_picture


def test_the_picture_is_of_todays_page(script, tmp_path):
    html = script.page(tmp_path)

    assert "62 of 121 BatchNorms folded, 59 left" in html
    again = "docs/images/report.webp shows an older page: python docs/report_picture.py takes it again"
    assert script.digest(html) == script.DIGEST.read_text(encoding="utf-8"), again
    assert script.PICTURE.read_bytes()[8:12] == b"WEBP"


def test_what_is_below_the_picture_and_what_varies_does_not_count(script):
    top = '<style>a{}</style><p>largest difference 4.1e-07, written in 12 s<details class="row folded">'
    varied = top.replace("4.1e-07", "5.2e-08").replace("12 s", "310 ms")
    assert script.digest(top) == script.digest(f"<p>above{varied}<p>below")
    assert script.digest(top) != script.digest(top.replace("a{}", "b{}"))
    assert script.digest(top) != script.digest(top.replace("largest", "greatest"))
    with pytest.raises(SystemExit, match="no <style>"):
        script.digest("<p>nothing")
