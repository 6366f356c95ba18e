"""The tests: real parts, and claims about what a user would see.

Numeric libraries get one thread each, as the test processes already share the machine; they read this
when they are first imported.
"""

import os

for _variable in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
):
    os.environ.setdefault(_variable, "1")
