"""Token ids to one vector: the hidden states of a text, pooled and brought to length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitnet_cli.engine.session import Session
from bitnet_cli.errors import FormatError, UsageError


class Embedder:
    """Makes the vectors of texts, one after the other.

    Args:
        session: of an embedding model; emptied for every text.

    Raises:
        UsageError: the model's file says nothing of pooling.
    """

    def __init__(self, session: Session) -> None:
        if session.model.config.pooling == "none":
            raise UsageError(
                f"{session.model.path} is no embedding model: it continues texts and gives no vectors",
                hint="`bitnet run` is for it; the file of an embedding model has the key `pooling_type`",
            )
        self._session, self._pooling = session, session.model.config.pooling

    def embed(self, ids: Sequence[int]) -> np.ndarray:
        """The vector of a text.

        Args:
            ids: token ids, at least one.

        Returns:
            float32 [dim] of length 1: the last hidden state, the first, or their mean, as the model pools.

        Raises:
            UsageError: more tokens than the context has room for, or an id outside the vocabulary.
            FormatError: the model computes values that are not finite.
        """
        self._session.truncate(0)
        states = self._session.hidden_states(ids, 1 if self._pooling == "last" else len(ids))
        vector = (
            states.mean(axis=0, dtype=np.float64) if self._pooling == "mean" else states[0].astype(np.float64)
        )
        if not np.isfinite(vector).all():
            raise FormatError(
                "the model computes values that are not finite: its weights are damaged",
                path=self._session.model.path,
            )
        length = np.sqrt((vector * vector).sum())
        return np.asarray(vector / max(length, 1e-12), np.float32)
