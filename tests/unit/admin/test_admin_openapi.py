"""The description of the admin API: it has every route, and no answer is another than it says."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
import schemathesis
from admin_book import SERVICES, BookControl, serving
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from understudy.admin import Environments, Keyring, create_admin
from understudy.admin.exposures import Met
from understudy.admin.openapi import openapi
from understudy.admin.openapi_table import OPERATIONS
from understudy.admin.recordings import Wanted
from understudy.admin.rights import RIGHTS
from understudy.store import FlagUsage, MemoryAccess

EXAMPLES = 8
"""Requests for each operation, about half of them invalid."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


class Plane:
    """Records nothing, shortly."""

    def record(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        yield b'{"log": {}}'

    def end_recording(self) -> bool:
        return False


class Exposures:
    """Keeps nothing."""

    share = 1.0
    retention_seconds = 60.0

    def see(self, flag: str, variant: str, unit: str) -> None:
        """Nobody looks."""

    async def add(self, met: Sequence[Met], *, batch: str) -> bool:
        return True

    async def usage(self, *, flag: str | None) -> list[FlagUsage]:
        return []

    async def forget(self, *, unit: str, author: str = "", origin: str = "") -> int:
        return 0


async def fresh(scope: Scope, receive: Receive, send: Send) -> None:
    """An admin server that has seen no other request; its streams end at once."""
    control = BookControl()
    await control.begin()
    stopping = asyncio.Event()
    stopping.set()
    keyring = Keyring(MemoryAccess(), tokens=())
    app = create_admin(
        control,
        hosts=["testserver"],
        stopping=stopping,
        recordings=Plane(),
        keyring=keyring,
        exposures=Exposures(),
        environments=Environments(control.store, control, services=lambda: SERVICES),
    )
    await app({**scope, "client": ("127.0.0.1", 50123)}, receive, send)


def routes() -> list[Route]:
    """All that there are."""
    return [route for route in create_admin(BookControl()).routes if isinstance(route, Route)]


def test_every_method_of_every_route_is_described_and_no_other() -> None:
    """A new endpoint fails here until somebody has said what it answers (`openapi_table`)."""
    described = {(path, method) for path, row in OPERATIONS.items() for method in row}
    served = {(route.path, method) for route in routes() for method in (route.methods or ())}
    assert described == {(path, method) for path, method in served if method != "HEAD"}
    assert described == {(path, method) for path, row in RIGHTS.items() for method in row}


def test_the_document_refers_to_what_it_has_and_has_what_it_refers_to() -> None:
    """No schema is missing, none is left over."""
    document = openapi(routes())

    def named(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(named, node)) if node else set()
        if not isinstance(node, dict):
            return set()
        own = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(named, node.values()))

    assert named(document) == set(document["components"]["schemas"])
    names = [operation["operationId"] for row in document["paths"].values() for operation in row.values()]
    assert len(names) == len(set(names))
    assert all(operation["summary"] for row in document["paths"].values() for operation in row.values())


async def test_the_document_is_served_with_a_tag() -> None:
    """So that a client that has it gets 304."""
    async with serving(BookControl()) as api:
        answer = await api.get("/api/v1/openapi.json")
        known = {"If-None-Match": answer.headers["etag"]}
        assert (answer.status_code, answer.json()["openapi"]) == (200, "3.1.0")
        assert (await api.get("/api/v1/openapi.json", headers=known)).status_code == 304


DOCUMENT = schemathesis.openapi.from_asgi("/api/v1/openapi.json", fresh)
FOUND = [found.ok() for found in DOCUMENT.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("operation", FOUND, ids=lambda operation: str(operation.label))
def test_no_answer_is_another_than_the_document_says(operation: Any) -> None:
    """Whatever is asked, valid or not: no 5xx, no status, media type or shape that is not described."""

    @seed(1)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )
    )
    def asked(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    asked()
