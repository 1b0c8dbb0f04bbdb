"""Holds the rules in force: what a decision means in pools, shadows and counts.

A new rules document is compiled first and swapped whole; requests under way keep their plan.
"""

import time
from collections.abc import Callable, Collection

from understudy.comparators import CompareRule, Comparison, Endpoints
from understudy.config import Kills, Rules, Service, Settings, ShadowSettings, parse_rules
from understudy.decide import CompiledRules, Decision, compile_rules
from understudy.exposures import Meetings, Sightings
from understudy.forwarding import CREDENTIALS, FLAG_FIELD, VARIANT_FIELD
from understudy.histogram import DELTAS, Histogram, RequestStats
from understudy.messages import Head
from understudy.metrics import WorkerMetrics
from understudy.shadow import Limits, Mirror, Target
from understudy.upstream import Origin, Upstream

PoolMaker = Callable[[str, Service, str, int, Callable[[str], None]], Upstream]
"""Make the connections for a service's name, the service, a role (primary, mirror, control) and a limit;
the last is told when an origin goes out or comes back (`understudy.upstream.UpstreamMaker`)."""


class Plan:
    """One decision, made ready: everything a request needs, looked up once per rules version.

    ``decision`` says who is asked. ``assigned`` names another variant when this is the default variant
    standing in for it, else it is empty. ``fallback`` is that stand-in, while it is not needed.
    ``meetings`` is told of each request that met the variant; None without a flag.
    """

    __slots__ = (
        "assigned",
        "authority",
        "cohort",
        "control",
        "decision",
        "fallback",
        "first_byte_seconds",
        "idle_seconds",
        "meetings",
        "pool",
        "stats",
        "targets",
        "upstream",
    )

    def __init__(
        self,
        decision: Decision,
        *,
        pool: Upstream,
        service: Service,
        stats: RequestStats,
        upstream: Histogram,
        targets: tuple[Target, ...] = (),
        control: Target | None = None,
        fallback: "Plan | None" = None,
        assigned: str = "",
        meetings: Meetings | None = None,
    ) -> None:
        self.decision = decision
        self.meetings = meetings
        self.assigned = assigned
        self.fallback = fallback
        self.authority = Origin(service.all_origins[0]).authority
        self.pool = pool
        self.stats = stats
        self.upstream = upstream
        self.targets = targets
        self.control = control
        self.first_byte_seconds = service.first_byte_timeout
        self.idle_seconds = service.idle_timeout
        self.cohort = cohort_fields(decision)

    def fallen(self, wire: bytes) -> bytes:
        """The head *wire*, made for this plan, as the fallback's service is told it."""
        # No client can send these lines: its own X-Understudy- fields are removed.
        before, _, after = wire.rpartition(self.cohort)
        return before + (self.fallback.cohort if self.fallback is not None else b"") + after


def cohort_fields(decision: Decision) -> bytes:
    """The fields that tell the upstream its flag and variant; nothing for a route without a flag."""
    if not decision.flag:
        return b""
    return b"%b: %b\r\n%b: %b\r\n" % (
        FLAG_FIELD,
        decision.flag.encode("ascii"),
        VARIANT_FIELD,
        decision.variant.encode("ascii"),
    )


class Engine:
    """The brain of one worker. `decide` never raises and never waits."""

    def __init__(
        self, settings: Settings, *, mirror: Mirror, metrics: WorkerMetrics, make_pool: PoolMaker
    ) -> None:
        self._settings = settings
        self.sightings = Sightings(settings.exposures.sample)
        self._mirror = mirror
        self._metrics = metrics
        self._make_pool = make_pool
        self._pools: dict[tuple[str, str], Upstream] = {}
        self._retired: list[Upstream] = []
        self._rules: Rules | None = None
        self._compiled: CompiledRules | None = None
        self._former: CompiledRules | None = None
        """What was in force before, until errors are next collected: a thread may decide by it still."""
        self._kills = Kills()
        self._plans: list[Plan | None] = []
        self.version = 0
        self._watch()

    @property
    def pools(self) -> list[Upstream]:
        """Every pool that is in use or still has a request, for the sweeper and for shutdown."""
        return [*self._pools.values(), *self._retired]

    @property
    def services(self) -> Collection[str]:
        """The names that rules may use."""
        return self._settings.services.keys()

    def swap(self, rules: Rules, version: int, compiled: CompiledRules | None = None) -> None:
        """Put *rules* in force. Raises `UnderstudyError` when they do not compile; then nothing changes.

        *compiled* is what `compiled_rules` made of them with the kills of this host, for who has it.
        """
        if compiled is None:
            compiled = compiled_rules(rules, self._kills)
        endpoints = self._endpoints(rules, self._settings)
        self.collect_errors()
        self._rules = rules
        if compiled is not self._compiled:
            self._former = self._compiled
        self._compiled = compiled
        self._plans = []
        self._mirror.endpoints = endpoints
        self._mirror.confirming.comparison = Comparison(rules.compare)
        self.version = version
        self._metrics.rules_version = version

    def kill(self, kills: Kills) -> None:
        """Kill what *kills* says beside what the rules kill, and nothing else any more."""
        self._kills = kills
        if self._rules is not None:
            self.swap(self._rules, self.version)

    def reload(self, settings: Settings) -> None:
        """Put the services and the bounds of mirroring of *settings* in force; the rules stay.

        A service that is as before keeps its connections and counts. One that changed or went lends no
        kept connection any more; requests under way finish as they began. Raises `UnderstudyError` when
        the rules in force name a service that is gone; then nothing changes.
        """
        if self._rules is not None:
            parse_rules(self._rules.document, services=settings.services)
            if settings.endpoints != self._settings.endpoints:
                self._mirror.endpoints = self._endpoints(self._rules, settings)
        before, self._settings = self._settings, settings
        self.sightings.share = settings.exposures.sample
        for name in before.services.keys() - settings.services.keys():
            self._metrics.origins.pop(name, None)
        bounds_moved = settings.shadow.in_flight != before.shadow.in_flight
        self._retired = [pool for pool in self._retired if not pool.is_empty]
        for role, name in list(self._pools):
            is_same = settings.services.get(name) == before.services[name]
            if not is_same or (bounds_moved and role != "primary"):
                self._mirror.retire(role, name)
                pool = self._pools.pop((role, name))
                pool.retire()
                self._retired.append(pool)
        self._mirror.reload(mirror_limits(settings.shadow))
        self._plans = []
        self._watch()

    def decide(self, head: Head) -> Plan | None:
        """What to do with *head*; None when no route matches."""
        if self._compiled is None:
            return None
        decision = self._compiled.decide(head)
        if decision is None:
            return None
        return self.plan(decision)

    def plan(self, decision: Decision) -> Plan:
        """*decision*, which the rules in force made, made ready."""
        try:
            plan = self._plans[decision.index]
        except IndexError:
            plan = None
        return plan if plan is not None else self._plan(decision)

    def _endpoints(self, rules: Rules, settings: Settings) -> Endpoints:
        """How requests are named from now on; those of the settings first, so that rules rename nothing."""
        named = [*settings.endpoints.templates, *templates(rules.compare)]
        return Endpoints(named, before=self._mirror.endpoints)

    def collect_errors(self) -> None:
        """Move the rules' run-time errors into the metrics."""
        for compiled in (self._former, self._compiled):
            if compiled is not None:
                for flag, n in compiled.new_errors().items():
                    self._metrics.decide_errors[flag] += n
        self._former = None

    def _plan(self, decision: Decision) -> Plan:
        fallback = self._fallback(decision)
        if fallback is not None and self._pool("primary", decision.serve).is_out:
            plan = fallback
        else:
            plan = Plan(
                decision,
                pool=self._pool("primary", decision.serve),
                service=self._settings.services[decision.serve],
                stats=self._metrics.request_stats(
                    (decision.route, decision.flag, decision.variant, decision.serve)
                ),
                upstream=self._metrics.histogram(self._metrics.upstream, decision.serve),
                targets=tuple(self._target("mirror", name) for name in decision.mirror),
                control=self._target("control", decision.control) if decision.mirror else None,
                fallback=fallback,
                meetings=self._meetings(decision),
            )
        self._plans += [None] * (decision.index + 1 - len(self._plans))
        self._plans[decision.index] = plan
        return plan

    def _fallback(self, decision: Decision) -> Plan | None:
        """The default variant standing in for that of *decision*; it mirrors nothing, since its answers
        are no evidence on what the variant would have mirrored. A killed flag's safe variant has none.
        """
        other = decision.fallback
        if other is None or other.serve == decision.serve or decision.reason == "KILLED":
            return None
        return Plan(
            other,
            pool=self._pool("primary", other.serve),
            service=self._settings.services[other.serve],
            stats=self._metrics.fallback_stats(
                (decision.route, decision.flag, decision.variant, other.variant, other.serve)
            ),
            upstream=self._metrics.histogram(self._metrics.upstream, other.serve),
            assigned=decision.variant,
            meetings=self._meetings(other),
        )

    def _meetings(self, decision: Decision) -> Meetings | None:
        return self.sightings.meetings(decision.flag, decision.variant) if decision.flag else None

    def _pool(self, role: str, name: str) -> Upstream:
        pool = self._pools.get((role, name))
        if pool is None:
            service = self._settings.services[name]
            limit = service.connections if role == "primary" else self._settings.shadow.in_flight
            pool = self._make_pool(name, service, role, limit, lambda event: self._on_health(name, event))
            self._pools[role, name] = pool
            self._count_origins(name)
        return pool

    def _watch(self) -> None:
        """Begin the active checks of all services that have them: a first request shall find a verdict."""
        for name, service in self._settings.services.items():
            if service.health is not None:
                self._pool("primary", name)

    def _on_health(self, name: str, event: str) -> None:
        """An origin of service *name* went out or came back: plans are made anew, some with fallbacks."""
        if event == "ejected":
            self._metrics.ejections[name] += 1
        self._count_origins(name)
        self._plans = []

    def _count_origins(self, name: str) -> None:
        """How many of the service's origins are up, in the role that sees the fewest."""
        upstreams = [upstream for (_, known), upstream in self._pools.items() if known == name]
        up = [sum(pool.health.is_up for pool in upstream.pools) for upstream in upstreams]
        if up:
            self._metrics.origins[name] = min(up)

    def _target(self, role: str, name: str) -> Target:
        target = self._mirror.targets.get((role, name))
        if target is None:
            service = self._settings.services[name]
            shared = self._metrics.histogram
            target = Target(
                service=name,
                role=role,
                pool=self._pool(role, name),
                in_flight_limit=self._settings.shadow.in_flight,
                stripped=frozenset() if role == "control" else stripped_fields(service),
                own_lines=own_lines(service) if role == "mirror" else b"",
                deltas=shared(self._metrics.delta, name, DELTAS) if role == "mirror" else Histogram(DELTAS),
            )
            self._mirror.targets[role, name] = target
        return target


def compiled_rules(rules: Rules, kills: Kills | None = None) -> CompiledRules:
    """*rules*, which were checked as they were read, ready to decide. Raises `UnderstudyError`.

    *kills* come beside what the rules kill.
    """
    killed = rules.killed if kills is None else kills.among(rules).union(rules.killed)
    return compile_rules(
        flags=rules.flags,
        routes=rules.routes,
        evaluators=rules.evaluators,
        metadata=rules.metadata,
        killed=killed,
        clock=time.time,
        are_checked=True,
    )


def mirror_limits(shadow: ShadowSettings) -> Limits:
    """The bounds of all mirroring of one worker."""
    return Limits(
        control_share=shadow.control,
        timeout_seconds=shadow.timeout,
        budget_bytes=shadow.budget_bytes,
        cap_bytes=shadow.body_cap_bytes,
        confirm=shadow.confirm,
    )


def stripped_fields(service: Service) -> frozenset[bytes]:
    """Which fields of a copy *service* may not see, or gets replaced. Lower case."""
    allowed = {dashed(name) for name in service.forward_credentials}
    replaced = {dashed(name) for name in service.set_headers}
    if not allowed and not replaced:
        return CREDENTIALS
    return frozenset((CREDENTIALS - allowed) | replaced)


def dashed(name: str) -> bytes:
    """A field name as it is compared: lower case, ``_`` as ``-``, because WSGI and CGI merge the two."""
    return name.lower().replace("_", "-").encode("latin-1")


def own_lines(service: Service) -> bytes:
    """The fields that *service* is given on every copy, as lines."""
    return b"".join(
        b"%b: %b\r\n" % (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in service.set_headers.items()
    )


def templates(rules: tuple[CompareRule, ...]) -> list[str]:
    """The endpoint templates that compare rules name, in their order."""
    return [rule.endpoint for rule in rules]
