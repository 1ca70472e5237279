"""The fake authority on HTTP.

`POST /access/v2/invoke/{nlbm}/{fwbm}/` and `/access/sandbox/v2/invoke/…` are LeQi's;
`GET /channel/ranges` is a vendor's listing gateway; `/simulator/…` is for tests.
Beyond the contract: `GET` of the faults, the clock and the listing's edits, and
`PUT /simulator/listing` with `add`, `change` and `hide` (`ListingEdits`), which
replaces the edits in force.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final, Literal, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from worker.leqi.simulator_clock import ClockError, read_instant
from worker.leqi.simulator_faults import Faults, FaultSettings
from worker.leqi.simulator_journal import StateNotWrittenError
from worker.leqi.simulator_records import ListingEdits
from worker.leqi.simulator_service import Call, ClaimService, Ending, Reply, Terms
from worker.leqi.simulator_state import AuthorityState, UnknownSerialError

PAGE_SIZE: Final = 100
LONGEST_PAGE_NUMBER: Final = 9
LONGEST_COMPLAINT: Final = 300
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends RST instead of FIN."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=BaseModel)

log = structlog.get_logger()


def build_application(terms: Terms, state: AuthorityState, faults: Faults) -> web.Application:
    """Put the authority behind its routes."""
    claims = _ClaimRoutes(ClaimService(terms, state, faults), faults)
    tests = _TestRoutes(state, faults)
    application = web.Application(middlewares=[_one_clear_line])
    for slash in ("", "/"):
        tail = "/v2/invoke/{nlbm}/{fwbm}" + slash
        application.router.add_post("/access" + tail, claims.production)
        application.router.add_post("/access/sandbox" + tail, claims.sandbox)
    application.router.add_get("/channel/ranges", tests.ranges)
    application.router.add_get("/simulator/grants", tests.grants)
    application.router.add_get("/simulator/faults", tests.faults_in_force)
    application.router.add_put("/simulator/faults", tests.put_faults)
    application.router.add_get("/simulator/clock", tests.clock)
    application.router.add_put("/simulator/clock", tests.put_clock)
    application.router.add_get("/simulator/listing", tests.listing)
    application.router.add_put("/simulator/listing", tests.put_listing)
    return application


class _ClaimRoutes:
    """Carries calls to the claim service, late where the faults say so."""

    def __init__(self, service: ClaimService, faults: Faults) -> None:
        self._service = service
        self._faults = faults

    async def production(self, request: web.Request) -> web.Response:
        return await self._answer(request, "production")

    async def sandbox(self, request: web.Request) -> web.Response:
        return await self._answer(request, "sandbox")

    async def _answer(self, request: web.Request, environment: Literal["production", "sandbox"]) -> web.Response:
        call = Call(
            environment=environment,
            capability=request.match_info["nlbm"],
            service=request.match_info["fwbm"],
            headers={name.lower(): value for name, value in request.headers.items()},
            is_json=request.content_type == "application/json",
            body=await request.read(),
        )
        delay = self._faults.settings.latency_ms / 1000
        reply = self._service.answer(call)
        # Granted first, answered late: a caller that gives up leaves a grant behind.
        await asyncio.sleep(delay)
        _end_connection(request, reply.ending)
        return _response(reply)


class _TestRoutes:
    """The listing gateway, and what only tests use."""

    def __init__(self, state: AuthorityState, faults: Faults) -> None:
        self._state = state
        self._faults = faults

    async def grants(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(row) for row in self._state.grants()])

    async def ranges(self, request: web.Request) -> web.Response:
        page = _page_number(request)
        items = self._state.listed(request.query.get("taxpayer_id") or None)
        start = (page - 1) * PAGE_SIZE
        return web.json_response(
            {
                "items": [item.model_dump() for item in items[start:][:PAGE_SIZE]],
                "page": page,
                "pages": max(1, -(-len(items) // PAGE_SIZE)),
                "total": len(items),
            }
        )

    async def faults_in_force(self, _request: web.Request) -> web.Response:
        return web.json_response(self._faults.settings.model_dump())

    async def put_faults(self, request: web.Request) -> web.Response:
        settings = await _read_form(request, FaultSettings)
        self._faults.put(settings)
        log.info("simulator-faults-set", **settings.model_dump())
        return web.json_response(settings.model_dump())

    async def clock(self, _request: web.Request) -> web.Response:
        return web.json_response({"now": self._state.now().isoformat()})

    async def put_clock(self, request: web.Request) -> web.Response:
        fields = await _read_json(request)
        if not isinstance(fields, dict) or fields.keys() != {"now"}:
            raise web.HTTPBadRequest(text='the body must be {"now": "<ISO instant>"}')
        try:
            now = self._state.set_clock(read_instant(fields["now"]))
        except ClockError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        log.info("simulator-clock-set", now=now.isoformat())
        return web.json_response({"now": now.isoformat()})

    async def listing(self, _request: web.Request) -> web.Response:
        return web.json_response(_shown(self._state.listing_edits()))

    async def put_listing(self, request: web.Request) -> web.Response:
        edits = await _read_form(request, ListingEdits)
        try:
            self._state.edit_listing(edits)
        except UnknownSerialError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.json_response(_shown(edits))


@web.middleware
async def _one_clear_line(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say in one line that nothing could be stored, and so nothing was done."""
    try:
        return await handler(request)
    except StateNotWrittenError as error:
        log.error("simulator-state-not-written", errno=error.errno)  # noqa: TRY400 -- no trace of a full disk
        return web.Response(status=500, text="the state file can't be written")


def _end_connection(request: web.Request, ending: Ending) -> None:
    transport = request.transport
    if transport is None:  # the caller went away first
        return
    if ending is Ending.RESET:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    if ending is not Ending.ANSWERED:
        transport.close()


def _response(reply: Reply) -> web.Response:
    kind = "application/json" if reply.http_status == web.HTTPOk.status_code else ""
    return web.Response(
        text=reply.text,
        status=reply.http_status,
        content_type=kind or "text/html",
        charset="utf-8",
    )


def _page_number(request: web.Request) -> int:
    text = request.query.get("page") or "1"
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_PAGE_NUMBER
    if not is_number or int(text) < 1:
        raise web.HTTPBadRequest(text="page must be a whole number from 1")
    return int(text)


async def _read_json(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error


async def _read_form(request: web.Request, form: type[Model]) -> Model:
    """Read the body as a form whose `kind`, if it has one, is none of the caller's."""
    fields = await _read_json(request)
    if isinstance(fields, dict) and "kind" in fields:
        raise web.HTTPBadRequest(text="'kind': Extra inputs are not permitted")
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        raise web.HTTPBadRequest(text=_complaint(error)) from error


def _complaint(error: ValidationError) -> str:
    """Name each bad field once, in one line of ASCII."""
    parts = (
        f"{'.'.join(str(step) for step in item['loc'])!a}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )
    return "; ".join(parts)[:LONGEST_COMPLAINT]


def _shown(edits: ListingEdits) -> dict[str, object]:
    return edits.model_dump(exclude={"kind"})
