"""What torch prints from C++ reaches nobody, and what bnfold prints does."""

import os
import sys

import pytest

from bnfold.silence import nothing_printed


def test_prints_of_python_and_of_the_file_descriptor_go_nowhere(capfd):
    print("before")
    with nothing_printed():
        print("by Python")
        os.write(1, b"by the descriptor")
    print("behind")
    assert capfd.readouterr().out == "before\nbehind\n"


def test_what_libraries_buffer_does_not_come_out_later(capfd):
    ctypes = pytest.importorskip("ctypes")
    library = ctypes.CDLL(None) if sys.platform != "win32" else pytest.skip("another C library")
    with nothing_printed():
        library.printf(b"by printf")
    library.fflush(None)
    assert capfd.readouterr().out == ""


def test_it_is_over_after_an_error(capfd):
    with pytest.raises(ValueError, match="inside"), nothing_printed():
        raise ValueError("inside")
    os.write(1, b"heard")
    assert capfd.readouterr().out == "heard"


def test_an_exporter_that_fails_prints_nothing(capfd):
    torch = pytest.importorskip("torch")
    from bnfold.frontends.onnx_export import export_as_written
    from tests.torchscript.folding import compiled

    class Fails(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(Exception, match="cannot export"):
        export_as_written(compiled(Fails(), "scripted"), [torch.ones(1, 2)])
    assert capfd.readouterr() == ("", "")
