"""``python -m tests.validators.pixelmed FILE…``: PixelMed's SR validator, one Java machine for all the files.

Starting it and reading its templates takes as long as judging several documents.
"""

from __future__ import annotations

import json
import sys

import jpype

_LIMITS = ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")  # 0: none; else Java 17 gives up
_FINISHED = "IOD validation complete"


def main() -> None:
    """Prints, as JSON, the errors by file."""
    limits = [f"-Djdk.xml.{limit}=0" for limit in _LIMITS]
    jpype.startJVM(*limits, "-Djava.awt.headless=true", classpath=["/usr/share/java/*"])
    validator = jpype.JClass("com.pixelmed.validate.DicomSRValidator")()
    errors: dict[str, list[str]] = {}
    for path in sys.argv[1:]:
        said = str(validator.validate(path))
        errors[path] = [line for line in said.splitlines() if line.startswith("Error")]
        if _FINISHED not in said:
            errors[path].append(f"did not finish: {said[-400:]}")
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
