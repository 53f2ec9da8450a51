"""Generates code whenever the package is built: the stubs `tradewind/v1` and the blocking client `tradewind/_sync`.

It is written into the source tree (git-ignored), so an editable install, a wheel and an IDE see the same files. All
metadata is in pyproject.toml.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any, ClassVar

import google.rpc
import grpc_tools
from grpc_tools import protoc
from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.command.sdist import sdist
from setuptools.errors import ExecError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # a build backend does not run in the folder of this file

from blocking import generate  # noqa: E402

PACKAGE = Path("tradewind", "v1")


def proto_root() -> Path:
    """The `proto` folder: beside this file in a source distribution, at the top of the repository otherwise."""
    for root in (HERE / "proto", HERE.parent.parent / "proto"):
        if (root / PACKAGE).is_dir():
            return root
    raise ExecError(f"no protos: neither {HERE / 'proto'} nor the repository's proto/ holds {PACKAGE}")


def plugin(name: str) -> str:
    """A protoc plugin of the environment that runs this build (which need not be on PATH)."""
    found = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if found is None:
        raise ExecError(f"{name} is missing: install mypy-protobuf (the `build` dependency group)")
    return f"--plugin={name}={found}"


class GenerateCode(Command):
    """Stubs and blocking client. A command of its own: setuptools swallows failures of build_py."""

    user_options: ClassVar[list[tuple[str, str | None, str]]] = []
    editable_mode = False

    def initialize_options(self) -> None:
        pass

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        root = proto_root()
        sources = [str(path.relative_to(root)) for path in sorted((root / PACKAGE).glob("*.proto"))]
        # google/protobuf comes with grpc_tools, google/rpc with googleapis-common-protos.
        wellknown = [Path(grpc_tools.__file__).parent / "_proto"]
        wellknown += [Path(path).parent.parent for path in google.rpc.__path__]
        includes = [f"-I{folder}" for folder in (root, *wellknown)]
        outputs = [f"--{kind}_out={HERE}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
        if protoc.main(["protoc", plugin("protoc-gen-mypy_grpc"), *includes, *outputs, *sources]) != 0:
            raise ExecError("protoc failed: its message is above")
        generate(HERE / "tradewind")

    def get_source_files(self) -> list[str]:
        return []

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class BuildGenerated(build):
    sub_commands: ClassVar[list[tuple[str, Any]]] = [("generate_code", None), *build.sub_commands]


class SdistWithProtos(sdist):
    """A source distribution carries the protos, so that it builds far from the repository."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        shutil.copy(HERE / "blocking.py", base_dir)
        shutil.copytree(proto_root() / PACKAGE, Path(base_dir, "proto") / PACKAGE, dirs_exist_ok=True)


setup(cmdclass={"build": BuildGenerated, "generate_code": GenerateCode, "sdist": SdistWithProtos})
