"""The devices of an exported program: of the values in its graphs, of its weights, and those that operators are given.

torch loads a program only where its devices are, so the JSON is made one of the CPU first.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bnfold.frontends.torch_archive.clean import CleanArchive
from bnfold.frontends.torch_archive.devices import Locations
from bnfold.frontends.torch_archive.exported import CleanProgram
from bnfold.frontends.torch_archive.locations import relocated
from bnfold.frontends.torch_archive.saved import parts_of_saved
from bnfold.frontends.torch_archive.zip_reader import Buffer

_MODEL, _SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_Json = dict[str, Any]


@dataclass(frozen=True)
class ProgramDevices:
    """The devices of one file.

    Attributes:
        values: of tensors in graphs, by their names.
        weights: of weights and constants, by theirs.
        given: of what operators with a device as an argument make, by the name of their first result.
        taken: of the user's inputs, by their names.
    """

    values: Locations
    weights: Locations
    given: Mapping[str, str]
    taken: Locations

    def restored(self, parts: Mapping[str, Buffer]) -> dict[str, Buffer]:
        """Parts of a new file with the devices of this one.

        Args:
            parts: as torch wrote them on the CPU.
        """
        new = dict(parts)
        program = json.loads(bytes(parts[_MODEL]))
        for graph in _graphs(program):
            for name, meta in graph["tensor_values"].items():
                meta["device"] = _as_json(self.values.of(name))
            for node in graph["nodes"]:
                for holder in _holders(node["inputs"]):
                    holder["as_device"] = _as_json(self._given(node))
        new[_MODEL] = _written(program)
        for name in _CONFIGS:
            if name in parts:
                config = json.loads(bytes(parts[name]))
                for key, payload in config["config"].items():
                    if payload.get("tensor_meta"):
                        payload["tensor_meta"]["device"] = _as_json(self.weights.of(key))
                new[name] = _written(config)
        if self.taken.are_elsewhere and len(parts.get(_SAMPLES, b"")):
            saved = parts_of_saved(parts[_SAMPLES])
            pickle = next(name for name in saved if name.endswith("data.pkl"))
            saved[pickle] = relocated(bytes(saved[pickle]), lambda _: self.taken.usual)
            new[_SAMPLES] = CleanArchive(saved).read()
        return new

    def _given(self, node: _Json) -> str:
        """The device that an operator is given: the one of old, else that of what it makes or takes."""
        for name in (*_names(node["outputs"]), *_names(node["inputs"])):
            return self.given.get(name, self.values.of(name))
        return self.values.usual


def devices_of(program: CleanProgram) -> ProgramDevices | None:
    """The devices of a file; None where it knows the CPU alone."""
    values: dict[str, str] = {}
    given: dict[str, str] = {}
    for graph in _graphs(program.program):
        values |= {name: _as_text(meta["device"]) for name, meta in graph["tensor_values"].items()}
        for node in graph["nodes"]:
            for holder in _holders(node["inputs"]):
                given |= dict.fromkeys(_names(node["outputs"])[:1], _as_text(holder["as_device"]))
    weights = {
        key: _as_text(payload["tensor_meta"]["device"])
        for config in program.payloads.values()
        for key, payload in config["config"].items()
        if payload.get("tensor_meta")
    }
    specs = program.program["graph_module"]["signature"]["input_specs"]
    taken = {name: values[name] for spec in specs if "user_input" in spec for name in _names([spec["user_input"]])}
    found = ProgramDevices(Locations(values), Locations(weights), given, Locations(taken))
    elsewhere = {*values.values(), *weights.values(), *given.values()} - {"cpu"}
    return found if elsewhere else None


def on_the_cpu(program: CleanProgram) -> None:
    """Make a file one for the CPU, in place."""
    for tree in (program.program, *program.payloads.values()):
        for holder in _dicts(tree):
            for key in ("device", "as_device"):
                if isinstance(holder.get(key), dict):
                    holder[key] = _as_json("cpu")


def _dicts(tree: Any) -> Iterator[_Json]:  # noqa: ANN401 - any JSON
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _graphs(program: _Json) -> Iterator[_Json]:
    """The graph and those of bodies."""
    return (part for part in _dicts(program) if "tensor_values" in part and "nodes" in part)


def _holders(inputs: list[Any]) -> Iterator[_Json]:
    """Arguments that are devices, those of bodies left to their own nodes."""
    for entry in inputs:
        argument = entry.get("arg", {})
        if isinstance(argument.get("as_device"), dict):
            yield argument


def _names(arguments: list[Any]) -> list[str]:
    """Names of the tensors in arguments or results."""
    return [part["as_tensor"]["name"] for part in _dicts(arguments) if isinstance(part.get("as_tensor"), dict)]


def _as_text(device: _Json) -> str:
    index = device.get("index")  # has a default in torch's schema
    return str(device["type"]) if index is None else f"{device['type']}:{index}"


def _as_json(location: str) -> _Json:
    kind, _, index = location.partition(":")
    return {"type": kind, "index": int(index) if index else None}


def _written(tree: _Json) -> bytes:
    return json.dumps(tree, allow_nan=False).encode()
