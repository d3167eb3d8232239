"""Peak memory of a fold, and of its check, for models whose weights lie beside them: it must not grow with the file.

    python -m benchmarks.memory                      # 0.5, 1 and 2 GiB
    python -m benchmarks.memory --gibibytes 8 --folder /large/disk
    python -m benchmarks.memory --gibibytes 1 --channels 16384      # in one weight

A model is a row of Convs with 64 MiB of weights, a BatchNorm and a Relu each, so that every weight changes. Anonymous
memory is what counts: mapped files are counted beside it, since the system takes their pages back where it needs them.
Both are sums over the processes of the command, looked at every 20 ms. Linux alone says so much.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CHANNELS = 4096
_IMPORTS = "import numpy, onnx, onnxruntime, time; time.sleep(0.3)"


def write_model(path: Path, size: float, channels: int = _CHANNELS) -> None:
    """A row of Convs, with so many bytes of weights in a file beside the model."""
    layer = 4 * channels**2
    layers = round(size / layer)
    random = np.random.default_rng(0)
    weight = (random.normal(size=(channels, channels)) * channels**-0.5).astype(np.float32).tobytes()
    nodes, tensors, last = [], [], "x"
    data = path.with_suffix(".data")
    with data.open("wb") as file:
        for number in range(layers):
            tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[channels, channels, 1, 1])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", data.name), ("offset", file.tell()), ("length", layer)):
                tensor.external_data.add(key=key, value=str(value))
            file.write(weight)
            names = [f"{name}{number}" for name in ("scale", "bias", "mean", "variance")]
            values = (random.uniform(0.5, 1.5, channels).astype(np.float32) for _ in names)
            tensors += [
                tensor,
                *(numpy_helper.from_array(array, name) for array, name in zip(values, names, strict=True)),
            ]
            nodes.append(helper.make_node("Conv", [last, tensor.name], [f"c{number}"]))
            nodes.append(helper.make_node("BatchNormalization", [f"c{number}", *names], [f"n{number}"]))
            nodes.append(helper.make_node("Relu", [f"n{number}"], [last := f"r{number}"]))
    shape = [1, channels, 4, 4]
    ports = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x", last))
    graph = helper.make_graph(nodes, "row", *ports, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def peak(command: list[str]) -> tuple[int, int, float]:
    """Bytes of anonymous memory and of mapped files at the most, and processor seconds, of a command with children."""
    anonymous = mapped = 0
    process = subprocess.Popen([sys.executable, *command])
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        held = [_held(one) for one in _family(process.pid)]
        anonymous, mapped = max(anonymous, sum(a for a, _ in held)), max(mapped, sum(b for _, b in held))
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return anonymous, mapped, usage.ru_utime + usage.ru_stime


def _family(process: int) -> Iterator[int]:
    yield process
    try:
        threads = os.listdir(f"/proc/{process}/task")
        children = [Path(f"/proc/{process}/task/{thread}/children").read_text() for thread in threads]
    except OSError:  # it has ended
        return
    for child in " ".join(children).split():
        yield from _family(int(child))


def _held(process: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
    return sizes.get("RssAnon", 0), sizes.get("RssFile", 0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gibibytes", type=float, nargs="*", default=[0.5, 1, 2])
    parser.add_argument("--channels", type=int, default=_CHANNELS, help="of each Conv, whose weight has their square")
    parser.add_argument("--folder", help="for the models, of which there are two at a time")
    given = parser.parse_args()
    print("| weights | process | anonymous MB | mapped MB | processor s |\n|--:|---|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        model, results = Path(folder, "model.onnx"), Path(folder, "results")
        for size in given.gibibytes:
            write_model(model, size * 2**30, given.channels)
            fold = ["-m", "bnfold", str(model), "-q", "-o"]
            commands = {
                "imports": ["-c", _IMPORTS],
                "--no-verify": [*fold, str(results / "folded.onnx"), "--no-verify"],
                "with the check": [*fold, str(results / "checked.onnx")],
            }
            for name, command in commands.items():
                with tempfile.TemporaryDirectory(dir=folder) as made:
                    os.rename(made, results)
                    anonymous, mapped, seconds = peak(command)
                    os.rename(results, made)
                print(
                    f"| {size:g} GiB | {name} | {anonymous / 1e6:.0f} | {mapped / 1e6:.0f} | {seconds:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
