"""A checkpoint directory: its JSON files and its safetensors shards, read with bounds.

Nothing is loaded whole: tensors are views of mapped files, read in blocks of rows. The directory may come
from anywhere, so every name in it is checked before it is opened: an index cannot point outside the
directory.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError, printable
from bitnet_cli.formats.safetensors_reader import SafetensorsFile, STInfo, to_float32

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# The largest known are tokenizer.json files of 33 MB. Python objects take up to 25 bytes for one of JSON.
JSON_LIMIT_BYTES = 48 << 20
BLOCK_VALUES = 1 << 18
"""Values handled at once: their float32 and float64 copies stay within a few megabytes."""
RESIDENT_BYTES = 32 << 20
"""How much of the mapped files may stay in memory before it is handed back."""
FLOAT_DTYPES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a value by its safetensors dtype."""


class Checkpoint:
    """One directory with `config.json` and the weights as safetensors.

    Args:
        directory: the checkpoint; its files may be symbolic links, as in the cache of the Hugging Face hub.

    Raises:
        BitnetError: there is no such directory, or a file cannot be read.
        FormatError: a file is not what it claims to be.
        UnsupportedError: the weights are only there as pickles.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not os.path.isdir(directory):
            raise BitnetError(
                f"{directory} is not a directory",
                hint="`bitnet convert` takes a directory with config.json and *.safetensors files",
            )
        config = self.json("config.json")
        if config is None:
            raise FormatError("the file is missing", path=directory / "config.json")
        self.config = config
        self._files: dict[str, SafetensorsFile] = {}
        self._file_of: dict[str, SafetensorsFile] = {}
        self.tensors: dict[str, STInfo] = {}
        self._touched: set[str] = set()
        self._touched_bytes = 0
        self._find_tensors()

    def bytes(self, file_name: str, limit_bytes: int = JSON_LIMIT_BYTES) -> bytes | None:
        """The content of a file of the directory; None if there is no such file."""
        path = self.directory / file_name
        return _read_bounded(path, limit_bytes) if os.path.lexists(path) else None

    def text(self, file_name: str, limit_bytes: int = JSON_LIMIT_BYTES) -> str | None:
        """The content of a UTF-8 file of the directory; None if there is no such file."""
        raw = self.bytes(file_name, limit_bytes)
        if raw is None:
            return None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            path = self.directory / file_name
            raise FormatError("the file is not UTF-8 text", path=path, offset=error.start) from None

    def json(self, file_name: str) -> dict[str, Any] | None:
        """The JSON object in a file of the directory; None if there is no such file."""
        value = self.json_value(file_name)
        if value is not None and not isinstance(value, dict):
            raise FormatError("a JSON object was expected", path=self.directory / file_name)
        return value

    def json_value(self, file_name: str) -> Any:
        """What the JSON in a file of the directory says; None if there is no such file."""
        text = self.text(file_name)
        if text is None:
            return None
        path = self.directory / file_name
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise FormatError(f"the file is not JSON: {printable(reason)}", path=path) from None
        if value is None:
            raise FormatError("the file holds nothing but null", path=path)
        return value

    def path_of(self, name: str) -> Path:
        """The file that holds a tensor, for messages."""
        return self._file_of[name].path

    def raw_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of a tensor as stored: uint8, uint16 or uint32 [stop - start, cols], a view; 1-D is one row.

        Every RESIDENT_BYTES the pages of all that was read are given back to the system, so that memory
        does not grow with it; a view still in use reads its pages again.
        """
        info = self.tensors[name]
        width = FLOAT_DTYPES.get(info.dtype, 1)
        cols = info.shape[-1] if info.shape else 1
        row_bytes = cols * width
        file = self._file_of[name]
        self._touched_bytes += (stop - start) * row_bytes
        if self._touched_bytes > RESIDENT_BYTES:
            for touched in self._touched:
                self._file_of[touched].advise_done(touched)
            self._touched, self._touched_bytes = set(), 0
        self._touched.add(name)
        raw = file.data(name)[start * row_bytes : stop * row_bytes]
        return raw.view(f"<u{width}").reshape(stop - start, cols)

    def float_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of a float tensor: float32 [stop - start, cols], exact."""
        raw = self.raw_rows(name, start, stop)
        return to_float32(self.tensors[name].dtype, raw.view(np.uint8).reshape(-1), raw.shape)

    def close(self) -> None:
        """Gives the mapped files up."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find_tensors(self) -> None:
        """Opens the shards that the index names, or the single file, and notes where each tensor lies."""
        index = self.json(INDEX)
        if index is None:
            if not os.path.lexists(self.directory / SINGLE):
                raise self._no_weights()
            file = self._open(SINGLE)
            self.tensors = dict(file.tensors)
            self._file_of = dict.fromkeys(self.tensors, file)
            return
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise FormatError("`weight_map` is missing or empty", path=self.directory / INDEX)
        for name, file_name in weight_map.items():
            file = self._open(file_name)
            if name not in file.tensors:
                raise FormatError(
                    f"the tensor is not in {printable(file_name)}, where the index places it",
                    path=self.directory / INDEX,
                    tensor=name,
                )
            self.tensors[name] = file.tensors[name]
            self._file_of[name] = file

    def _open(self, file_name: object) -> SafetensorsFile:
        index = self.directory / INDEX
        if not isinstance(file_name, str):
            raise FormatError("`weight_map` holds a file name that is not a string", path=index)
        if file_name not in self._files:
            # Only plain names: an index from elsewhere must not make us read outside the directory.
            if (
                Path(file_name).name != file_name
                or "\\" in file_name
                or not file_name.endswith(".safetensors")
            ):
                raise FormatError(
                    f"`{printable(file_name)}` is not the name of a safetensors file in this directory",
                    path=index,
                )
            path = self.directory / file_name
            if not os.path.exists(path):
                raise FormatError("the shard is missing", path=path, hint="download the checkpoint again")
            self._files[file_name] = SafetensorsFile(path)
        return self._files[file_name]

    def _no_weights(self) -> BitnetError:
        pickles = [*self.directory.glob("*.bin"), *self.directory.glob("*.pt"), *self.directory.glob("*.pth")]
        if pickles:
            return UnsupportedError(
                f"{self.directory} holds its weights only as pickles ({printable(pickles[0].name)}), "
                "which can run any code when they are read",
                hint="save them as safetensors, for example with `save_pretrained` of transformers",
            )
        return FormatError(f"neither {SINGLE} nor {INDEX} is there", path=self.directory)


def model_name(directory: Path) -> str:
    """What to call a model: the repository's name inside a hub cache, else the directory's."""
    path = Path(os.path.realpath(directory))
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.split("--")[-1]
    return path.name or "model"


def row_blocks(rows: int, cols: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) that cut `rows` rows into blocks of about BLOCK_VALUES values.

    Every range but the last has a multiple of `multiple` rows, at least one.
    """
    step = max(1, BLOCK_VALUES // max(1, cols * multiple)) * multiple
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def matrix_shape(info: STInfo) -> tuple[int, int]:
    """(rows, cols) of a tensor; a vector is one row, further dimensions count as rows."""
    cols = info.shape[-1] if info.shape else 1
    return (math.prod(info.shape[:-1]), cols)


def listed(value: object) -> list[Any]:
    """A JSON list as it is; nothing for whatever stands in its place."""
    return value if isinstance(value, list) else []


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file that is not longer than `limit_bytes`."""
    try:
        # Non-blocking, or opening a named pipe would wait for a writer for ever.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FormatError("this is not a regular file", path=path)
            if status.st_size > limit_bytes:
                raise FormatError(
                    f"the file has {status.st_size} bytes, at most {limit_bytes} are accepted", path=path
                )
            return file.read(limit_bytes + 1)
    except OSError as error:
        raise BitnetError(
            f"{path} cannot be read: {error.strerror}", hint="check the file's owner and mode"
        ) from None
