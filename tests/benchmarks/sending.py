"""How fast results leave, set against DCMTK: `python -m tests.benchmarks.sending --help`.

Every round sends the same CT-sized objects to storescp, by storescu with TCP_NODELAY=1 and by this node, in
an order that alternates. Seconds depend on the machine; ratios within a round hardly do.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from node.peers.sending import DeliveryError, DicomDestination
from node.settings import Peer
from tests.benchmarks.receivers import NODELAY, storescp
from tests.node.intake.senders import ct_series
from tests.programs import require


def by_storescu(port: int, folder: Path) -> float:
    command = [require("storescu"), "--max-pdu", "131072", "+sd", "127.0.0.1", str(port), str(folder)]
    started = time.perf_counter()
    subprocess.run(command, env=NODELAY, check=True)
    return time.perf_counter() - started


def by_overread(port: int, folder: Path) -> float:
    destination = _destination(port)
    started = time.perf_counter()
    receipts = list(destination.send(sorted(folder.iterdir())))
    seconds = time.perf_counter() - started
    assert all(receipt.outcome == "sent" for receipt in receipts), receipts[0]
    return seconds


def _destination(port: int) -> DicomDestination:
    return DicomDestination(Peer(name="storescp", ae_title="ANY", host="127.0.0.1", port=port), "OVERREAD")


def _await(port: int) -> None:
    for _ in range(100):
        try:
            return _destination(port).echo()
        except DeliveryError:
            time.sleep(0.1)
    raise SystemExit("storescp does not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        outbox, store = Path(folder, "outbox"), Path(folder, "store")
        outbox.mkdir()
        for number, image in enumerate(ct_series(arguments.objects, size=512)):
            image.save_as(outbox / f"{number:05}.dcm", enforce_file_format=True)
        ratios = []
        for number in range(arguments.rounds):
            seconds: dict[str, float] = {}
            for sender in (by_storescu, by_overread) if number % 2 else (by_overread, by_storescu):
                store.mkdir()
                with storescp(store, fork=False) as receiver:
                    _await(receiver.port)
                    seconds[sender.__name__] = sender(receiver.port, outbox)
                shutil.rmtree(store)
            ratios.append(seconds["by_overread"] / seconds["by_storescu"])
            print(
                f"storescu {seconds['by_storescu']:.2f} s, overread {seconds['by_overread']:.2f} s",
                flush=True,
            )
        print(f"{arguments.objects} objects: {statistics.median(ratios):.2f} x storescu (median of rounds)")


if __name__ == "__main__":
    main()
