"""Name the endpoint of a request: method and path template, bounded in number. On the request's path."""

from collections.abc import Sequence
from typing import Final

from understudy.comparators.learned import Learned
from understudy.comparators.templates import Template, Templates, given_parameters

HTTP: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
METHODS: Final = HTTP | {"CALL", "ONCE"}
"""Those of HTTP; and for functions: CALL, which may be called again, ONCE, which may not."""

OTHER_METHOD: Final = "OTHER"
OTHER_PATH: Final = "(other)"
MOST_CACHED: Final = 8192
LONGEST_CACHED: Final = 1024
FIRST_FAILURE: Final = 400
BY_QUERY: Final = ""


class Endpoints:
    """``"METHOD /template"`` of requests.

    *templates* are the endpoints that compare rules, settings and an OpenAPI file name (``"GET
    /orders/{id}"``, ``"* /x"``, ``"GET /rpc?method=find"``; patterns such as ``"*"`` are passed over); of
    several that match, the one with the fewest ``{name}`` wins, then the one with the longest query.
    Other paths are learned: segments that look like data become ``{id}``, ``{uuid}``, ``{hash}``,
    ``{date}``, ``{email}`` or ``{token}``, and too many names at one place ``{name}``. After *most* learned
    endpoints, new ones are ``"METHOD (other)"``. What *before* has learned is known here too.
    """

    def __init__(
        self, templates: Sequence[str] = (), *, most: int = 500, before: "Endpoints | None" = None
    ) -> None:
        same = before is not None and before._templates.texts == tuple(templates)
        self._templates: Templates = before._templates if before and same else Templates(templates)
        self._learned: Learned = Learned(most) if before is None else before._learned
        self._openings = self._learned.openings
        self._cache: dict[tuple[str, str], str] = {}
        self._by_query: dict[tuple[str, str, str], str] = {}

    def of(self, method: str, path: str, query: str = "", status: int = 200) -> str:
        """The endpoint of a request; *path* and *query* as they came.

        *status* is the primary's: a request that failed (400 and above, or 0: no answer) is named, but
        teaches no name, so that a scanner fills nothing.
        """
        known = self._cache.get((method, path))
        return known if known else self._find(method, path, query, status)

    def _find(self, method: str, path: str, query: str, status: int) -> str:
        if (method, path) in self._cache:
            known = self._by_query.get((method, path, query))
            if known is not None:
                return known
        name, is_by_query, is_final = self._name(method, path, query, status)
        if self._openings != self._learned.openings:
            self._openings = self._learned.openings
            self._cache.clear()
            self._by_query.clear()
        if is_final and len(path) + len(query) <= LONGEST_CACHED:
            if len(self._cache) >= MOST_CACHED or len(self._by_query) >= MOST_CACHED:
                self._cache.clear()
                self._by_query.clear()
            self._cache[method, path] = BY_QUERY if is_by_query else name
            if is_by_query:
                self._by_query[method, path, query] = name
        return name

    def _name(self, method: str, path: str, query: str, status: int) -> tuple[str, bool, bool]:
        """The name, whether it hangs on the query, and whether a later request would get the same."""
        method = method if method in METHODS else OTHER_METHOD
        path = path or "/"
        is_by_query = False
        given: frozenset[tuple[str, str | None]] = frozenset()
        fitting: Sequence[Template] = self._templates.fitting(method, path)
        for template in fitting:
            if not template.query:
                return f"{method} {template.text}", is_by_query, True
            if not is_by_query:
                is_by_query, given = True, given_parameters(query)
            if given.issuperset(template.query):
                return f"{method} {template.text}", is_by_query, True
        teaches = 0 < status < FIRST_FAILURE
        name = self._learned.name(method, path, teaches=teaches)
        if name:
            return f"{method} {name}", is_by_query, True
        return f"{method} {OTHER_PATH}", is_by_query, teaches or self._learned.is_full
