"""How many BatchNormalization nodes other tools leave in a model, and bnfold: the table of README.md.

    python benchmarks/batch_norms_left.py MODEL.onnx...

onnxruntime is asked for its extended level, the highest that gives a file for other machines; onnxsim and OnnxSlim are
asked as their commands ask. A tool that is not installed, or does not take a model, has a dash. Needs the extra
`benchmarks`.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import onnx
import onnxruntime

import bnfold

Tool = Callable[[Path], onnx.ModelProto]


def by_onnxruntime(path: Path) -> onnx.ModelProto:
    """The graph that a session at the extended level writes down."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def by_onnxsim(path: Path) -> onnx.ModelProto:
    """`onnxsim.simplify`."""
    from onnxsim import simplify

    simplified: onnx.ModelProto = simplify(onnx.load(path))[0]
    return simplified


def by_onnxslim(path: Path) -> onnx.ModelProto:
    """`onnxslim.slim`."""
    from onnxslim import slim

    slimmed: onnx.ModelProto = slim(onnx.load(path))
    return slimmed


def by_bnfold(path: Path) -> onnx.ModelProto:
    """`bnfold.fold`, which this does not check again."""
    folded: onnx.ModelProto = bnfold.fold(path, verify=False).model
    return folded


TOOLS: dict[str, tuple[str, Tool]] = {
    "onnxruntime": ("onnxruntime", by_onnxruntime),
    "onnxsim": ("onnxsim", by_onnxsim),
    "OnnxSlim": ("onnxslim", by_onnxslim),
    "bnfold": ("bnfold", by_bnfold),
}


def batch_norms(model: onnx.ModelProto) -> int:
    """BatchNormalization nodes of the main graph."""
    return sum(node.op_type == "BatchNormalization" for node in model.graph.node)


def left_by(tool: Tool, package: str, path: Path) -> str:
    """How many a tool leaves; a dash where it gives no model."""
    if importlib.util.find_spec(package) is None:
        return "-"
    try:
        return str(batch_norms(tool(path)))
    except Exception:  # whatever a tool raises
        return "-"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    models = parser.parse_args().models
    print(", ".join(f"{name} {version(package)}" for name, (package, _) in TOOLS.items() if _is_there(package)))
    print("| BatchNorms in | the file |", " | ".join(TOOLS), "|")
    print("|---|--:|", "|".join("--:" for _ in TOOLS), "|", sep="")
    for path in models:
        counts = [left_by(tool, package, path) for package, tool in TOOLS.values()]
        print(f"| {path.stem} | {batch_norms(onnx.load(path))} |", " | ".join(counts), "|", flush=True)


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
