"""
Compiles the core with mypyc; everything else about the package is in pyproject.toml.

    src/zerosum/core/*.py --mypyc--> build/*.c --gcc--> core/_compiled__mypyc.*.so    all the code
                                                        core/MODULE.*.so              one door per module
ZEROSUM_PURE=1 leaves the core as plain Python: the same results, some fifty times slower.
"""

import os
import sys
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "src"))
from zerosum.build import BUILT_FROM, CORE_DIR, CORE_PACKAGE, core_sources, source_sha256  # noqa: E402

PURE = os.environ.get("ZEROSUM_PURE") == "1"
BUILDS = not PURE and not {"bdist_wheel", "build", "build_ext", "editable_wheel"}.isdisjoint(sys.argv)
C_FLAGS = [
    # Calls between the core's own functions may be inlined: an eighth more commands per second.
    "-fno-semantic-interposition",
    "-fvisibility=hidden",
]


class CoreDistribution(Distribution):
    """Has extensions also while only its metadata is asked for, when making them would be a waste."""

    def has_ext_modules(self) -> bool:
        return not PURE


class BuildCore(build_ext):
    """Says what to do when there is no compiler, and leaves no compiled module behind that has lost its source."""

    def run(self) -> None:
        try:
            super().run()
        except CCompilerError as error:
            raise CompileError(
                f"the core could not be compiled: {error}\n"
                "  It needs a C compiler and Python's headers (on Debian: gcc and python3-dev).\n"
                "  To install the core as plain Python instead, some fifty times slower, set ZEROSUM_PURE=1."
            ) from error

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        built = {Path(self.get_ext_filename(extension.name)).name for extension in self.extensions}
        for path in CORE_DIR.glob("*" + self.get_ext_filename("")):
            if path.name not in built:
                path.unlink()


def core_extensions() -> list[Extension]:
    """The core translated to C, with the hash of its sources as one more module."""
    from mypyc.build import mypycify

    built_from = CORE_DIR / f"{BUILT_FROM}.py"
    built_from.write_text(f'"""The sources that this build was compiled from."""\n\nSOURCE_SHA256 = "{source_sha256()}"\n')
    try:
        sources = [str(path.relative_to(ROOT)) for path in [*core_sources(), built_from]]
        # Without our config file: it is for the whole tree and its tools, of which a build from the source distribution has little.
        options = ["--config-file=", f"--cache-dir={os.devnull}", "--strict"]
        extensions = mypycify([*options, *sources], opt_level="3", group_name=f"{CORE_PACKAGE}._compiled")
    finally:
        built_from.unlink()
    for extension in extensions:
        extension.extra_compile_args = [*extension.extra_compile_args, *C_FLAGS]  # mypycify gives them all one list
    return extensions


setup(
    distclass=CoreDistribution,
    cmdclass={"build_ext": BuildCore},
    ext_modules=core_extensions() if BUILDS else [],
)
