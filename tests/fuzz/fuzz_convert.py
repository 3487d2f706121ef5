"""Fuzzes `verify`, `inspect --diff` and the conversion of GGUF files: `python tests/fuzz/fuzz_convert.py --seconds 10`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import mutation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))

from ternary_models import ternary_model

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.pipeline import convert
from bitnet_cli.convert.target import OUTTYPES
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.verify.diff import diff_files
from bitnet_cli.verify.file_check import check_file

FOLDER = tempfile.TemporaryDirectory()
SOUND = Path(FOLDER.name) / "sound.gguf"


def seeds() -> list[bytes]:
    """A small model in every type that can be written, and in types with several scales."""
    path = ternary_model().write(SOUND)
    files = [path.read_bytes(), ternary_model("iq2_bn", "row").write(Path(FOLDER.name) / "row").read_bytes()]
    for outtype in OUTTYPES:
        target = Path(FOLDER.name) / "seed.gguf"
        convert(path, target, outtype=outtype, embed_type="q4_0", overwrite=True)
        files.append(target.read_bytes())
    return files


def read(path: Path) -> None:
    """Checks a file, compares it with a sound one, and converts it to a type that its bytes choose."""
    outtype = list(OUTTYPES)[sum(path.read_bytes()) % len(OUTTYPES)]
    try:
        with GGUFSource(path) as source, GGUFSource(SOUND) as sound:
            report = check_file(source, sound, lambda n, name: None)
            json.dumps(report.to_json(), allow_nan=False)
            json.dumps(diff_files(source, sound, lambda n, name: None).to_json(), allow_nan=False)
        convert(path, Path(FOLDER.name) / "out.gguf", outtype=outtype, overwrite=True, verify=True)
    except (FormatError, UnsupportedError):
        raise
    except BitnetError as error:
        raise UnsupportedError(error.message) from error
    finally:
        left = sorted(each.name for each in Path(FOLDER.name).iterdir() if each.name.startswith("."))
        assert not left, left


if __name__ == "__main__":
    mutation.main(read, seeds(), least=10)
