"""flagd's HTTP sync: a definition to be fetched, again and again for next to nothing."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.decider import in_force
from understudy.admin.definition import Definitions
from understudy.admin.ofrep_request import Unanswerable, selector, tagged
from understudy.admin.refusal import Refusal

_CACHING: Final = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding, Flagd-Selector"}


class SyncEndpoints:
    """``GET /api/v1/sync/flags.json``, from the rules in force."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._definitions = Definitions()

    async def definition(self, request: Request) -> Response:
        """The flagd definition; 304 when If-None-Match has it. Routes and compare rules are not in it.

        `whole=true`: flags with prerequisites too, and which are killed. X-Understudy-Version is the version
        of the rules, X-Understudy-Stored-At when it was stored (seconds since 1970).
        """
        try:
            chosen = selector(request.headers.get("flagd-selector", ""))
        except Unanswerable as error:
            raise Refusal(400, error.details) from None
        current = in_force(self._control)
        is_whole = request.query_params.get("whole") == "true"
        found = self._definitions.of(current, chosen, is_whole=is_whole)
        about = {"X-Understudy-Version": str(current.version), "X-Understudy-Stored-At": f"{current.at:.6f}"}
        return tagged(request, found.body, found.digest, headers={**_CACHING, **about})
