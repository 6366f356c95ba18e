"""Installs the system packages the tests use, where that is allowed; lists what is missing otherwise."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from step import run

IN_CI = os.environ.get("CI") == "true"
LIST = Path(__file__).with_name("system-packages.txt")


@dataclass(frozen=True)
class SystemPackage:
    """A Debian package; ``proof`` is a program on the PATH, or the pattern of an absolute path."""

    name: str
    proof: str
    purpose: str

    @property
    def is_installed(self) -> bool:
        if self.proof.startswith("/"):
            return any(Path("/").glob(self.proof[1:]))
        return shutil.which(self.proof) is not None


def listed() -> list[SystemPackage]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [SystemPackage(*line.split(maxsplit=2)) for line in lines if line and not line.startswith("#")]


def missing() -> list[SystemPackage]:
    return [package for package in listed() if not package.is_installed]


def install(packages: list[SystemPackage]) -> None:
    unattended = {"DEBIAN_FRONTEND": "noninteractive"}
    names = [package.name for package in packages]
    # A CI machine is thrown away: dpkg need not wait for the disk after each file.
    hasty = ["-o", "Dpkg::Options::=--force-unsafe-io"] if IN_CI else []
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *hasty, *names]
    if run("package lists", ["apt-get", "update"], unattended) == 0:
        run(f"system packages: {' '.join(names)}", command, unattended)


def main() -> int:
    may_install = os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get") is not None
    if may_install and missing():
        install(missing())
    absent = missing()
    if not absent:
        return 0
    print("Not installed, and the tests that need them are skipped:", file=sys.stderr)
    for package in absent:
        print(f"  {package.name:22}{package.purpose}", file=sys.stderr)
    if not may_install:
        print(
            f"On Debian and Ubuntu: sudo apt-get install {' '.join(p.name for p in absent)}", file=sys.stderr
        )
    return int(IN_CI)


if __name__ == "__main__":
    sys.exit(main())
