"""How a node is put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from node import app
from node.peers.outbox import Outbox
from node.settings import Settings
from storage.database import Database
from tests.tiny_models import make_repository


@pytest.mark.parametrize("durable", [True, False])
def test_the_database_of_a_node_is_as_durable_as_its_images(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Seen(Database):
        def __init__(self, url: str, durable: bool = False) -> None:
            asked.append(durable)
            raise RuntimeError("seen")

    monkeypatch.setattr(app, "Database", Seen)
    settings = Settings.model_validate({"node": {"data_dir": tmp_path}, "dicom": {"durable": durable}})
    with pytest.raises(RuntimeError, match="seen"):
        app.Node(settings).start()
    assert asked == [durable]


def test_a_destination_is_waited_for_as_long_as_its_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = {}

    class Seen(Outbox):
        def __init__(self, _database: Database, _root: Path, destinations: Mapping[str, Any]) -> None:
            waited.update({name: destination.timeout for name, (_, destination) in destinations.items()})
            raise RuntimeError("seen")

    monkeypatch.setattr(app, "Outbox", Seen)
    peer = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    destinations = [{**peer, "name": "slow", "timeout_seconds": 300}, {**peer, "name": "pacs"}]
    settings = {"node": {"data_dir": tmp_path / "data"}, "destinations": destinations}
    settings["engine"] = {"models": make_repository(tmp_path / "models")}
    with pytest.raises(RuntimeError, match="seen"):
        app.Node(Settings.model_validate(settings)).start()
    assert waited == {"slow": 300, "pacs": 60}


def test_the_status_page_tells_the_port_that_the_receiver_took(database_url: str, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "node": {"data_dir": tmp_path / "data"},
            "database": {"url": database_url},
            "dicom": {"port": 0},
            "web": {"port": 0},
            "engine": {"models": make_repository(tmp_path / "models")},
        }
    )
    node = app.Node(settings).start()
    try:
        with urlopen(node.status_url) as answer:
            page = answer.read().decode()
    finally:
        node.stop()
    assert f"OVERREAD@127.0.0.1:{node.dicom_port}" in page
