"""LightGBM where the system has no OpenMP library.

LightGBM's wheel expects `libgomp.so.1` from the system (Debian's package is `libgomp1`), and a machine with git, make and
Python need not have it. scikit-learn's wheel brings the same library under a name of its own. A copy that
bears the expected name in its header (`DT_SONAME`), once loaded, is what the dynamic linker then finds.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

SONAME = "libgomp.so.1"


class OpenMPMissing(ImportError):
    """There is no OpenMP library that LightGBM could use."""


def import_lightgbm() -> ModuleType:
    """LightGBM, with the system's OpenMP library or, where there is none, with scikit-learn's.

    Raises:
        OpenMPMissing: there is neither; with what to install.
    """
    try:
        import lightgbm
    except OSError as missing:
        if SONAME not in str(missing):
            raise
        load_bundled()
        import lightgbm
    return lightgbm


def load_bundled() -> ctypes.CDLL:
    """Load scikit-learn's OpenMP library under the name `SONAME`, for the whole process.

    Raises:
        OpenMPMissing: scikit-learn brings none for this platform.
    """
    files = importlib.metadata.files("scikit-learn") or []
    bundled = next((Path(str(f.locate())) for f in files if f.name.startswith("libgomp")), None)
    if bundled is None:
        raise OpenMPMissing(
            f"LightGBM needs the system library {SONAME}, which is not installed. "
            "Install it (Debian and Ubuntu: apt install libgomp1)."
        )
    name = bundled.name.encode() + b"\0"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / SONAME
        copy.write_bytes(bundled.read_bytes().replace(name, SONAME.encode().ljust(len(name), b"\0")))
        return ctypes.CDLL(str(copy), ctypes.RTLD_GLOBAL)
