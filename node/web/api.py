"""The JSON at the addresses of the pages, under ``/api``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from node.upkeep.probe import Probe
from node.web.context import Action, Context, context
from node.web.context import health as look_at_health
from node.web.live import Look
from node.web.queries import (
    LARGEST_KEY,
    RefusalQuery,
    StudyQuery,
    as_text,
    refusal_query,
    study_query,
)
from node.web.trail import AuditQuery, address_of, audit_query, visitor
from storage.actions import ActionRefusedError
from storage.audit import AuditEntry, audit_page
from storage.dossier import Dossier, reading_bodies, study_dossier
from storage.overview import (
    RefusalLine,
    SourceLine,
    StudyLine,
    StudyState,
    Waiting,
    list_refusals,
)

Node = Annotated[Context, Depends(context)]
HealthLook = Annotated[Look[tuple[Probe, ...]], Depends(look_at_health)]
Visitor = Annotated[str, Depends(visitor)]

router = APIRouter(prefix="/api")


@dataclass(frozen=True)
class StudiesBody:
    """``older``: give it as the parameter of that name to get the next page; null on the last."""

    studies: tuple[StudyLine, ...]
    older: str | None
    counts: dict[StudyState, int]
    waiting: Waiting
    sources: tuple[SourceLine, ...]


@dataclass(frozen=True)
class HealthBody:
    """``age_seconds``: since it was looked; while a look takes long, the one before is told,
    and not ``ok`` after a minute."""

    ok: bool
    age_seconds: float
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class RefusalsBody:
    """``older``: as of the studies."""

    refusals: tuple[RefusalLine, ...]
    older: str | None


@dataclass(frozen=True)
class AuditBody:
    """``older``: as of the studies."""

    entries: tuple[AuditEntry, ...]
    older: str | None


@dataclass(frozen=True)
class AliveBody:
    alive: bool


@dataclass(frozen=True)
class ReadingsBody:
    """Each reading as in ``reading.json``."""

    study_uid: str
    readings: list[dict[str, Any]]


@dataclass(frozen=True)
class DoneBody:
    study_uid: str
    done: Action


@dataclass(frozen=True)
class Problem:
    """``detail`` says in a sentence why it was not done."""

    detail: str


NOT_THERE: dict[int | str, dict[str, Any]] = {404: {"description": "There is none", "model": Problem}}


@router.get("/studies", summary="Studies, those with the newest image first")
def studies(request: Request, node: Node, query: Annotated[StudyQuery, Depends(study_query)]) -> StudiesBody:
    node.looks.at_list(request, query)
    board = node.board(query)
    situation = board.situation
    older = as_text(board.page.older) or None
    return StudiesBody(board.studies, older, situation.counts, situation.waiting, situation.sources)


@router.get(
    "/studies/{uid}",
    summary="One study: series, revisions, findings, deliveries, timeline",
    responses=NOT_THERE,
)
def study(request: Request, node: Node, uid: str) -> Dossier:
    with node.database.snapshot() as session:
        dossier = study_dossier(session, uid)
    if dossier is None:
        raise HTTPException(404, f"No study {uid} has come in.")
    node.looks.at_study(request, uid)
    return dossier


@router.get(
    "/studies/{uid}/readings",
    summary="The readings of a study, as in reading.json",
    responses=NOT_THERE,
)
def readings(
    request: Request,
    node: Node,
    uid: str,
    revision: Annotated[
        int | None, Query(ge=1, le=LARGEST_KEY, description="of this revision; the newest if not given")
    ] = None,
) -> ReadingsBody:
    try:
        with node.database.snapshot() as session:
            bodies = reading_bodies(session, uid, revision)
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
    if bodies is None:
        raise HTTPException(404, f"No study {uid} has come in.")
    node.looks.at_study(request, uid)
    return ReadingsBody(uid, bodies)


@router.post(
    "/studies/{uid}/{action}",
    status_code=202,
    summary="Read now, read again, or send again",
    responses=NOT_THERE | {409: {"description": "It cannot be done as the study stands", "model": Problem}},
)
def act(request: Request, node: Node, uid: str, action: Action, asked_by: Visitor) -> DoneBody:
    try:
        node.carry_out(action, uid, asked_by, address_of(request))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
    except ActionRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return DoneBody(uid, action)


@router.get("/health", summary="Is everything up? 503 when something is not")
def health(request: Request, node: Node, look: HealthLook, response: Response) -> HealthBody:
    """Who is not logged in learns no more than that, and how long ago it was looked."""
    ok = all(probe.ok for probe in look.seen)
    response.status_code = 200 if ok else 503
    return HealthBody(ok, round(look.age, 1), look.seen if node.may_look(request) else ())


@router.get("/alive", summary="Does the node answer at all? Asks nothing else, and nobody")
async def alive() -> AliveBody:
    return AliveBody(True)  # in no thread: it waits for none


@router.get("/audit", summary="Who sent, saw and did what, and who was turned away; the newest first")
def trail(request: Request, node: Node, query: Annotated[AuditQuery, Depends(audit_query)]) -> AuditBody:
    node.looks.at_trail(request, query)
    with node.database.snapshot() as session:
        page = audit_page(session, query.filter, query.older, query.limit)
    return AuditBody(page.entries, as_text(page.older) or None)


@router.get("/refusals", summary="What was not accepted, from whom, and why; the newest first")
def refusals(node: Node, query: Annotated[RefusalQuery, Depends(refusal_query)]) -> RefusalsBody:
    with node.database.snapshot() as session:
        page = list_refusals(session, query.older, query.limit)
    return RefusalsBody(page.refusals, as_text(page.older) or None)
