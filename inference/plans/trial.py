"""A Triton server on trial: staged models answer from the very server, backend and GPU they are meant for."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile

from inference.catalogue import Catalogue
from inference.engine.options import TritonOptions
from inference.engine.triton import TritonEngine
from inference.parity import ParityRow, check
from inference.plans.errors import PlanError
from inference.plans.stage import Precision, allowed

START_SECONDS = 300.0


def prove_on_triton(
    staged: Catalogue,
    precision: Precision,
    command: Sequence[str] = ("tritonserver",),
    configuration: str = "tensorrt",
    environment: Mapping[str, str] | None = None,
) -> list[ParityRow]:
    """The staged models as ``command`` serves them, against the answers recorded in fp32.

    Raises:
        PlanError: the server does not start or cannot load them; the message ends with the errors of its log.
    """
    with _serving(staged, command, configuration, environment) as url:
        engine = TritonEngine([url], staged, TritonOptions(wait_seconds=START_SECONDS))
        try:
            return [row for model in staged for row in check(model, engine, allowed(model, precision))]
        finally:
            engine.close()


@contextmanager
def _serving(
    staged: Catalogue, command: Sequence[str], configuration: str, environment: Mapping[str, str] | None
) -> Iterator[str]:
    ports = {name: _free_port() for name in ("grpc", "http", "metrics")}
    arguments = [
        *command,
        f"--model-repository={staged.root}",
        f"--model-config-name={configuration}",
        "--model-control-mode=explicit",
        "--load-model=*",
        *(f"--{name}-port={port}" for name, port in ports.items()),
        *(f"--{name}-address=127.0.0.1" for name in ports),
    ]
    with TemporaryFile() as log:
        try:
            server = subprocess.Popen(
                arguments, stdout=log, stderr=subprocess.STDOUT, env=os.environ | dict(environment or {})
            )
        except OSError as error:
            raise PlanError(f"{command[0]}: {error.strerror}; build inside Triton's container") from error
        try:
            _await(server, ports["grpc"])
            yield f"127.0.0.1:{ports['grpc']}"
        except PlanError as error:
            log.seek(0)
            said = log.read().decode(errors="replace").splitlines()
            errors = [line for line in said if line.startswith(("E", "error"))]
            raise PlanError("\n".join([str(error), *errors])) from error
        finally:
            server.terminate()
            server.wait(60)


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    """Until the server listens, which it does when its models are loaded."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if server.poll() is not None:
            raise PlanError("Triton could not load the staged models:")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise PlanError(f"Triton was not ready after {START_SECONDS:g} s:")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
