"""The pages. Each is whole without its script; with it, the part that changes is fetched anew and swapped."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from node.web.api import HealthLook, Node, Visitor
from node.web.context import Action, Context
from node.web.gate import token_in
from node.web.live import changes
from node.web.presentation import page_templates, span
from node.web.queries import (
    LARGEST_KEY,
    RefusalQuery,
    StudyQuery,
    as_text,
    refusal_query,
    study_query,
)
from node.web.trail import AuditQuery, address_of, audit_query
from node.web.way import stuck_deliveries, way_of, what_to_do
from storage.actions import ActionRefusedError
from storage.audit import KINDS, audit_page
from storage.dossier import key_image_path, study_dossier
from storage.overview import list_refusals

router = APIRouter(include_in_schema=False)
templates = page_templates()

WORTH_TELLING = 15.0  # seconds since health was looked at
LIVING = {"studies", "study", "refusals", "health", "audit"}  # pages of which a part is fetched anew


@router.get("/")
@router.get("/studies")
def studies(request: Request, node: Node, query: Annotated[StudyQuery, Depends(study_query)]) -> Response:
    node.looks.at_list(request, query)
    mark = node.mark.read()
    board = node.board(query)
    return show(request, "studies", mark=mark, board=board, query=query, older=as_text(board.page.older))


@router.get("/studies/{uid}")
def study(request: Request, node: Node, uid: str) -> Response:
    return _study_page(request, node, uid)


@router.post("/studies/{uid}/{action}")
def act(request: Request, node: Node, uid: str, action: Action, asked_by: Visitor) -> Response:
    try:
        node.carry_out(action, uid, asked_by, address_of(request))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
    except ActionRefusedError as error:
        return _study_page(request, node, uid, notice=str(error), status_code=409)
    return RedirectResponse(f"/studies/{uid}", status_code=303)


@router.get("/studies/{uid}/findings/{finding}.png")
def key_image(request: Request, node: Node, uid: str, finding: int) -> Response:
    written = None
    if 0 <= finding <= LARGEST_KEY:
        with node.database.snapshot() as session:
            written = key_image_path(session, uid, finding)
    path = node.key_image(written) if written else None
    if path is None:
        raise HTTPException(404, "This finding has no key image, or it is no longer kept.")
    node.looks.at_study(request, uid)
    return FileResponse(path, media_type="image/png")


@router.get("/refusals")
def refusals(
    request: Request, node: Node, query: Annotated[RefusalQuery, Depends(refusal_query)]
) -> Response:
    mark = node.mark.read()
    with node.database.snapshot() as session:
        page = list_refusals(session, query.older, query.limit)
    refused = page.refusals
    return show(request, "refusals", mark=mark, refusals=refused, query=query, older=as_text(page.older))


@router.get("/health")
def health(request: Request, node: Node, look: HealthLook) -> Response:
    well = all(probe.ok for probe in look.seen)
    ago = span(look.age) if look.age > WORTH_TELLING else ""
    return show(
        request,
        "health",
        mark=node.mark.read(),
        probes=look.seen,
        ago=ago,
        status_code=200 if well else 503,
    )


@router.get("/audit")
def trail(request: Request, node: Node, query: Annotated[AuditQuery, Depends(audit_query)]) -> Response:
    node.looks.at_trail(request, query)
    mark = node.mark.read()
    with node.database.snapshot() as session:
        page = audit_page(session, query.filter, query.older, query.limit)
    older = as_text(page.older)
    return show(request, "audit", mark=mark, entries=page.entries, query=query, kinds=KINDS, older=older)


@router.get("/health/sign")
def health_sign(request: Request, look: HealthLook) -> Response:
    """The sign at the top of every page."""
    return templates.TemplateResponse(request, "_sign.html", {"probes": look.seen})


@router.get("/live")
async def live(request: Request, node: Node, seen: str = "") -> Response:
    seen = request.headers.get("last-event-id", seen)
    token = token_in(request.scope) if node.settings.web.asks_login else ""
    told = changes(node.mark, seen, node.stopping, node.pause, lambda: node.logins.may_stay(token))
    return StreamingResponse(told, media_type="text/event-stream")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/docs")
def api_description(request: Request) -> Response:
    return show(request, "api", api=request.app.openapi())


def problem(request: Request, status: int, sentence: str) -> Response:
    """A page that says what went wrong."""
    return show(request, "problem", status=status, sentence=sentence, status_code=status)


def _study_page(request: Request, node: Node, uid: str, notice: str = "", status_code: int = 200) -> Response:
    mark = node.mark.read()
    with node.database.snapshot() as session:
        dossier = study_dossier(session, uid)
    if dossier is None:
        raise HTTPException(404, f"No study {uid} has come in.")
    node.looks.at_study(request, uid)
    revisions = dossier.revisions
    shown = next((revision for revision in revisions if revision.readings), None)
    results = [each for each in revisions if each.deliveries or any(made.objects for made in each.readings)]
    return show(
        request, "study", mark=mark, dossier=dossier, study=dossier.study, shown=shown, results=results,
        sent=any(revision.deliveries for revision in revisions), way=way_of(dossier),
        all_stuck=stuck_deliveries(dossier), advice=what_to_do(dossier.study), notice=notice,
        status_code=status_code,
    )  # fmt: skip


def show(request: Request, page: str, *, status_code: int = 200, **values: Any) -> Response:
    """The page ``page``, or only the part of it that lives when the script asks for that part."""
    login = getattr(request.state, "login", None)
    node: Context = request.app.state.context
    values |= {
        "settings": node.settings,
        "page": page,
        "login": login,
        "may_act": login is None or login.role == "admin",
    }
    values["dicom_address"] = node.dicom_address(request.url.hostname or "")
    if page in LIVING and _wants_part(request):
        return templates.TemplateResponse(request, f"_{page}.html", values)
    return templates.TemplateResponse(request, f"{page}.html", values, status_code=status_code)


def _wants_part(request: Request) -> bool:
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers
