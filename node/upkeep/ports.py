"""Can a node listen where its settings say?"""

from __future__ import annotations

import errno
import os
import socket

from node.upkeep.probe import Probe


def check_port(name: str, host: str, port: int) -> Probe:
    """Whether ``host``:``port`` can be listened on; ``name`` is the settings' section, dicom or web."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            if os.name == "posix":  # as a server does, or a port closed a moment ago would seem taken
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        detail = f"cannot listen on {host}:{port}: {error.strerror}"
        hint = ""
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            hint = f"set {name}.host to a name or an address of this machine"
        elif error.errno == errno.EADDRINUSE:
            hint = f"end what listens there, or set {name}.host or {name}.port"
        elif error.errno == errno.EACCES:
            hint = f"set a {name}.port of 1024 or above, or grant the node's user CAP_NET_BIND_SERVICE"
        return Probe(f"{name} port", False, detail, hint)
    return Probe(f"{name} port", True, f"{host}:{port} is free" if port else f"{host}, any free port")
