"""`overread models`: what the model repository holds, and whether it still answers as recorded."""

from __future__ import annotations

from rich.table import Table

from inference.catalogue import Catalogue, CatalogueError
from inference.engine import open_engine
from inference.parity import verify
from node.commands.terminal import console, progress
from node.settings import Settings


class ModelsError(RuntimeError):
    """A model is not as it should be; the table says which."""


def list_models(settings: Settings) -> None:
    """Print every model, its readers and weights.

    Raises:
        ModelsError: a card or its weights are not sound.
    """
    catalogue = Catalogue(settings.engine.models)
    table = Table("model", "version", "readers", "task", "weights (sha256)", "state")
    broken = 0
    for name in catalogue.names:
        try:
            model = catalogue.find(name)
            model.weights_bytes()
        except CatalogueError as error:
            table.add_row(name, "", "", "", "", str(error), style="red")
            broken += 1
            continue
        card = model.card
        readers = ", ".join(card.readers)
        table.add_row(name, str(card.version), readers, card.task, card.sha256[:12], "ok")
    out = console()
    out.print(table if catalogue.names else "no models")
    out.print(f"in {catalogue.root}")
    if broken:
        raise ModelsError(f"{broken} of {len(catalogue.names)} models cannot be used.")


def verify_models(settings: Settings) -> None:
    """Run every model on its parity sample and print how far it is from what was recorded.

    Raises:
        ModelsError: one differs by more than its card allows, or cannot be run.
    """
    catalogue = Catalogue(settings.engine.models)
    engine = open_engine(settings.engine, catalogue)
    table = Table("model", "output", "largest difference", "of what is allowed", "seconds", "")
    failed = set()
    try:
        with progress("models") as bar:
            task = bar.add_task("verifying", total=len(catalogue.names))
            done: set[str] = set()
            for row in verify(catalogue, engine):
                done.add(row.model)
                bar.update(task, completed=len(done), description=row.model)
                table.add_row(
                    row.model,
                    row.tensor,
                    "" if row.problem else f"{row.max_error:.2g}",
                    "" if row.problem else f"{row.excess:.0%}",
                    f"{row.seconds:.2f}",
                    "ok" if row.passed else row.problem or "differs",
                    style=None if row.passed else "red",
                )
                if not row.passed:
                    failed.add(row.model)
    finally:
        engine.close()
    console().print(table)
    if failed or not done:
        raise ModelsError(
            f"not as recorded: {', '.join(sorted(failed))}." if failed else "there are no models."
        )
