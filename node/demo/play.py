"""`overread demo`: the whole product with phantom patients, on this machine alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from node.app import Node
from node.commands.terminal import console
from node.demo.board import arrival_table, truth_table, way_shown, way_table
from node.demo.course import Course, DemoError, Sight, follow, send
from node.demo.pacs import StandInPacs
from node.demo.patients import RECIPES, MadeStudy, Recipe, make
from node.log import set_up_logging
from node.peers.sending import DicomDestination
from node.settings import LogSettings, Peer, Settings
from node.upkeep.ports import check_port
from storage.database import Database

KEPT = Path("overread-demo")
HOST = "127.0.0.1"
QUIET_SECONDS = 2.0


def play(exit_after: bool, keep: bool, recipes: Sequence[Recipe] = RECIPES) -> None:
    """Start a stand-in PACS and a node between which phantom patients travel, and show what happens.

    exit_after: end when every study has, instead of staying up until Ctrl-C.
    keep: leave all data in ``./overread-demo`` instead of a folder that is deleted at the end.

    Raises:
        DemoError: a study did not end as it has to.
    """
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal = console()
    with ExitStack() as stack:
        folder = KEPT.resolve() if keep else Path(stack.enter_context(_scratch()))
        folder.mkdir(exist_ok=True)
        set_up_logging(LogSettings(), folder / "overread.log")
        rendering = _render(recipes, folder / "phantoms")
        pacs = stack.enter_context(StandInPacs(folder / "pacs", port=_free_or_any(4242)))
        node = Node(_settings(folder, pacs.port)).start()
        stack.callback(node.stop)
        pacs.destinations[node.settings.node.ae_title] = (HOST, node.dicom_port)
        terminal.print(f"node        {node.settings.node.ae_title} at {HOST}:{node.dicom_port}")
        terminal.print(f"PACS        {pacs.ae_title} at {HOST}:{pacs.port}")
        terminal.print(f"status page {node.status_url}")
        sights = _travel(rendering, node, pacs, terminal)
        _report(sights, terminal)
        terminal.print(f"{time.monotonic() - started:.0f} s.")
        missing = [sight.missing for sight in sights if sight.missing]
        if not exit_after:
            stays = "" if keep else ", and deletes its data"
            terminal.print("\n".join([*missing, f"The status page: {node.status_url}"]))
            terminal.print(f"The PACS keeps its files in {pacs.folder}")
            terminal.print(f"Ctrl-C ends the demo{stays}.")
            _wait_for_ctrl_c()
    if keep:
        terminal.print(f"All data lies in {folder}, what the PACS holds in {pacs.folder}")
    if missing:
        raise DemoError("; ".join(missing) + ".")


def _settings(folder: Path, pacs_port: int) -> Settings:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": HOST, "port": pacs_port}
    return Settings.model_validate(
        {
            "node": {"data_dir": folder / "node"},
            "dicom": {"port": _free_or_any(11112), "quiet_seconds": QUIET_SECONDS},
            "web": {"port": _free_or_any(8080)},
            "destinations": [{**pacs, "objects": ["seg", "sr"]}],
            "archives": [pacs],
        }
    )


def _free_or_any(port: int) -> int:
    return port if check_port("demo", HOST, port).ok else 0


def _render(recipes: Sequence[Recipe], folder: Path) -> dict[Recipe, Future[MadeStudy]]:
    """Start to render all patients, each in a process of its own, so that the node starts meanwhile."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for those processes: together they fill the machine
    pool = ProcessPoolExecutor(
        max_workers=min(len(recipes), os.cpu_count() or 1), mp_context=multiprocessing.get_context("spawn")
    )
    rendering = {recipe: pool.submit(make, recipe, folder / recipe.patient.patient_id) for recipe in recipes}
    pool.shutdown(wait=False)
    return rendering


def _travel(
    rendering: dict[Recipe, Future[MadeStudy]], node: Node, pacs: StandInPacs, terminal: Console
) -> list[Sight]:
    ourselves = Peer(name="node", ae_title=node.settings.node.ae_title, host=HOST, port=node.dicom_port)
    scanner = DicomDestination(ourselves, "DEMO")
    keeper = DicomDestination(Peer(name="PACS", ae_title=pacs.ae_title, host=HOST, port=pacs.port), "DEMO")
    database = Database(node.settings.database.url)
    with ThreadPoolExecutor(max_workers=len(rendering)) as senders, way_shown(terminal) as show:
        courses = [
            Course(r, made, senders.submit(send, made, scanner, keeper)) for r, made in rendering.items()
        ]
        try:
            return follow(courses, database, pacs, show)
        finally:
            database.close()


def _report(sights: Sequence[Sight], terminal: Console) -> None:
    if not terminal.is_terminal:
        terminal.print(way_table(sights))
    terminal.print()
    terminal.print(truth_table(sights, terminal.width))
    arrived = [header for sight in sights for header in sight.arrived]
    terminal.print(arrival_table(arrived, terminal.width))


def _wait_for_ctrl_c() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="overread-demo-", ignore_cleanup_errors=True)
