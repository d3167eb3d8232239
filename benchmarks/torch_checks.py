"""What bnfold's own check says of the networks of torch_formats.py, in each form that a PyTorch program has.

    python benchmarks/torch_checks.py NAME [NAME ...]      "timm/NAME", "tv/NAME", or one of the small ones
    python benchmarks/torch_checks.py --zoo                all architectures

Each cell is "equal", "wrong" or "unchecked". The statistics are wide and random, so a wrong fold shows, and the
rounding of deep networks is large, so a check that is too strict shows as well. What is called wrong is explained on
stderr.
"""

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from torch_formats import randomised
from torch_networks import SMALL, ZOO, architecture

import bnfold
from bnfold.errors import UncheckedError, VerificationError
from bnfold.verifier import VerifyOptions

_FORMS: Mapping[str, Callable[[nn.Module, torch.Tensor], Any]] = {
    "traced": lambda module, sample: torch.jit.trace(module, sample, check_trace=False),
    "scripted": lambda module, _: torch.jit.script(module),
    "exported": lambda module, sample: torch.export.export(module, (sample,)),
}


def main() -> int:
    """Print one row per network as it is done; 1 where one is called wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--zoo", action="store_true")
    parser.add_argument("--samples", type=int, default=2)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(f"{'network':32}" + "".join(f"{form:>11}" for form in _FORMS) + f"{'seconds':>10}")
    wrong = 0
    for name in [*chosen.names, *(ZOO if chosen.zoo else ())]:
        started = time.perf_counter()
        module, sample = SMALL[name]() if name in SMALL else architecture(name)
        module = randomised(module)
        cells = [said(name, form, module, sample, chosen.samples) for form in _FORMS]
        wrong += cells.count("wrong")
        seconds = time.perf_counter() - started
        print(f"{name:32}" + "".join(f"{cell:>11}" for cell in cells) + f"{seconds:10.1f}", flush=True)
    return int(wrong > 0)


def said(name: str, form: str, module: nn.Module, sample: torch.Tensor, samples: int) -> str:
    """One cell."""
    with torch.no_grad():
        program = _FORMS[form](module, sample)
        shapes = {}
        if isinstance(program, torch.jit.ScriptModule):
            shapes[program._c._get_method("forward").schema.arguments[1].name] = tuple(sample.shape)
        try:
            bnfold.fold(program, verify=VerifyOptions(samples=samples, shapes=shapes))
        except (VerificationError, UncheckedError) as error:
            print(f"{name}, {form}: {error}", file=sys.stderr)
            return "wrong" if isinstance(error, VerificationError) else "unchecked"
    return "equal"


if __name__ == "__main__":
    sys.exit(main())
