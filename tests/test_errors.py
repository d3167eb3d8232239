"""What is told of errors that others raise."""

import pytest

from bnfold.errors import first_line

IN_A_SCRIPT = """The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__/m.py", line 21, in forward
    _3 = torch.copy_(cache, _2)
         ~~~~~~~~~~~ <--- HERE
RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("\n  no such file\nsecond line", "no such file"),
        ("", "RuntimeError"),
        (IN_A_SCRIPT, "RuntimeError: a leaf Variable that requires grad is being used in an in-place operation."),
    ],
)
def test_the_line_that_says_what_happened(said, told):
    assert first_line(RuntimeError(said)) == told
