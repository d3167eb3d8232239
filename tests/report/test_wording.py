"""How names are written for people."""

from bnfold.report.wording import printable


def test_of_a_name_without_end_the_beginning_and_the_end_are_shown():
    shown = printable("a" * 10**7 + "z")
    assert len(shown) < 5000
    assert shown.startswith("aaaa")
    assert shown.endswith("aaz")
    assert "9,995,905 characters more" in shown
    assert printable("a" * 4096) == "a" * 4096
