"""LightGBM trains where the system has no OpenMP library."""

import subprocess
import sys

import pytest

# `import lightgbm` fails as on a machine without libgomp.so.1, until the copy is loaded under that name.
WITHOUT_SYSTEM_LIBRARY = """
import builtins, ctypes, sys
sys.modules.pop("lightgbm", None)
real, hidden = builtins.__import__, [True]
def without(name, *rest):
    if name == "lightgbm" and hidden.pop() if hidden else False:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
    return real(name, *rest)
builtins.__import__ = without
from caudal.models import openmp
loaded = []
load, openmp.load_bundled = openmp.load_bundled, lambda: loaded.append(load())
lightgbm = openmp.import_lightgbm()
import numpy as np
data = lightgbm.Dataset(np.arange(600.0).reshape(100, 6), np.arange(100.0))
model = lightgbm.train({"verbose": -1, "num_threads": 2, "min_data_in_leaf": 5}, data, 3)
assert loaded[0].omp_get_max_threads() >= 1
mapped = [line for line in open("/proc/self/maps") if "libgomp" in line]
print(len(loaded), model.num_trees(), any("libgomp.so.1" in line for line in mapped))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux wheels of LightGBM expect libgomp")
def test_lightgbm_trains_with_the_openmp_library_of_another_wheel():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SYSTEM_LIBRARY], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "3", "True"]
