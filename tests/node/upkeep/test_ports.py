"""Can a node listen where its settings say?"""

from __future__ import annotations

import resource
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


def test_another_host_is_no_advice_to_a_process_that_may_open_no_more_files() -> None:
    check_port("web", "127.0.0.1", 0)  # what a first look imports is read from files
    most, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit))
    try:
        probe = check_port("web", "127.0.0.1", 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limit))
    assert probe.detail == "cannot listen on 127.0.0.1:0: Too many open files"
    assert probe.hint == ""
