"""OHIF on an Orthanc, in a headless browser: what a radiologist would see of the results."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

from tests.programs import absent, require

VERSION = "3.12.10"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "overread-tests" / f"ohif-{VERSION}"
CONFIG = """
window.config = {
  routerBasename: '/', showStudyList: true, extensions: [], modes: [], showErrorDetails: 'always',
  customizationService: {'ohif.tours': {$set: []}}, disableConfirmationPrompts: true,
  investigationalUseDialog: {option: 'never'}, showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, maxNumberOfWebWorkers: 2, strictZSpacingForVolumeViewport: true,
  defaultDataSourceName: 'dicomweb',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'PACS', name: 'pacs', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      wadoUriRoot: '/wado', qidoSupportsIncludeField: false, supportsFuzzyMatching: false,
      imageRendering: 'wadors', thumbnailRendering: 'wadors', omitQuotationForMultipartRequest: true,
      enableStudyLazyLoad: true, supportsWildcard: true, bulkDataURI: {enabled: true},
    },
  }],
};
"""
BROWSER_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
THUMBNAIL = '[data-cy^="study-browser-thumbnail"]'


def build() -> Path:
    """The viewer as its makers built it, fetched once with npm and kept outside the project."""
    dist = CACHE / "package" / "dist"
    if not (dist / "index.html").exists():
        npm = require("npm")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "pack", f"@ohif/app@{VERSION}", "--silent"], cwd=CACHE, capture_output=True, text=True
        )
        if done.returncode:
            absent(f"npm could not fetch @ohif/app@{VERSION}: {done.stderr.strip()[-300:]}")
        with tarfile.open(CACHE / done.stdout.strip().splitlines()[-1]) as package:
            package.extractall(CACHE, filter="data")
    return dist


@contextmanager
def served(pacs: str) -> Iterator[str]:
    """The viewer's address; it and the PACS at the address ``pacs`` answer from one origin."""
    dist = build()

    class Origin(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(dist))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.path.startswith(("/dicom-web", "/wado")):
                self._from_pacs()
            elif self.path.startswith("/app-config.js"):
                self._answer(200, "application/javascript", CONFIG.encode())
            elif not (dist / self.path.split("?")[0].lstrip("/")).is_file():
                self._answer(200, "text/html", (dist / "index.html").read_bytes())
            else:
                super().do_GET()

        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

        def _from_pacs(self) -> None:
            kept = {name: self.headers[name] for name in ("Accept", "Host") if name in self.headers}
            answer = httpx.get(pacs + self.path, headers=kept, timeout=60)
            self._answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # of five, a browser's burst has connections refused

    server = Server(("127.0.0.1", 0), Origin)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browser(address: str) -> Iterator[Callable[[str], Page]]:
    """Opens studies, each on a page of its own, their thumbnails there."""
    chromium = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), args=BROWSER_FLAGS)

        def opened(study_uid: str) -> Page:
            page = started.new_page(viewport={"width": 1400, "height": 900})
            for last in (False, False, True):  # the viewer does not ask again for what did not come
                page.goto(f"{address}/viewer?StudyInstanceUIDs={study_uid}", timeout=120_000)
                try:
                    page.wait_for_selector(THUMBNAIL, timeout=120_000)
                    break
                except Error:
                    if last:
                        raise
            return page

        yield opened
        started.close()


def pixels(page: Page) -> npt.NDArray[np.uint8]:
    """What is on screen, RGB."""
    return np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB"))
