"""Rotary embeddings stretched by YaRN (Peng et al., 2023), as data: Ternary-Bonsai comes with them.

Pairs of a head that turn often within the context of training keep their speed, those that turn less than once are slowed
down by the factor, those between by something between; and what is rotated is multiplied by the attention factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

YARN_FACTOR_RANGE = (1.0, 1e4)
"""Lowest and highest factor by which a context is stretched."""
YARN_TURNS_RANGE = (1e-3, 1e6)
"""Lowest and highest number of turns that divides the pairs of a head."""
YARN_ATTENTION_RANGE = (1e-3, 1e3)
"""Lowest and highest attention factor."""


@dataclass(frozen=True)
class Yarn:
    """How a rotation is stretched.

    Attributes:
        factor: by how much.
        original_context: positions in training, before it was stretched.
        attention_factor: what rotated queries and keys are multiplied by.
        beta_fast, beta_slow: pairs with more turns than the first keep their speed, with fewer than the second have all of
            the slowing down.
    """

    factor: float
    original_context: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0


def usual_attention_factor(factor: float) -> float:
    """0.1 ln(factor) + 1, where nothing else is said."""
    return 0.1 * math.log(factor) + 1.0
