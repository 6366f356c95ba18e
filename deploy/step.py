"""Runs one step of an installation: ``step.py TITLE -- COMMAND…``.

The command's output is shown as one line that renews itself on a terminal and is kept whole for the case
that the step fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence


def run(title: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run ``command``, return its exit status; its whole output is printed if that is not 0."""
    live = sys.stdout.isatty()
    started = time.monotonic()
    output: list[str] = []
    if live:
        _renew(title)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        sys.exit(f"  {title}: {command[0]} cannot be run: {error.strerror}; `make clean` and make again.")
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if live and line.strip():
                _renew(f"{title} ({time.monotonic() - started:.0f} s): {line.strip()}")
    if live:
        _renew("")
    if process.returncode:
        sys.stdout.flush()
        sys.stderr.write("".join(output))
        sys.stderr.write(f"  {title}: failed, exit status {process.returncode}: {' '.join(command)}\n")
    else:
        print(f"  {title} ({time.monotonic() - started:.0f} s)", flush=True)
    return process.returncode


def _renew(text: str) -> None:
    width = shutil.get_terminal_size().columns - 1
    sys.stdout.write(f"\r\x1b[K{'  ' + text if text else ''}"[: width + 4])
    sys.stdout.flush()


if __name__ == "__main__":
    title, _, *command = sys.argv[1:]
    try:
        sys.exit(run(title, command))
    except KeyboardInterrupt:
        sys.exit(f"\n  {title}: stopped")
