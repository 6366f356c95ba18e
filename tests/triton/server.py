"""A real Triton server (and TensorRT-RTX), without Docker and without a GPU, for tests and for a look.

``python -m tests.triton.server --install`` makes what it needs under ``--home`` with pip alone: a virtual
environment with Triton's own binary from the wheel of nvidia-pytriton. Without ``--install`` it serves a
model repository until it is interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from inference.catalogue import SHIPPED_MODELS

WHEEL = "nvidia-pytriton==0.7.0"
ONNX_RUNTIME = importlib.metadata.version("onnxruntime")
HOME = Path(os.environ.get("TRITON_TEST_SERVER_HOME", Path.home() / ".cache" / "overread" / "triton-2.51.0"))
TENSORRT_RTX = HOME.with_name("tensorrt-rtx-1.7.1.116")
"""A folder for ``sys.path``: TensorRT-RTX, which builds without a GPU."""

BACKENDS = Path(__file__).resolve().parents[2] / "deploy" / "triton" / "backends"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def install(home: Path = HOME) -> None:
    """Make the environment; one that is complete is kept.

    Raises:
        subprocess.CalledProcessError: pip has no such wheel for this machine: it must be x86-64 Linux with
            glibc 2.35.
    """
    if not installed(home):
        _install_triton(home)
    if not TENSORRT_RTX.is_dir():
        _install_tensorrt_rtx()


def _install_triton(home: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    pip = [_python(home), "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*pip, "numpy<2", f"onnxruntime=={ONNX_RUNTIME}"], check=True)
    subprocess.run([*pip, "--no-deps", WHEEL], check=True)


def _install_tensorrt_rtx() -> None:
    part = TENSORRT_RTX.with_name(f"{TENSORRT_RTX.name}.part")
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    version = TENSORRT_RTX.name.rpartition("-")[2]
    names = ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
    subprocess.run([*pip, "--target", part, *(f"{name}=={version}" for name in names)], check=True)
    part.rename(TENSORRT_RTX)


def installed(home: Path = HOME) -> bool:
    """Whether the server is there, with the ONNX Runtime of this environment: the same bits need the same."""
    server = _packages(home) / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    return server.exists() and any(_packages(home).glob(f"onnxruntime-{ONNX_RUNTIME}.dist-info"))


def missing_reason(home: Path = HOME) -> str | None:
    """None when a server can be started, else what is missing."""
    if not installed(home):
        return f"no Triton server in {home}: make triton-test-server"
    if _libpython() is None:
        return f"no libpython{PYTHON}.so.1.0: install the system package libpython{PYTHON}"
    return None


@dataclass(eq=False)
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    grpc_port: int
    http_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def stubs(self, model: str) -> list[int]:
        """Process ids of the python backend's processes of a model."""
        found = subprocess.run(
            ["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = (line.split(maxsplit=2) for line in found.splitlines())
        return [
            int(pid)
            for pid, parent, args in rows
            if int(parent) == self.process.pid and "python_backend_stub" in args and f"/{model}/" in args
        ]

    def stop(self, kill: bool = False) -> None:
        """End it, its models' processes and what it left in shared memory."""
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self.process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for left in Path("/dev/shm").glob(f"{_region_prefix(self.grpc_port)}*"):
            left.unlink()


def start(
    repository: Path,
    folder: Path,
    *,
    home: Path = HOME,
    configuration: str = "cpu",
    grpc_port: int = 0,
    threads: int = 1,
    tls: Path | None = None,
    options: tuple[str, ...] = (),
) -> Served:
    """A server of ``repository`` on 127.0.0.1 that answers when this returns; ``folder`` is its own.

    ``tls`` is the certificate it proves itself with.

    Raises:
        RuntimeError: it ended at once; the message holds its log.
    """
    ports = {name: _free_port() for name in ("http", "metrics")} | {"grpc": grpc_port or _free_port()}
    log = folder / "triton.log"
    arguments = [
        *command(folder, home),
        f"--model-repository={repository}",
        f"--model-config-name={configuration}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--strict-readiness=false",
        "--exit-timeout-secs=5",
        f"--backend-config=python,shm-region-prefix-name={_region_prefix(ports['grpc'])}",
        *(f"--{name}-port={port}" for name, port in ports.items()),
        *(f"--{name}-address=127.0.0.1" for name in ports),
        *options,
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(
            arguments,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | environment(home, threads),
            start_new_session=True,
        )
    served = Served(process, ports["grpc"], ports["http"], log)
    _await_ready(served, tls)
    return served


@contextmanager
def serving(repository: Path, folder: Path, **options: object) -> Iterator[Served]:
    served = start(repository, folder, **options)  # type: ignore[arg-type]
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.stop()


def _await_ready(served: Served, tls: Path | None, seconds: float = 300) -> None:
    """Its door is knocked at until it opens, as a gRPC client waits longer after each try that fails."""
    give_up = time.monotonic() + seconds
    certificate = str(tls) if tls else None
    while time.monotonic() < give_up:
        if served.process.poll() is not None:
            raise RuntimeError(f"tritonserver ended at once:\n{served.log.read_text()}")
        with (
            contextlib.suppress(OSError, InferenceServerException),
            socket.create_connection(("127.0.0.1", served.grpc_port), timeout=1),
            triton.InferenceServerClient(
                served.url, ssl=tls is not None, root_certificates=certificate
            ) as client,
        ):
            if client.is_server_ready(client_timeout=5):
                return
        time.sleep(0.05)
    served.stop(kill=True)
    raise RuntimeError(f"tritonserver was not ready after {seconds:g} s:\n{served.log.read_text()}")


def command(folder: Path, home: Path = HOME) -> list[str]:
    """The server with its backends, which are put into ``folder``."""
    program = _packages(home) / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    return [str(program), f"--backend-directory={_backends(home, folder / 'backends')}"]


def environment(home: Path = HOME, threads: int = 1) -> dict[str, str]:
    """``PATH`` tells the python backend's processes which environment is theirs."""
    libraries = [_packages(home) / "nvidia_pytriton.libs", (_libpython() or home).parent]
    return {
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "OVERREAD_THREADS": str(threads),
    }


def _region_prefix(grpc_port: int) -> str:
    return f"triton_{grpc_port}_"


def _backends(home: Path, folder: Path) -> Path:
    """Triton's python backend with the stub of this Python, and Overread's backend on top of it. Copies:
    Triton refuses links that lead out of the folder."""
    bundled = _packages(home) / "pytriton" / "tritonserver"
    python = folder / "python"
    python.mkdir(parents=True, exist_ok=True)
    stub = bundled / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    for file in (*(bundled / "backends" / "python").glob("*.*"), stub):
        shutil.copy(file, python)
    shutil.copytree(BACKENDS, folder, dirs_exist_ok=True)
    return folder


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _packages(home: Path) -> Path:
    return home / "lib" / f"python{PYTHON}" / "site-packages"


def _libpython() -> Path | None:
    """The shared library of this Python, beside the interpreter or from the system."""
    name = f"libpython{PYTHON}.so.1.0"
    folders = (sysconfig.get_config_var("LIBDIR"), "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
    return next((path for f in folders if f and (path := Path(f) / name).exists()), None)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.triton.server", description=__doc__)
    parser.add_argument("--install", action="store_true", help="make the environment and end")
    parser.add_argument("--home", type=Path, default=HOME)
    parser.add_argument("--repository", type=Path, default=SHIPPED_MODELS)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/overread-triton"))
    parser.add_argument("--port", type=int, default=8001)
    arguments = parser.parse_args()
    if arguments.install:
        try:
            install(arguments.home)
        except subprocess.CalledProcessError as error:
            if os.environ.get("CI") == "true":
                raise
            print(f"no Triton server on this machine, its tests are skipped: {error}")
        return
    if reason := missing_reason(arguments.home):
        sys.exit(reason)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with serving(
        arguments.repository, arguments.folder, home=arguments.home, grpc_port=arguments.port, threads=0
    ) as served:
        print(f"Triton serves {arguments.repository} at {served.url}; its log: {served.log}")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            served.process.wait()
        except KeyboardInterrupt:
            print("stopping")


if __name__ == "__main__":
    main()
