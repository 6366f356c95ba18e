"""The independent programs that judge a DICOM object, each asked for the errors it sees."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.programs import require

_JAVA_LIMITS = (
    "xpathTotalOpLimit",
    "xpathExprOpLimit",
    "xpathExprGrpLimit",
)  # 0: none; else Java 17 gives up


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


def pixelmed(paths: Sequence[Path]) -> list[str]:
    """PixelMed's SR template validator, which IHE asks to be free of errors; one run for all files."""
    limits = [f"-Djdk.xml.{limit}=0" for limit in _JAVA_LIMITS]
    jars = require("pixelmed").parent / "*"
    errors = []
    for path in paths:
        command = [require("java"), *limits, "-cp", jars, "com.pixelmed.validate.DicomSRValidator", path]
        done = _run(command)
        text = done.stdout + done.stderr
        errors += [f"{path.name}: {line}" for line in text.splitlines() if line.startswith("Error")]
        if "IOD validation complete" not in text:
            errors.append(f"{path.name}: the validator did not finish: {text[-400:]}")
    return errors


def _run(command: Sequence[Path | str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False
    )
