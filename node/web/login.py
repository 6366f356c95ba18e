"""The pages before all others: logging in and out, the first admin, one's own password."""

from __future__ import annotations

import math
import re
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from node.security.passwords import SHORTEST, BusyError, PasswordError
from node.settings import WebSettings
from node.web.api import Node
from node.web.context import Context
from node.web.gate import cookie_name, token_in
from node.web.logins import LoginError
from node.web.pages import show
from node.web.trail import address_of

MOST_BYTES = 16 * 1024  # of a form

router = APIRouter(include_in_schema=False)


async def form(request: Request) -> dict[str, str]:
    """What was filled in, as text; nothing of a form that is not ours."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))
    except ValueError:  # too many fields
        return {}


Form = Annotated[dict[str, str], Depends(form)]


@router.get("/login")
def login(request: Request, node: Node, next: str = "/studies") -> Response:  # noqa: A002  its name in the address
    if request.state.login is not None:
        return RedirectResponse(_inside(next), 303)
    if not node.logins.is_set_up:
        return RedirectResponse("/setup", 303)
    return show(request, "login", next=_inside(next))


@router.post("/login")
async def log_in(request: Request, node: Node, filled: Form) -> Response:
    wanted, name = _inside(filled.get("next", "")), filled.get("name", "")
    try:
        node.logins.turn_away(name, address_of(request))
        token = await run_in_threadpool(
            node.logins.log_in, name, filled.get("password", ""), address_of(request)
        )
    except (LoginError, BusyError) as error:
        if wait := _wait(error):
            return await _told_to_wait(node, wait, error)
        return show(request, "login", next=wanted, name=name, notice=str(error), status_code=_status(error))
    return _with_cookie(request, node.settings.web, wanted, token)


@router.get("/setup")
def setup(request: Request, node: Node) -> Response:
    if node.logins.is_set_up:
        return RedirectResponse("/login", 303)
    return show(request, "setup", shortest=SHORTEST)


@router.post("/setup")
async def set_up(request: Request, node: Node, filled: Form) -> Response:
    code, name, password = (filled.get(key, "") for key in ("code", "name", "password"))
    try:
        node.logins.turn_away("", address_of(request))
        if password != filled.get("again"):
            raise LoginError("The two passwords differ.")
        token = await run_in_threadpool(node.logins.set_up, code, name, password, address_of(request))
    except (LoginError, PasswordError) as error:
        if wait := _wait(error):
            return await _told_to_wait(node, wait, error)
        return show(
            request, "setup", shortest=SHORTEST, code=code, name=name, notice=str(error),
            status_code=_status(error),
        )  # fmt: skip
    return _with_cookie(request, node.settings.web, "/studies", token)


@router.get("/account")
def account(request: Request) -> Response:
    return show(request, "account", shortest=SHORTEST)


@router.post("/account")
async def change_password(request: Request, node: Node, filled: Form) -> Response:
    old, new = filled.get("old", ""), filled.get("password", "")
    try:
        node.logins.turn_away(request.state.login.name, address_of(request))
        if new != filled.get("again"):
            raise LoginError("The two passwords differ.")
        token = await run_in_threadpool(
            node.logins.change_password, request.state.login, old, new, address_of(request)
        )
    except (LoginError, PasswordError, BusyError) as error:
        if wait := _wait(error):
            return await _told_to_wait(node, wait, error)
        return show(request, "account", shortest=SHORTEST, notice=str(error), status_code=_status(error))
    return _with_cookie(request, node.settings.web, "/studies", token)


@router.post("/logout")
def log_out(request: Request, node: Node) -> Response:
    node.logins.log_out(token_in(request.scope), request.state.login.name, address_of(request))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(
        cookie_name(request.scope), secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
    return answer


def _with_cookie(request: Request, settings: WebSettings, where: str, token: str) -> Response:
    answer = RedirectResponse(where, 303)
    answer.set_cookie(
        cookie_name(request.scope),
        token,
        max_age=round(settings.session_hours * 3600),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def _inside(address: str) -> str:
    """An address of this page, whatever a link to the login said."""
    return address if re.match(r"/(?![/\\])[^\x00-\x1f\\]*$", address) else "/studies"


def _status(error: Exception) -> int:
    if isinstance(error, BusyError):
        return 503
    return 401 if isinstance(error, LoginError) else 422


def _wait(error: Exception) -> float:
    return error.wait if isinstance(error, LoginError) else 0.0


async def _told_to_wait(node: Context, wait: float, error: Exception) -> Response:
    """As plain as can be, and not at once: who guesses by the thousand is shown no page."""
    await node.waiting_room.wait()
    return PlainTextResponse(f"{error}\n", 429, {"Retry-After": str(math.ceil(wait))})
