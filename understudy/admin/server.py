"""The admin server as one ASGI application: which path leads to which endpoint."""

import asyncio
import time
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from understudy.admin.access import AccessEndpoints
from understudy.admin.bulk import BulkEndpoints
from understudy.admin.compare import CompareEndpoints
from understudy.admin.control import ControlPlane
from understudy.admin.decide import DecideEndpoints
from understudy.admin.decider import Decider
from understudy.admin.environment_endpoints import EnvironmentEndpoints
from understudy.admin.environments import Environments
from understudy.admin.events import EventEndpoints
from understudy.admin.evidence import EvidenceEndpoints, EvidencePlane
from understudy.admin.exposures import ExposureEndpoints, ExposurePlane
from understudy.admin.flag_resources import FlagResources
from understudy.admin.flag_route import ActionRoute, FlagRoute
from understudy.admin.flags import FlagEndpoints
from understudy.admin.gates import guard_routes
from understudy.admin.guard import Guard
from understudy.admin.health import HealthEndpoints
from understudy.admin.keyring import Keyring
from understudy.admin.ofrep import EVENTS_PATH, OfrepEndpoints
from understudy.admin.ofrep_counts import OfrepCounts
from understudy.admin.ofrep_events import OfrepEventEndpoints
from understudy.admin.ofrep_origins import SharedOrigins
from understudy.admin.openapi import OpenApiEndpoints
from understudy.admin.problems import HANDLED, answer
from understudy.admin.processes import ProcessEndpoints
from understudy.admin.recordings import RecordingEndpoints, RecordingPlane
from understudy.admin.report import ReportEndpoints
from understudy.admin.routes import RouteEndpoints
from understudy.admin.rules import RulesEndpoints
from understudy.admin.samples import SampleEndpoints
from understudy.admin.segments import SegmentEndpoints
from understudy.admin.services import ServiceEndpoints
from understudy.admin.stream_socket import STREAM_PATH, StreamSocket
from understudy.admin.suggestions import SuggestionEndpoints
from understudy.admin.sync import SyncEndpoints
from understudy.admin.versions import VersionEndpoints
from understudy.admin.writing import Writer
from understudy.store import MemoryAccess

_ANY_WRITE = ["GET", "POST", "PUT", "PATCH", "DELETE"]
"""Where writing is answered with the reason why there is none."""

ENVIRONMENT = "/api/v1/environments/{environment}"


def create_admin(
    control: ControlPlane,
    *,
    hosts: Collection[str] = (),
    stopping: asyncio.Event | None = None,
    recordings: RecordingPlane | None = None,
    evidence: EvidencePlane | None = None,
    origins: Collection[str] = (),
    keyring: Keyring | None = None,
    exposures: ExposurePlane | None = None,
    counts: OfrepCounts | None = None,
    environments: Environments | None = None,
) -> Starlette:
    """Return the admin server in front of *control*, to be run by any ASGI server.

    Who may do what stands in ``rights``; callers are told apart by *keyring*. Without one there are no
    tokens, and every caller on this machine may do everything. Bind it to a loopback address: tokens must not
    travel over a network in the clear. Host fields other than ``localhost``,
    names below ``.localhost``, addresses and *hosts* (names without port) are refused with 421, except
    on the probes; writes that a browser calls cross-site are refused with 403, except that pages of
    *origins* may evaluate flags. Once *stopping* is set, no stream of events keeps the server from ending.
    """
    keys = keyring or Keyring(MemoryAccess(), tokens=())
    writer = Writer(control)
    health, rules = HealthEndpoints(control, keys), RulesEndpoints(control)
    flags, report = FlagEndpoints(control), ReportEndpoints(control, keys)
    resources, segments, bulk = FlagResources(writer), SegmentEndpoints(writer), BulkEndpoints(writer)
    described = OpenApiEndpoints()
    routed, services = RouteEndpoints(writer), ServiceEndpoints(control)
    processes, suggested = ProcessEndpoints(control), SuggestionEndpoints(control)
    samples, compare = SampleEndpoints(control), CompareEndpoints(control)
    events = EventEndpoints(control, ended=keys.ended, stopping=stopping)
    recorded, told = RecordingEndpoints(recordings), EvidenceEndpoints(evidence)
    decider = Decider(control, clock=time.time)
    met = ExposureEndpoints(control, exposures)
    sync = SyncEndpoints(control)
    decide, ofrep = DecideEndpoints(decider, exposures), OfrepEndpoints(decider, exposures, counts)
    turns = OfrepEventEndpoints(control, ended=keys.ended, stopping=stopping)
    stream = StreamSocket(control, ended=keys.ended, stopping=stopping)
    if counts is not None:
        counts.watch("sse", turns.room)
        counts.watch("websocket", stream.room)
        counts.watch("report", events.room)
    access, versions = AccessEndpoints(keys), VersionEndpoints(control)
    beside = EnvironmentEndpoints(environments)
    app = Starlette(
        routes=guard_routes(
            [
                Route("/healthz", health.healthz),
                Route("/readyz", health.readyz),
                Route("/metrics", health.metrics),
                Route("/api/v1/rules", rules.document, methods=["GET", "PUT"]),
                Route("/api/v1/rules/history", rules.history),
                Route("/api/v1/rules/suggestions", suggested.suggestions),
                Route("/api/v1/rules/{version}", versions.document),
                Route("/api/v1/rules/{version}/diff/{other}", versions.diff),
                Route("/api/v1/rules/{version}/restore", versions.restore, methods=["POST"]),
                Route("/api/v1/flags", resources.flags),
                ActionRoute("/api/v1/flags/{key:path}/kill", flags.kill, methods=["POST"]),
                ActionRoute("/api/v1/flags/{key:path}/revive", flags.revive, methods=["POST"]),
                ActionRoute("/api/v1/flags/{key:path}/weights", resources.weights, methods=["POST"]),
                ActionRoute("/api/v1/flags/{key:path}/restore", resources.restore, methods=["POST"]),
                ActionRoute("/api/v1/flags/{key:path}/history", resources.history, methods=["GET"]),
                FlagRoute(
                    "/api/v1/flags/{key:path}", resources.flag, methods=["GET", "PUT", "PATCH", "DELETE"]
                ),
                Route("/api/v1/segments", segments.segments),
                Route(
                    "/api/v1/segments/{name:path}",
                    segments.segment,
                    methods=["GET", "PUT", "PATCH", "DELETE"],
                ),
                Route("/api/v1/routes", routed.routes, methods=["GET", "PUT", "POST"]),
                Route("/api/v1/routes/{place:path}", routed.route, methods=["GET", "PUT", "PATCH", "DELETE"]),
                Route("/api/v1/services", services.services, methods=_ANY_WRITE),
                Route("/api/v1/services/{name}", services.service, methods=_ANY_WRITE),
                Route("/api/v1/openapi.json", described.document),
                Route("/api/v1/bulk", bulk.bulk, methods=["POST"]),
                Route("/api/v1/reload", processes.reload, methods=["POST"]),
                Route("/api/v1/restart", processes.restart, methods=["POST"]),
                Route("/api/v1/report", report.report, methods=["GET", "DELETE"]),
                Route("/api/v1/report.html", report.file),
                Route("/api/v1/samples", samples.forget, methods=["DELETE"]),
                Route("/api/v1/samples/{id}", samples.sample),
                Route("/samples/{id}", samples.page),
                Route("/api/v1/report/events", events.events),
                Route("/api/v1/compare", compare.change, methods=["POST", "DELETE"]),
                Route("/api/v1/recordings", recorded.recordings, methods=["POST", "DELETE"]),
                Route("/api/v1/evidence", told.evidence, methods=["GET", "POST"]),
                Route("/api/v1/decide/{flag}/{unit:path}", decide.decide),
                Route("/api/v1/exposures", met.exposures, methods=["POST", "DELETE"]),
                Route("/api/v1/usage", met.usage),
                Route("/api/v1/sync/flags.json", sync.definition),
                Route("/ofrep/v1/evaluate/flags", ofrep.flags, methods=["POST"]),
                Route("/ofrep/v1/evaluate/flags/", ofrep.flags, methods=["POST"]),
                Route("/ofrep/v1/evaluate/flags/{key:path}", ofrep.flag, methods=["POST"]),
                Route(EVENTS_PATH, turns.events),
                Route(STREAM_PATH, stream.upgrade),
                WebSocketRoute(STREAM_PATH, stream.listen),
                Route("/static/{name}", report.static),
                Route("/", report.page),
                Route("/api/v1/access", access.access),
                Route("/api/v1/session", access.session, methods=["POST", "DELETE"]),
                Route("/api/v1/tokens", access.tokens, methods=["GET", "POST"]),
                Route("/api/v1/tokens/{selector}", access.revoke, methods=["DELETE"]),
                Route("/api/v1/audit", access.audit),
                Route("/api/v1/environments", beside.known),
                Route(f"{ENVIRONMENT}/rules", beside.rules, methods=["GET", "PUT"]),
                Route(f"{ENVIRONMENT}/rules/history", beside.history),
                Route(f"{ENVIRONMENT}/rules/{{version}}", beside.version),
                Route(f"{ENVIRONMENT}/rules/{{version}}/diff/{{other}}", beside.diff),
                Route(f"{ENVIRONMENT}/rules/{{version}}/restore", beside.restore, methods=["POST"]),
                Route(
                    f"{ENVIRONMENT}/flags/{{key:path}}/promotion", beside.promotion, methods=["GET", "POST"]
                ),
            ],
            keys,
        ),
        middleware=[Middleware(SharedOrigins, origins=origins), Middleware(Guard, hosts=hosts)],
        exception_handlers=dict.fromkeys(HANDLED, answer),
    )
    # A redirect would be built from the Host field, and hide a typing error.
    app.router.redirect_slashes = False
    described.routes = tuple(route for route in app.routes if isinstance(route, Route))
    return app
