"""Builds the Cython extensions of the fast path. All metadata is in pyproject.toml.

`FASTPATH_DEBUG=1` builds with bounds checks, wraparound, line tracing and annotated HTML instead of full optimization.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTPATH_DEBUG") == "1"
RELEASE_FLAGS = ["-O3", "-fno-plt", "-fno-semantic-interposition"]
DEBUG_FLAGS = ["-O1", "-g", "-UNDEBUG"]

# The straight lines of plain.pxd become part of the engine's loop over a batch, where a call would cost a tenth of a command.
MORE_FLAGS = {
    "fastpath.standalone.engine": [
        "--param=max-inline-insns-single=800",
        "--param=large-function-growth=500",
        "--param=inline-unit-growth=300",
    ]
}

MODULES = {".".join(source.with_suffix("").parts): source for source in sorted(Path("fastpath").rglob("*.pyx"))}

extensions = [
    Extension(
        name,
        [str(source)],
        extra_compile_args=DEBUG_FLAGS if DEBUG else RELEASE_FLAGS + MORE_FLAGS.get(name, []),
        define_macros=[("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [],
    )
    for name, source in MODULES.items()
]

setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=cythonize(
        extensions,
        nthreads=os.cpu_count() or 1,
        annotate=DEBUG,
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": DEBUG,
            "initializedcheck": DEBUG,
            "cdivision": not DEBUG,
            "linetrace": DEBUG,
            "embedsignature": True,
        },
    )
)
