"""How every command ends: with its result, or with one sentence that says what to do."""

from __future__ import annotations

import select
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from inference.extras import install_command
from storage.errors import said

OURS = {"node", "inference", "storage", "training"}
EXTRAS = {
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "tritonclient": "triton",
}


class CommandGroup(TyperGroup):
    """Turns errors into sentences, unless ``--debug`` (anywhere on the line) asks for the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug") or type(error).__module__.split(".")[0] in {"typer", "click"}:
                raise
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                raise  # Typer ends the command without a word
            print(f"overread: {sentence(error)}", file=sys.stderr)
            raise typer.Exit(1) from error


def sentence(error: Exception) -> str:
    """What to tell a person. Our own errors say it themselves."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; name another place, or mend this one."
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get(str(error.name).split(".")[0])):
        return f"{error.name} is not installed; {install_command(extra)} brings it."
    if _is_of_the_database(error):
        return f"the database failed: {said(error)}; `overread check` says how to mend it."
    if type(error).__module__.split(".")[0] in OURS:
        return str(error)
    return f"unexpected {type(error).__name__}: {error}. --debug shows where it happened."


def _nobody_reads() -> bool:
    """Whether the program that standard output went to has ended, as `head` does when it has enough."""
    try:
        looked_at = select.poll()
        looked_at.register(sys.stdout, 0)  # errors alone, of which this is one
    except (OSError, ValueError):
        return False
    return bool(looked_at.poll(0))


def _is_of_the_database(error: Exception) -> bool:
    """Not every error of SQLAlchemy's is: some are mistakes of ours."""
    from sqlalchemy.exc import DBAPIError  # only here: a command's help is not to wait for it
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    return isinstance(error, DBAPIError | PoolTimeoutError)
