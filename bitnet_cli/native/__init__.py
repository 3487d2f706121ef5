"""The C library as Python objects; the only package that imports the compiled module.

Each object owns one native handle and frees it with itself. Arrays go in and out as NumPy arrays whose dtype, shape and
contiguity are checked here, so that nothing wrong reaches C.
"""

from __future__ import annotations

from bitnet_cli.native._bitnet import lib
from bitnet_cli.native.context import (
    Context,
    Isa,
    NotTernaryError,
    build,
    commit,
    compiler,
    count_codes,
    isas,
    physical_cores,
)
from bitnet_cli.native.matrices import DenseMatrix, Layout, TernaryMatrix, Tiling
from bitnet_cli.native.plan import DEFAULT_KV_TYPE, KV_TYPES, KVCache, Plan, check_kv_type

__all__ = [
    "DEFAULT_KV_TYPE",
    "KV_TYPES",
    "Context",
    "DenseMatrix",
    "Isa",
    "KVCache",
    "Layout",
    "NotTernaryError",
    "Plan",
    "TernaryMatrix",
    "Tiling",
    "build",
    "check_kv_type",
    "commit",
    "compiler",
    "count_codes",
    "isas",
    "lib",
    "physical_cores",
]
