"""A study's life as an administrator sees it, in a real browser.

``OVERREAD_SCREENSHOTS=FOLDER`` keeps pictures of the pages there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright
from sqlalchemy import select

from node.settings import Settings
from node.web.app import create_app
from node.web.server import WebServer
from storage.audit import AuditFilter, newest
from storage.database import Database
from storage.tables import Study
from tests.node.web import rows
from tests.node.web.conftest import WELL
from tests.programs import require
from tests.waiting import wait_for

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000  # milliseconds; an idle machine needs two seconds, a crowded one many

NewPage = Callable[..., Page]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(require("chromium")), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser, address: str) -> Iterator[NewPage]:
    """Opens a page of the node; at the end nothing may have been asked of another host, and no script or
    style may have been at fault."""
    contexts: list[BrowserContext] = []
    hosts: set[str | None] = set()
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    def open_page(
        path: str = "studies", width: int = 1280, height: int = 860, dark: bool = False, node: str = address
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(node + path)
        return page

    expect.set_options(timeout=PATIENCE)
    yield open_page
    for context in contexts:
        context.close()
    assert hosts <= {"127.0.0.1"}
    assert faults == []


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("OVERREAD_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for image in page.locator("figure img").all():
            image.scroll_into_view_if_needed()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_search_typed_letter_by_letter_is_one_line_of_the_trail(
    new_page: NewPage, database: Database
) -> None:
    with database.session() as session:
        rows.add_study(session, patient_id="PAT-OTHER")
        rows.add_study(session, patient_id="PAT-SOUGHT")
    page = new_page()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("#q").press_sequentially("PAT-SO", delay=20)
    expect(page.locator("tbody tr")).to_have_count(1)

    def said() -> list[str]:
        with database.snapshot() as session:
            return [entry.text for entry in newest(session, AuditFilter(kind="viewed"))]

    lines = r"searched the list of studies for PAT-SO( \(typed from \S+ on\))?\nlooked at the list of studies"
    wait_for(lambda: re.fullmatch(lines, "\n".join(said())), 60, said)


def test_an_update_that_comes_late_does_not_undo_a_search(new_page: NewPage, database: Database) -> None:
    with database.session() as session:
        rows.add_study(session, patient_id="PAT-OTHER")
        rows.add_study(session, patient_id="PAT-SOUGHT")
    page = new_page()
    expect(page.locator("tbody tr")).to_have_count(2)
    held: list[Route] = []
    page.route(lambda address: address.endswith("/studies"), lambda route: held.append(route))
    with database.session() as session:
        rows.add_study(session, patient_id="PAT-NEW")
    wait_for(lambda: page.wait_for_timeout(50) or held, 60)
    page.locator("#q").fill("PAT-SO")
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_response(lambda answer: answer.url.endswith("q=PAT-SO")):
        held[0].continue_()  # it is not shown, and what is looked for is asked for once more
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_study_lives_on_the_page_without_a_reload(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    page = new_page()
    expect(page.get_by_role("heading", name="No study yet")).to_be_visible()
    picture(page, "status-empty")
    page.evaluate("window.neverReloaded = true")

    with database.session() as session:
        study = rows.add_study(session, images=40)
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator(".chip")).to_have_text("receiving")
    expect(row).to_contain_text("40 images")

    with database.session() as session:
        study = session.get_one(Study, study.id)
        revision = rows.close(session, study)
        rows.begin_reading(session, study, revision)
        session.add(revision)
    expect(row.locator(".chip")).to_have_text("reading")
    expect(row).to_contain_text("inference")

    with database.session() as session:
        study = session.get_one(Study, study.id)
        revision = session.merge(revision)
        reading = rows.add_reading(session, study, revision, data_dir, findings=3)
        deliveries = rows.post(session, revision, reading)
    expect(row.locator(".chip")).to_have_text("delivering")
    expect(page.get_by_text("2 results wait to be sent")).to_be_visible()

    with database.session() as session:
        study, revision = session.get_one(Study, study.id), session.merge(revision)
        rows.deliver(session, study, revision, [session.merge(delivery) for delivery in deliveries])
    expect(row.locator(".chip")).to_have_text("delivered")
    expect(row).to_contain_text("3 findings")
    expect(page.get_by_role("status")).to_contain_text("1 delivered")
    assert page.evaluate("window.neverReloaded") is True


def test_the_page_of_a_study_grows_findings_while_it_is_looked_at(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    page = new_page(f"studies/{study.uid}")
    expect(page.get_by_role("status")).to_contain_text("receiving")
    page.evaluate("window.neverReloaded = true")
    with database.session() as session:
        rows.read_and_deliver(session, session.get_one(Study, study.id), data_dir, findings=2)
    expect(page.get_by_role("status")).to_contain_text("2 findings")
    expect(page.locator("figure img")).to_have_count(2)
    image = page.locator("figure img").first
    image.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('figure img').naturalWidth === 512")
    box = image.bounding_box()
    assert box is not None
    assert box["width"] >= 400
    assert page.evaluate("window.neverReloaded") is True


def test_results_of_earlier_revisions_are_folded_away_and_stay_as_somebody_left_them(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        for _ in range(3):
            newest = rows.read_and_deliver(session, study, data_dir)
    page = new_page(f"studies/{study.uid}")
    shown = page.locator(".deliveries tbody tr").filter(visible=True)
    expect(shown).to_have_count(2)
    expect(shown.first.locator("td").first).to_have_text(str(newest.number))
    expect(page.get_by_role("region", name="Results of")).to_have_count(1)
    expect(page.locator("#earlier-results")).to_match_aria_snapshot("- group: Those of 2 earlier revisions")
    page.get_by_text("Those of 2 earlier revisions").click()
    expect(shown).to_have_count(6)
    for name in ("Results and deliveries", "Results of the newest revision", "Results of earlier revisions"):
        expect(page.get_by_role("region", name=name, exact=True)).to_have_count(1)
    with database.session() as session:
        rows.fail(session, session.get_one(Study, study.id), "infer", "Series 2 has slices of two sizes.")
    expect(page.get_by_role("heading", name="Failed at inference")).to_be_visible()
    expect(shown).to_have_count(6)


def test_each_part_of_a_page_has_a_name_of_its_own(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        for _ in range(2):
            rows.read_and_deliver(session, study, data_dir, findings=2)
    page = new_page(f"studies/{study.uid}")
    page.get_by_text("Those of 1 earlier revision").click()
    named = re.findall(r'- region "([^"]+)"', page.locator("body").aria_snapshot())
    assert {"Series", "Timeline"} < set(named)
    assert sorted(named) == sorted(set(named))


def test_a_page_whose_morphing_did_not_load_still_tells_the_time(
    new_page: NewPage, database: Database
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    page = new_page("health")
    page.route("**/idiomorph*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(urljoin(page.url, f"studies/{study.uid}"))
    assert page.evaluate("window.Idiomorph === undefined")
    age = page.locator("time[data-show]").first
    age.evaluate("element => { element.textContent = 'not told yet'; }")
    expect(age).to_have_text(re.compile(r"\d+ (s|min)"))


def test_a_button_reads_a_failed_study_again(new_page: NewPage, database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "Series 2 has slices of two sizes.")
    page = new_page(f"studies/{study.uid}")
    expect(page.get_by_role("heading", name="Failed at inference")).to_be_visible()
    page.get_by_role("button", name="Read again").click()
    expect(page.get_by_role("status")).to_contain_text("queued")
    expect(page.get_by_text("Reading again was asked for by somebody at 127.0.0.1.")).to_be_visible()
    with database.snapshot() as session:
        assert session.scalars(select(Study.read_now)).one() is True


def test_the_list_can_be_walked_with_the_keyboard_while_it_changes(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        other = rows.add_study(session)
    page = new_page()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    link = page.locator(f'a.row[href="/studies/{study.uid}"]')
    for _ in range(40):
        if link.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(link).to_be_focused()
    with database.session() as session:
        rows.read_and_deliver(session, session.get_one(Study, other.id), data_dir)
        rows.add_study(session)
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(link).to_be_focused()  # what changes around it takes the focus from nobody
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{study.uid}")
    expect(page.get_by_role("button", name="Read now")).to_be_visible()


def test_typing_finds_a_study_and_the_address_can_be_shared(new_page: NewPage, database: Database) -> None:
    with database.session() as session:
        wanted = rows.add_study(session, patient_id="JONES-7")
        rows.add_study(session)
    page = new_page()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Find").fill("jones")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("JONES-7")
    page.wait_for_url("**q=jones**")
    with database.session() as session:
        rows.add_study(session, patient_id="SMITH")
        rows.add_study(session, patient_id="JONES-8")
    expect(page.locator("tbody tr")).to_have_count(2)  # what arrives is held to the same question
    page.reload()
    expect(page.get_by_label("Find")).to_have_value("jones")
    expect(page.locator(f'a.row[href="/studies/{wanted.uid}"]')).to_be_visible()


def test_the_first_admin_logs_in_out_and_in_again_with_the_keyboard_alone(
    new_page: NewPage, database: Database, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.model_validate({"web": {"login": "always"}})
    app = create_app(settings, database, data_dir, lambda: WELL)
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    with caplog.at_level(logging.WARNING):
        app.state.context.logins.invite(server.url)
    code = re.findall(r"[A-Z0-9]{4}(?:-[A-Z0-9]{4}){3}", caplog.text)[0]
    with database.session() as session:
        rows.read_and_deliver(session, rows.add_study(session), data_dir)

    def type_in(*texts: str) -> None:
        for text in texts:
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")

    page = new_page(node=server.url)
    expect(page.get_by_role("heading", name="The first admin")).to_be_visible()
    _look_at(page, "setup")
    expect(page.get_by_label("Code from the log")).to_be_focused()
    type_in(code, "anna", "correct horse battery", "correct horse battery")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="anna")).to_be_visible()
    expect(page.locator("#sign a")).to_have_text("all ok")
    _look_at(page, "status-logged-in")
    page.set_viewport_size({"width": 375, "height": 800})
    parts = [page.locator(part).bounding_box() for part in (".brand", "#sign", ".who")]
    middles = [part["y"] + part["height"] / 2 for part in parts if part]
    assert max(middles) - min(middles) < 12  # one row
    expect(page.get_by_role("link", name="Overread")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 860})
    page.goto(f"{server.url}account")
    _look_at(page, "account")
    page.get_by_role("button", name="Log out").press("Enter")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_role("link", name="Studies")).to_have_count(0)
    _look_at(page, "login")
    page.goto(f"{server.url}audit?kind=login-refused")
    expect(page.get_by_label("Name")).to_be_focused()
    type_in("anna", "correct horse battery")
    expect(page.get_by_role("heading", name="Nothing like that")).to_be_visible()
    page.get_by_role("link", name="All", exact=True).click()
    expect(page.locator("tbody tr").first).to_contain_text("anna")
    _look_at(page, "audit")
    page.close()
    server.stop()


def _look_at(page: Page, name: str) -> None:
    """Everything on it can be read in light and dark, and it does not scroll sideways on a phone."""
    page.wait_for_load_state()  # with its style
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate(CONTRAST) == [], (name, scheme)
        picture(page, f"{name}-{scheme}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
    picture(page, f"{name}-phone")
    page.set_viewport_size({"width": 1280, "height": 860})


def test_no_page_scrolls_sideways_on_a_phone_whatever_is_in_it(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    endless = "W" * 64
    with database.session() as session:
        studies = rows.one_in_every_state(session, data_dir)
        long = rows.add_study(
            session,
            patient_id=endless,
            accession_number="A" * 64,
            description="CT_" + "thoraxabdomenpelvis" * 13,
            source="S" * 16,
            uid="2.25." + "9" * 52,
        )
        rows.read_and_deliver(session, long, data_dir, findings=1)
        failed = rows.add_study(session)
        rows.fail(session, failed, "infer", "/a/path/" * 200)
        rows.add_refusal(session, "0" * 1000, uid="8" * 64)
    paths = [
        "studies",
        "refusals",
        "health",
        "api/docs",
        *(f"studies/{study.uid}" for study in (long, failed, studies["delivered"])),
    ]
    page = new_page()
    node = page.url.removesuffix("studies")
    for width in (375, 900):
        page.set_viewport_size({"width": width, "height": 800})
        for path in paths:
            page.goto(node + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_every_text_can_be_read_in_light_and_dark(
    new_page: NewPage, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        studies = rows.one_in_every_state(session, data_dir)
    page = new_page()
    node = page.url.removesuffix("studies")
    paths = {"status": "studies", "health": "health", "refusals": "refusals"} | {
        f"study-{state}": f"studies/{studies[state].uid}" for state in ("delivered", "delivering", "failed")
    }
    for name, path in paths.items():
        page.goto(node + path)
        expect(page.locator("#sign a")).to_have_text("all ok")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert page.evaluate(CONTRAST) == [], (path, scheme)
            picture(page, f"{name}-{scheme}")
        if name in ("status", "study-delivered"):
            page.set_viewport_size({"width": 375, "height": 800})
            page.emulate_media(color_scheme="light")
            picture(page, f"{name}-phone")
            page.set_viewport_size({"width": 1280, "height": 860})


# Texts whose contrast is below WCAG 2.2 AA (4.5; 3 from 24 px, or bold from 18.66 px).
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const ground = (element) => {
    if (!element) return [255, 255, 255];
    const color = rgba(getComputedStyle(element).backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, ground(element.parentElement));
  };
  const light = (color) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = color.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), under = ground(element);
    const [a, b] = [light(over(rgba(style.color), under)), light(under)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), bold = style.fontWeight >= 700;
    const wanted = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < wanted) poor.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
