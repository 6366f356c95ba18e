"""Can a node listen where its settings say?"""

from __future__ import annotations

import socket

from node.upkeep.ports import check_port


def test_a_port_somebody_listens_on_is_taken_and_the_next_look_finds_it_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = check_port("dicom", "127.0.0.1", port)
    assert not taken.ok
    assert taken.hint == "end what listens there, or set dicom.host or dicom.port"
    assert check_port("dicom", "127.0.0.1", port).ok


def test_a_host_that_is_not_ours_cannot_be_listened_on() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        probe = check_port("web", host, 8080)
        assert not probe.ok
        assert host in probe.detail
        assert probe.hint == "set web.host to a name or an address of this machine"
