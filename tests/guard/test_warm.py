"""What several children need is imported once."""

import sys

from bnfold.guard import import_unused
from bnfold.guard.warm import is_unused


def test_a_package_is_imported_and_known_to_be_unused(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    import_unused("colorsys")
    assert "colorsys" in sys.modules
    assert is_unused("colorsys")


def test_what_was_there_before_may_have_been_used():
    import_unused("json")
    assert not is_unused("json")


def test_a_package_that_is_missing_is_no_error_here():
    import_unused("a_package_that_nobody_has")
    assert not is_unused("a_package_that_nobody_has")
