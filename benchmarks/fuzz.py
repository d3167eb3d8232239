"""Damaged and hostile ONNX files: each must end in an exit code that is meant, with one line, and nothing else.

    python -m benchmarks.fuzz --cases 3000 --seed 0 --jobs 2 [--keep FOLDER]

Small valid models are made and mutated: as protobuf messages (numbers, names, types, nodes, tensors, external data) and
as bytes (flipped, cut out, doubled, other lengths). Each goes through the command as its users call it, with limits of
time and memory. What is no exit code of 0 to 5, tells more than one line, or leaves something behind, is a finding.
"""

import argparse
import contextlib
import io
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper, numpy_helper

from bnfold.cli.main import main as bnfold

_MEANT = (0, 1, 2, 3, 4, 5)
_LIMITS = ["-q", "--time-limit", "30", "--memory-limit", "2GiB"]
_LONGEST = 120
"""Seconds for one case, after which it hangs."""
_BATCH = 50
_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
_TEXTS = ("", "x", "y", "\x1b[31m", "a\nb", "\0", "../x", "/dev/zero", "[red]", "<b>", "-->", "9" * 30, "é", "n0")


def make(rng: random.Random) -> onnx.ModelProto:
    """A small valid model with BatchNormalizations in its graph, in a body, or in a function."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    channels = rng.choice([1, 2, 3, 6])
    nodes, stored, last = [], {}, "x"
    for index in range(rng.randrange(1, 5)):
        kind = rng.choice(["Conv", "ConvTranspose", "Mul", "Add", "Relu", "MaxPool", "Transpose", "Reshape", "Resize"])
        inputs, attributes = _operands(kind, f"p{index}", channels, numbers, stored)
        nodes.append(helper.make_node(kind, [last, *inputs], [f"c{index}"], f"node {index}", **attributes))
        parameters = [f"n{index}.{name}" for name in ("scale", "bias", "mean", "var")]
        stored |= {name: np.abs(numbers.normal(size=channels)) + 0.1 for name in parameters}
        nodes.append(helper.make_node("BatchNormalization", [f"c{index}", *parameters], [f"n{index}"], f"bn {index}"))
        last = f"n{index}"
    opset = rng.choice([9, 11, 13, 17, 21])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, 6, 6]) for name in ("x", last)]
    tensors = [
        numpy_helper.from_array(np.asarray(values, np.float32) if values.dtype.kind == "f" else values, name)
        for name, values in stored.items()
    ]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    return rng.choice([_plain, _in_a_body, _in_a_function])(model)


def _operands(kind: str, name: str, channels: int, numbers: np.random.Generator, stored: dict[str, np.ndarray]):  # noqa: ANN202
    """The names of further inputs, whose values are stored, and the attributes."""
    match kind:
        case "Conv" | "ConvTranspose":
            stored[name] = numbers.normal(size=(channels, channels, 3, 3))
            return [name], {"pads": [1, 1, 1, 1]}
        case "Mul" | "Add":
            stored[name] = numbers.normal(size=(channels, 1, 1))
            return [name], {}
        case "MaxPool":
            return [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        case "Transpose":
            return [], {"perm": [0, 1, 3, 2]}
        case "Reshape":
            stored[name] = np.array([0, 0, -1, 6])
            return [name], {}
        case "Resize":
            stored[name] = np.ones(4)
            return ["", name], {}
    return [], {}


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


def _in_a_body(model: onnx.ModelProto) -> onnx.ModelProto:
    body = onnx.GraphProto.FromString(model.graph.SerializeToString())
    del body.input[:], body.initializer[:], model.graph.node[:]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    last = body.output[0].name
    model.graph.node.append(helper.make_node("If", ["flag"], [last], "if", then_branch=body, else_branch=body))
    return model


def _in_a_function(model: onnx.ModelProto) -> onnx.ModelProto:
    inputs = ["x", *(tensor.name for tensor in model.graph.initializer)]
    last = model.graph.output[0].name
    model.functions.append(
        helper.make_function("own", "F", inputs, [last], list(model.graph.node), list(model.opset_import))
    )
    del model.graph.node[:]
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("F", inputs, [last], "call", domain="own"))
    return model


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if isinstance(value, list) or hasattr(value, "__len__") else [value]:
                yield from _messages(inner)


def mutate_message(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change one field somewhere in a model, to a value of its type."""
    message = rng.choice(list(_messages(model)))
    fields = list(message.DESCRIPTOR.fields)
    set_fields = [field for field, _ in message.ListFields()]
    field = rng.choice(set_fields if set_fields and rng.random() < 0.7 else fields)
    repeated = hasattr(getattr(message, field.name), "__len__") and not isinstance(
        getattr(message, field.name), (str, bytes)
    )
    with contextlib.suppress(ValueError, TypeError, AttributeError, IndexError):
        if repeated:
            _mutate_list(getattr(message, field.name), field, rng)
        elif field.message_type is not None:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _value(field, rng))


def _mutate_list(values, field, rng: random.Random) -> None:  # noqa: ANN001 - protobuf's containers are not public
    place = rng.randrange(len(values)) if len(values) else 0
    choice = rng.random()
    if choice < 0.3 and len(values):
        del values[place]
    elif choice < 0.5 and len(values):
        values.extend([values[place]] * rng.choice([1, 1, 2, 50]))
    elif field.message_type is not None:
        values.add()
    elif len(values) and choice < 0.9:
        values[place] = _value(field, rng)
    else:
        values.append(_value(field, rng))


def _value(field, rng: random.Random):  # noqa: ANN001, ANN202 - as above
    if field.cpp_type in (field.CPPTYPE_STRING,):
        text = rng.choice(_TEXTS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice([0.0, -1.0, 1e-40, 1e38, float("nan"), float("inf"), float(rng.randrange(-9, 9))])
    if field.cpp_type == field.CPPTYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    return rng.choice([*_NUMBERS, rng.randrange(-5, 40)])


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut out, double or insert some bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place = rng.randrange(len(changed)) if changed else 0
        length = rng.choice([1, 2, 8, 40])
        kind = rng.randrange(4)
        if kind == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif changed:
            changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    return bytes(changed)


def case(seed: int) -> bytes:
    """The file of a seed."""
    rng = random.Random(seed)
    model = make(rng)
    if rng.random() < 0.75:
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            mutate_message(model, rng)
    data: bytes = model.SerializeToString()
    return mutate_bytes(data, rng) if rng.random() < 0.35 else data


def fault_of(data: bytes, folder: Path) -> str:
    """Run the command on a file; what is wrong with the answer, and "" if nothing is."""
    path = folder / "model.onnx"
    path.write_bytes(data)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = bnfold([str(path), "-o", str(folder / "out.onnx"), *_LIMITS])
    errors = [line for line in said.getvalue().splitlines() if ": warning: " not in line]
    left = {entry.name for entry in folder.iterdir()} - {"model.onnx", "out.onnx", "out.onnx.data"}
    (folder / "out.onnx").unlink(missing_ok=True)
    if code not in _MEANT:
        return f"exit {int(code)}: {said.getvalue()[:400]!r}"
    if len(errors) > 1:
        return f"{len(errors)} lines: {said.getvalue()[:400]!r}"
    return f"left behind: {sorted(left)}" if left else ""


def work(first: int, count: int) -> None:
    """Run some seeds, and print a line for each before it and behind it."""
    for seed in range(first, first + count):
        print(f"begin {seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            print(f"end {seed} {fault_of(case(seed), Path(folder))}", flush=True)


def _batch(first: int, count: int) -> dict[int, str]:
    """The faults of some seeds, run in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--work", str(first), str(count)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST * count // 5)
        output, ending = done.stdout, f"the process ended with {done.returncode}: {done.stderr[-300:]!r}"
    except subprocess.TimeoutExpired as error:
        output, ending = (error.stdout or b"").decode(), "hangs"
    faults: dict[int, str] = {}
    for line in output.splitlines():
        what, seed, *fault = line.split(" ", 2)
        faults[int(seed)] = ending if what == "begin" else (fault[0] if fault else "")
    return faults


def _run(arguments: argparse.Namespace) -> int:
    starts = range(arguments.seed, arguments.seed + arguments.cases, _BATCH)
    one: Callable[[int], dict[int, str]] = lambda first: _batch(first, _BATCH)  # noqa: E731
    found: dict[int, str] = {}
    count = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for faults in pool.map(one, starts):
            count += len(faults)
            for seed, fault in faults.items():
                if fault:
                    found[seed] = fault
                    print(f"{seed}: {fault}", flush=True)
                    if arguments.keep:
                        arguments.keep.mkdir(parents=True, exist_ok=True)
                        (arguments.keep / f"{seed}.onnx").write_bytes(case(seed))
    kinds = Counter(fault[:80] for fault in found.values())
    print(f"{count} files, {len(found)} findings of {len(kinds)} kinds")
    return 1 if found else 0


def main() -> int:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
        return 0
    return _run(arguments)


if __name__ == "__main__":
    sys.exit(main())
