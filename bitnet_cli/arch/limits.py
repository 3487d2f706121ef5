"""What the engine accepts of a model's shape; the converter refuses everything else, so that what it writes runs."""

from __future__ import annotations

MAX_LAYERS = 1024
"""Transformer blocks."""
MAX_COUNT = 1 << 24
"""Any other count: widths, heads, head sizes, tokens of context."""
RMS_EPS_RANGE = (1e-12, 1.0)
"""Lowest and highest epsilon of the norms."""
ROPE_THETA_RANGE = (1.0, 1e12)
"""Lowest and highest base of the rotary embedding."""
