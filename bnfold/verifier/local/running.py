"""Excerpts on onnxruntime."""

from collections.abc import Mapping
from contextlib import suppress

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.models.subgraph import Excerpt
from bnfold.verifier.run.complaints import RefusedError
from bnfold.verifier.run.session import Session


class Running:
    """An excerpt with its session, if it loads.

    Args:
        role: how messages call its model.
        excerpt: the excerpt.
        like: values of its inputs, for shapes and types.
    """

    def __init__(self, role: str, excerpt: Excerpt, like: Mapping[str, Array]) -> None:
        self._excerpt = excerpt
        self._session: Session | None = None
        with suppress(RefusedError):
            self._session = Session(excerpt.build(role, like))

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name; none where the excerpt does not run by itself."""
        if self._session is None:
            return {}
        try:
            outputs = self._session.run(self._excerpt.feeds(values))
        except RefusedError:
            return {}
        return {port.name: array for port, array in zip(self._session.signature.outputs, outputs, strict=True)}  # type: ignore[misc]
