"""What was decided for a request, as the application sees it."""

from typing import Any, Final

from mypy_extensions import mypyc_attr

from understudy.decide import Decision as Route
from understudy.decide import Evaluation
from understudy.messages import Head
from understudy.middleware.hop import Hop
from understudy.middleware.in_force import InForce
from understudy.middleware.rehearsing import rehearsing
from understudy.middleware.request import NO_REQUEST, AsgiRequest, Scope

KEY: Final = "understudy"
"""Where the decision stands in a scope, and in its state."""


class Decision:
    """The variant of the request's route, and of any other flag asked for the same request and unit.

    Found in ``scope["understudy"]`` and ``request.state.understudy``. All answers are by one version of the
    rules, ``version``, also while others come into force.

    Who asks for another flag than the route's has met it (an exposure), unless the request only *rehearses*.
    """

    __slots__ = ("_head", "_in_force", "_rehearses", "_route")

    def __init__(self, in_force: InForce, head: Head, route: Route | None, rehearses: bool = False) -> None:
        self._in_force = in_force
        self._head = head
        self._route = route
        self._rehearses = rehearses

    def __repr__(self) -> str:
        return f"<Decision flag={self.flag!r} variant={self.variant!r} reason={self.reason}>"

    def __copy__(self) -> "Decision":
        return self

    def __deepcopy__(self, _known: dict[int, Any]) -> "Decision":
        """Itself: some middleware copies the whole scope, and the rules are no part of that."""
        return self

    @property
    def head(self) -> Head:
        """The request, as it came."""
        return self._head

    @property
    def flag(self) -> str:
        """The flag that the request's route consults; empty when it consults none."""
        return "" if self._route is None else self._route.flag

    @property
    def variant(self) -> str:
        """The variant that the request meets; empty without a flag."""
        return "" if self._route is None else self._route.variant

    @property
    def reason(self) -> str:
        """STATIC, DEFAULT, TARGETING_MATCH, DISABLED, ERROR, KILLED, ROUTE (no flag) or NO_ROUTE."""
        return "NO_ROUTE" if self._route is None else self._route.reason

    @property
    def route(self) -> str:
        """The route's name or path; empty when no route matches."""
        return "" if self._route is None else self._route.route

    @property
    def version(self) -> int:
        """The version of the rules that decided; 0 for those of the configuration itself."""
        return self._in_force.version

    @property
    def unit(self) -> str:
        """What was hashed to choose the variant; empty when the request has none."""
        route = self._route
        return "" if route is None or route.unit is None else route.unit(self.head) or ""

    def variant_of(self, flag: str) -> str:
        """The variant of *flag* for this request; empty when it has none or is not known."""
        route = self._route
        if route is not None and route.flag == flag:
            return route.variant
        return self.evaluate(flag).variant

    def value(self, flag: str, default: Any = None) -> Any:
        """The value of *flag* for this request; *default* when it has none or is not known."""
        found = self.evaluate(flag)
        return found.value if found.variant else default

    def is_enabled(self, flag: str, *, default: bool = False) -> bool:
        """Whether the value of *flag* is true; *default* when it is no boolean or not known."""
        value = self.evaluate(flag).value
        return value if isinstance(value, bool) else default

    def evaluate(self, flag: str) -> Evaluation:
        """What *flag* answers for this request, with reason, error code and metadata. Never raises."""
        route = self._route
        in_force = self._in_force
        found = in_force.flags.evaluate(flag, self.head, "" if route is None else route.unit_at)
        sightings = in_force.sightings
        if sightings is None or not found.variant or found.error_code or self._rehearses or rehearsing.get():
            return found
        if route is None or route.flag != flag:  # that of the route is counted with the request
            sightings.meetings(flag, found.variant).see(route, self.head)
        return found


@mypyc_attr(free_list_len=1)
class PlainDecision(Decision):
    """Of a request that no flag decides, with *raw* as its path.

    Few are asked anything, so what was given is kept as it came, and the head is made of it when it is asked
    for.
    """

    __slots__ = ("_client", "_fields", "_hop", "_known", "_method", "_query", "_raw")

    def __init__(
        self, in_force: InForce, route: Route | None, hop: Hop, raw: bytes | str, given: dict[str, Any]
    ) -> None:
        super().__init__(in_force, NO_REQUEST, route)
        self._hop = hop
        self._raw = raw
        self._method: str = given["method"]
        self._client: Any = given.get("client")
        self._query: Any = given.get("query_string", b"")
        fields = given["headers"]
        self._fields: Any = fields.copy() if type(fields) is list else fields
        self._known: Scope | None = hop.known(given) if hop.believes else None

    @property
    def head(self) -> Head:
        head = self._head
        if head is NO_REQUEST:
            head = self._head = self._made()
        return head

    def _made(self) -> Head:
        head = AsgiRequest(
            {
                "method": self._method,
                "client": self._client,
                "path": self._raw,
                "query_string": self._query,
                "headers": self._fields,
            }
        )
        if self._known is not None:
            self._hop.believe(head, self._known)
        return head


def put(scope: Scope, decision: Decision) -> None:
    """Let the application see *decision*."""
    scope[KEY] = decision
    state = scope["state"] if "state" in scope else None  # noqa: SIM401  no method is called for it
    if state is None:
        scope["state"] = {KEY: decision}
    else:
        state[KEY] = decision
