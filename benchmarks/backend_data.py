"""Every model of the installed onnx package's backend tests, folded: those in files and those that it makes of nodes.

    python -m benchmarks.backend_data [--only batchnorm] [--verbose]

Each goes through the command, with the check; those of an operator set that is too old once more, as onnx's converter
brings them to a newer one. A model in which nothing folds must come out byte for byte as it was; one that is changed
must give the package's own outputs on the package's own inputs, under onnxruntime without optimisations, wherever the
original does. What ends otherwise is listed: with an exit code other than 0 under "refused", with its reason; anything
else is a fault.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnx import TensorProto, numpy_helper

from bnfold.cli.main import main as bnfold

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
_MEANT = (3, 5)
_OLDEST, _NEWER = 7, 13
Values = Sequence[Any]


@dataclass(frozen=True)
class Case:
    """A model and what it computes.

    Attributes:
        name: of the test.
        content: the model file.
        samples: inputs and the outputs that go with them, arrays, or lists where the model has sequences.
        rtol, atol: what the package tolerates.
    """

    name: str
    content: bytes
    samples: Sequence[tuple[Values, Values]]
    rtol: float = 1e-3
    atol: float = 1e-5


@dataclass
class Tally:
    """What became of the models."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def in_files() -> Iterator[Case]:
    """Models that the package has as files."""
    for path in sorted(DATA.rglob("*.onnx")):
        content = path.read_bytes()
        folders = sorted(path.parent.glob("test_data_set_*"))
        graph = onnx.load_from_string(content).graph
        samples = [
            (_stored(folder, "input", graph.input), _stored(folder, "output", graph.output)) for folder in folders
        ]
        case = Case(str(path.relative_to(DATA)), content, samples)
        yield case
        yield from _converted(case)


def _converted(case: Case) -> Iterator[Case]:
    """A model of an old operator set, if it is one, in a newer one."""
    model = onnx.load_from_string(case.content)
    if any(opset.domain in ("", "ai.onnx") and opset.version < _OLDEST for opset in model.opset_import):
        with contextlib.suppress(Exception):  # onnx's converter does not know all operators
            newer = onnx.version_converter.convert_version(model, _NEWER)
            yield replace(case, name=f"{case.name}, converted", content=newer.SerializeToString())


def _stored(folder: Path, name: str, ports: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    files = sorted(folder.glob(f"{name}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return [_value(path.read_bytes(), port) for path, port in zip(files, ports, strict=False)]


def _value(content: bytes, port: onnx.ValueInfoProto) -> object:
    kind = port.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(TensorProto.FromString(content))


def of_nodes() -> Iterator[Case]:
    """Models that the package makes of one operator, or a few, in Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        made = collect_testcases(None)
    for one in made:
        if one.model is not None:
            yield Case(one.name, one.model.SerializeToString(), one.data_sets or (), one.rtol, one.atol)


def try_case(case: Case, folder: Path, tally: Tally) -> str:
    """Fold one model; what became of it, in a word."""
    source, target, report = folder / "m.onnx", folder / "out.onnx", folder / "r.json"
    source.write_bytes(case.content)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = int(bnfold([str(source), "-o", str(target), "-q", "--report", str(report)]))
    value = json.loads(report.read_text())
    if code:
        line = said.getvalue().strip().rpartition(f"{source}: ")[2]
        tally.reasons[f"exit {code}: {line}"] += 1
        if code not in _MEANT or len(said.getvalue().splitlines()) != 1 or target.exists():
            tally.faults.append(f"{case.name}: exit {code}: {said.getvalue()!r}")
        return "refused"
    norms = value["models"][0]["batch_norms"]
    tally.counts["BatchNorms"] += norms["found"]
    tally.counts["BatchNorms folded"] += norms["folded"]
    if target.read_bytes() == case.content:
        return "unchanged"
    equal = [_is_equal(case, target, *sample, tally) for sample in case.samples]
    tally.counts["samples compared"] += sum(one is not None for one in equal)
    return "changed"


def _is_equal(case: Case, target: Path, inputs: Values, outputs: Values, tally: Tally) -> bool | None:
    """Whether the result gives the outputs that are expected, None where the original does not either."""
    if not _gives(case.content, inputs, outputs, case):
        tally.reasons["the original does not give the expected outputs under onnxruntime either"] += 1
        return None
    if _gives(target.read_bytes(), inputs, outputs, case):
        return True
    tally.faults.append(f"{case.name}: other outputs than expected")
    return False


def _gives(content: bytes, inputs: Values, expected: Values, case: Case) -> bool:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        feeds = dict(zip((port.name for port in session.get_inputs()), inputs, strict=False))
        found = session.run(None, feeds)
        for value, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=case.rtol, atol=case.atol)
    except (AssertionError, TypeError, ValueError, RuntimeError, onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        return False
    return True


def main() -> int:
    """Run, print what became of the models, and return 1 where something is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default="", help="models with this in their name")
    parser.add_argument("--files", action="store_true", help="only those in files")
    parser.add_argument("--verbose", action="store_true", help="a line for each model")
    arguments = parser.parse_args()
    wrong = 0
    for title, cases in (("in files", in_files), ("of nodes", of_nodes)):
        if arguments.files and cases is of_nodes:
            continue
        tally = Tally()
        for case in cases():
            if arguments.only not in case.name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                became = try_case(case, Path(folder), tally)
            tally.counts["models"] += 1
            tally.counts[became] += 1
            if arguments.verbose:
                print(f"{became:10} {case.name}", flush=True)
        print(f"onnx {onnx.__version__}, models {title}: {dict(tally.counts)}")
        for reason, count in tally.reasons.most_common():
            print(f"  {count:5}  {reason[:200]}")
        for fault in tally.faults:
            print(f"  FAULT {fault}")
        wrong += len(tally.faults)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
