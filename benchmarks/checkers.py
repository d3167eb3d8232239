"""What other tools' own checks say of two models, each called as its command calls it, with the inputs that it draws.

onnxsim, onnxslim and polygraphy are optional: `pip install '.[benchmarks]'`.
"""

import contextlib
import io
from collections.abc import Callable

import numpy as np
import onnx

from bnfold.verifier import check

Checker = Callable[[onnx.ModelProto, onnx.ModelProto], str]
"""From the original and the new model to what is wrong, "" if nothing is."""


def by_bnfold(original: onnx.ModelProto, candidate: onnx.ModelProto) -> str:
    """What a fold checks itself by."""
    result = check(original.SerializeToString(), candidate.SerializeToString())
    return "" if result.passed else result.problem or "failed"


def by_onnxsim(original: onnx.ModelProto, candidate: onnx.ModelProto) -> str:
    """`onnxsim.model_checking.compare`: five draws from [0, 1), rtol 1e-4, atol 1e-5."""
    from onnxsim.model_checking import compare

    return _reported(lambda: compare(candidate, original))


def by_onnxslim(original: onnx.ModelProto, candidate: onnx.ModelProto) -> str:
    """`onnxslim --model-check`: one draw from [0, 1), rtol 1e-3, atol 1e-4."""
    from onnxslim.utils import check_onnx, check_result, onnxruntime_inference

    def check() -> bool:
        inputs, expected, _ = check_onnx(original)
        got, _ = onnxruntime_inference(candidate, inputs)
        return bool(check_result(expected, got))

    return _reported(check)


def by_polygraphy(original: onnx.ModelProto, candidate: onnx.ModelProto) -> str:
    """`polygraphy run` of both with --onnxrt: one draw from [0, 1), rtol 1e-5, atol 1e-5."""
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator, CompareFunc
    from polygraphy.logger import G_LOGGER

    def check() -> bool:
        G_LOGGER.severity = G_LOGGER.CRITICAL + 1
        runners = [OnnxrtRunner(SessionFromOnnx(model.SerializeToString())) for model in (original, candidate)]
        return bool(Comparator.compare_accuracy(Comparator.run(runners), compare_func=CompareFunc.simple()))

    return _reported(check)


OTHERS: dict[str, Checker] = {"onnxsim": by_onnxsim, "OnnxSlim": by_onnxslim, "Polygraphy": by_polygraphy}
"""By the name in the table."""


def _reported(equal: Callable[[], bool]) -> str:
    """They draw from numpy's global generator and print what they find."""
    np.random.seed(0)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return "" if equal() else "reported a difference"
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever they raise, the fault has not gone unnoticed
        return f"raised {type(error).__name__}: {str(error).partition(chr(10))[0]}"
