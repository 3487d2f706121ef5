"""The compiled module, as cffi makes it from native/include/bitnet_api.h."""

from typing import Any

ffi: Any
lib: Any
