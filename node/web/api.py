"""The JSON at the addresses of the pages, under ``/api``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Response

from node.health import Probe
from node.web.access import visitor
from node.web.context import Action, Context, context
from node.web.queries import StudyQuery, as_text, study_query
from storage.actions import ActionRefusedError
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
Visitor = Annotated[str, Depends(visitor)]

router = APIRouter(prefix="/api", dependencies=[Depends(visitor)])


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
    ok: bool
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class RefusalsBody:
    refusals: tuple[RefusalLine, ...]


@dataclass(frozen=True)
class ReadingsBody:
    """Each reading as in ``reading.json``."""

    study_uid: str
    readings: list[dict[str, Any]]


@dataclass(frozen=True)
class DoneBody:
    study_uid: str
    done: Action


@router.get("/studies", summary="Studies, those with the newest image first")
def studies(node: Node, query: Annotated[StudyQuery, Depends(study_query)]) -> StudiesBody:
    board = node.board(query)
    situation = board.situation
    older = as_text(board.page.older) or None
    return StudiesBody(board.studies, older, situation.counts, situation.waiting, situation.sources)


@router.get("/studies/{uid}", summary="One study: series, revisions, findings, deliveries, timeline")
def study(node: Node, uid: str) -> Dossier:
    with node.database.snapshot() as session:
        dossier = study_dossier(session, uid)
    if dossier is None:
        raise HTTPException(404, f"No study {uid} has come in.")
    return dossier


@router.get("/studies/{uid}/readings", summary="The newest readings of a study, as in reading.json")
def readings(node: Node, uid: str) -> ReadingsBody:
    with node.database.snapshot() as session:
        bodies = reading_bodies(session, uid)
    if bodies is None:
        raise HTTPException(404, f"No study {uid} has come in.")
    return ReadingsBody(uid, bodies)


@router.post("/studies/{uid}/{action}", status_code=202, summary="Read now, read again, or send again")
def act(node: Node, uid: str, action: Action, asked_by: Visitor) -> DoneBody:
    try:
        node.carry_out(action, uid, asked_by)
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
    except ActionRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return DoneBody(uid, action)


@router.get("/health", summary="Is everything up? 503 when something is not")
def health(node: Node, response: Response) -> HealthBody:
    probes = node.health()
    ok = all(probe.ok for probe in probes)
    response.status_code = 200 if ok else 503
    return HealthBody(ok, probes)


@router.get("/refusals", summary="What was not accepted, from whom, and why; the newest 200")
def refusals(node: Node) -> RefusalsBody:
    with node.database.snapshot() as session:
        return RefusalsBody(list_refusals(session))
