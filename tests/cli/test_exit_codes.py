import errno
from itertools import permutations

import pytest

from bnfold.cli.exit_codes import ExitCode, code_of, message_of, worst
from bnfold.errors import (
    InternalError,
    InvalidOriginalError,
    ModelFormatError,
    UncheckedError,
    UnsupportedModelError,
    UsageError,
    VerificationError,
)


@pytest.mark.parametrize(
    ("codes", "call"),
    [
        ((), 0),
        ((0, 0), 0),
        ((0, 4), 4),
        ((4, 1), 1),
        ((4, 5), 5),
        ((5, 1), 1),
        ((1, 2), 2),
        ((2, 3), 3),
        ((3, 70), 70),
        ((0, 4, 5, 1, 2, 3), 3),
    ],
)
def test_the_worst_code_wins_in_any_order(codes, call):
    assert {worst(map(ExitCode, order)) for order in permutations(codes)} == {call}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (VerificationError("differs"), 1),
        (UncheckedError("no sizes fit"), 5),
        (InvalidOriginalError("two nodes of one name"), 3),
        (UsageError("bad"), 2),
        (ModelFormatError("is empty"), 3),
        (UnsupportedModelError("is a zip"), 3),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "m.onnx"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (OSError(errno.ENAMETOOLONG, "File name too long"), 2),
        (InternalError("lost a node"), 70),
        (KeyError("x"), 70),
    ],
)
def test_every_error_has_its_code(error, code):
    assert code_of(error) == code


def test_messages_of_expected_errors_are_their_own():
    assert message_of(ModelFormatError("is empty")) == "is empty"
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "m.onnx")
    assert message_of(missing) == "m.onnx: No such file or directory"
    assert message_of(OSError("odd")) == "odd"


def test_messages_of_bugs_ask_for_a_report():
    assert "please report it" in message_of(InternalError("lost a node"))
    assert message_of(KeyError("x")).startswith("unexpected KeyError: 'x'; this is a bug in bnfold, please report it")
