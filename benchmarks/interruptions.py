"""The command, ended at random moments: by kill -9 and by signals, alone and with a second call onto the same file.

    python -m benchmarks.interruptions --rounds 200 --seed 0

Each round folds a model of a few megabytes, with its weights inside or beside it, to a new file, over an old one, or in
place, and ends the command after a random time. Demanded is that

- the input is as it was; in place, the model that is there finds its own data: the old one or the new one;
- the output is not there, is as it was before, or is whole;
- a signal gives its exit code (128 and its number) and one line, or comes too late to matter, or so early that there
  is no bnfold yet; and nothing but the output is left;
- behind kill -9, the same call again gives the result and leaves nothing else;
- of two calls at once onto one file, both end well, and the file is whole.
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_COMMAND = [sys.executable, "-m", "bnfold"]
_LONGEST = 300
_ENDINGS = ("SIGKILL", "SIGINT", "SIGTERM", "SIGHUP")


@dataclass(frozen=True)
class Setting:
    """What a round folds, and where to.

    Attributes:
        external: the weights lie beside the model.
        way: "new" for an output that is not there, "old" for one that is, "in place".
        checked: with the check.
    """

    external: bool
    way: str
    checked: bool

    @property
    def arguments(self) -> list[str]:
        """Of the command."""
        target = ["--in-place"] if self.way == "in place" else ["-o", "out.onnx"]
        return ["m.onnx", *target, *([] if self.checked else ["--no-verify"])]

    @property
    def target(self) -> str:
        """The file that is written."""
        return "m.onnx" if self.way == "in place" else "out.onnx"


def main() -> int:
    """Run the rounds, print what was wrong and a line for each kind of end, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    ends: Counter[str] = Counter()
    wrong = 0
    expected: dict[Setting, tuple[float, str]] = {}
    for number in range(arguments.rounds):
        ways = ("new", "old", "in place")
        setting = Setting(rng.random() < 0.5, rng.choice(ways), rng.random() < 0.5)
        if setting not in expected:
            expected[setting] = undisturbed(setting)
        how = "twice" if number % 8 == 7 else _ENDINGS[number % 4]
        seconds, result = expected[setting]
        end, faults = one_round(setting, how, rng.uniform(0, 1.1) * seconds, result)
        ends[f"{how}: {end}"] += 1
        for fault in faults:
            wrong += 1
            print(f"round {number}, {setting}, {how}: {fault}", flush=True)
    for end, count in sorted(ends.items()):
        print(f"{end:60} {count}")
    print(f"{arguments.rounds} rounds, {wrong} faults")
    return 1 if wrong else 0


def undisturbed(setting: Setting) -> tuple[float, str]:
    """How long a round takes where nothing ends it, and a digest of its result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, setting)
        began = time.monotonic()
        subprocess.run([*_COMMAND, "-q", *setting.arguments], cwd=folder, check=True, timeout=_LONGEST)
        return time.monotonic() - began, digest(folder / setting.target)


def one_round(setting: Setting, how: str, seconds: float, result: str) -> tuple[str, list[str]]:
    """What became of a call that was ended, and what is wrong with that."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, setting)
        before = {path.name: digest(path) for path in folder.iterdir() if path.suffix == ".onnx"}
        call = started(folder, setting)
        second = started(folder, setting) if how == "twice" else None
        time.sleep(0 if second else seconds)
        if second is None:
            call.send_signal(signal.Signals[how])
        said = call.communicate(timeout=_LONGEST)[1]
        faults = _of_the_files(folder, setting, before, result)
        if second is not None:
            said += second.communicate(timeout=_LONGEST)[1]
            faults += [f"exit {code}: {said}" for code in (call.returncode, second.returncode) if code]
        elif how != "SIGKILL":
            faults += _of_the_answer(call.returncode, said, signal.Signals[how])
        if how == "SIGKILL" or (setting.way == "in place" and how == "twice"):
            subprocess.run([*_COMMAND, "-q", *setting.arguments], cwd=folder, check=True, timeout=_LONGEST)
        faults += [f"left behind: {left}" for left in sorted(_left(folder, setting))]
        return f"exit {call.returncode}", faults


def started(folder: Path, setting: Setting) -> subprocess.Popen[str]:
    """The command at work, as a shell starts it."""
    return subprocess.Popen(
        [*_COMMAND, "-q", *setting.arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: [signal.signal(signal.Signals[name], signal.SIG_DFL) for name in _ENDINGS[1:]],
    )


def prepare(folder: Path, setting: Setting) -> None:
    """Write the model, and what is there of an older result."""
    save(network(0), folder / "m.onnx", external=setting.external)
    if setting.way == "old":
        save(network(1), folder / "out.onnx", external=setting.external)


def network(seed: int) -> onnx.ModelProto:
    """Six convolutions with a BatchNormalization behind each; 4 MB of weights."""
    rng = np.random.default_rng(seed)
    nodes, stored, last = [], {}, "x"
    for index in range(6):
        stored[f"w{index}"] = rng.normal(size=(136, 136 if index else 3, 3, 3)) / 30
        stored |= {f"{name}{index}": rng.uniform(0.5, 2, size=136) for name in ("scale", "bias", "mean", "var")}
        nodes.append(helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        parameters = [f"{name}{index}" for name in ("scale", "bias", "mean", "var")]
        nodes.append(helper.make_node("BatchNormalization", [f"c{index}", *parameters], [f"n{index}"]))
        last = f"n{index}"
    ports = [
        helper.make_tensor_value_info(port, TensorProto.FLOAT, ["N", channels, 8, 8])
        for port, channels in (("x", 3), (last, 136))
    ]
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in stored.items()]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def save(model: onnx.ModelProto, path: Path, *, external: bool) -> None:
    """Write a model, its weights inside or beside it."""
    if external:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
    else:
        onnx.save(model, path)


def digest(path: Path) -> str:
    """Of what a model file says and what its data holds, wherever that lies; of none where the file is not there."""
    if not path.exists():
        return "nothing"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def _of_the_files(folder: Path, setting: Setting, before: dict[str, str], result: str) -> list[str]:
    """What is wrong with the input and the output."""
    faults = []
    if setting.way != "in place" and digest(folder / "m.onnx") != before["m.onnx"]:
        faults.append("the input has changed")
    try:
        found = digest(folder / setting.target)
    except Exception as error:
        return [*faults, f"{setting.target} is broken: {error}"]
    if found not in (before.get(setting.target, "nothing"), result):
        faults.append(f"{setting.target} is neither the old one nor the new one")
    return faults


def _of_the_answer(code: int, said: str, ending: signal.Signals) -> list[str]:
    """What is wrong with how a signal ended the command."""
    lines = said.splitlines()
    if code == 128 + ending and len(lines) == 1:
        return []
    if code == 0 and not lines:  # it was done
        return []
    if code == -ending and "bnfold/cli/main.py" not in said:  # Python was starting: it says so where it hears of SIGINT
        return []
    return [f"exit {code}: {said[-400:]!r}"]


def _left(folder: Path, setting: Setting) -> set[str]:
    """Files that are neither input nor output."""
    models = {"m.onnx", setting.target}
    data = {
        entry.value
        for model in models
        if (folder / model).exists()
        for tensor in onnx.load(folder / model, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {path.name for path in folder.iterdir()} - models - data


if __name__ == "__main__":
    sys.exit(main())
