"""The independent programs that judge a DICOM object, each asked for the errors it sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.programs import require


def dciodvfy(path: Path) -> list[str]:
    """David Clunie's IOD verifier: its lines that say Error."""
    done = _run([require("dciodvfy"), "-new", path])
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def dsrdump(path: Path) -> list[str]:
    """DCMTK's SR parser: what it says when it cannot read a document."""
    done = _run([require("dsrdump"), path])
    return [done.stderr] if done.returncode else []


def segimage2itkimage(path: Path, folder: Path) -> list[str]:
    """dcmqi's decoder: one NRRD per segment in ``folder``, 1.nrrd and so on."""
    options = ["--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    done = _run([require("segimage2itkimage"), *options])
    return [done.stderr] if done.returncode else []


def dcmpschk(path: Path) -> list[str]:
    """DCMTK's presentation state checker."""
    done = _run([require("dcmpschk"), path])
    text = done.stdout + done.stderr
    return [text] if done.returncode or "Test passed" not in text else []


def tid1500reader(path: Path, folder: Path) -> dict[str, Any]:
    """What dcmqi reads from a TID 1500 document."""
    out = folder / "tid1500.json"
    done = _run([require("tid1500reader"), "--inputDICOM", path, "--outputMetadata", out])
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(out.read_text())
    return body


def dcm2json(path: Path) -> list[str]:
    """DCMTK's parser of any object: what it says when it cannot read one, or not as JSON."""
    done = _run([require("dcm2json"), path])
    return [done.stderr] if done.returncode or not done.stdout.strip().endswith("}") else []


def pixelmed(paths: Sequence[Path]) -> dict[Path, list[str]]:
    """PixelMed's SR template validator, which IHE asks to be free of errors; one run for all files."""
    require("java"), require("pixelmed")
    done = _run([sys.executable, "-m", "tests.validators.pixelmed", *paths])
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    return {path: errors[str(path)] for path in paths}


def _run(command: Sequence[Path | str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False
    )
