"""The admin API as the command line uses it: one request, one answer, every failure in words."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from understudy.cli.frame import CommandError, ExitCode
from understudy.errors import ConfigError, Problem

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 15.0
"""A change waits a second for the workers; a report over much evidence takes a few."""


class VersionMoved(CommandError):
    """The rules are at another version than the one that was named: ``actual``; 0 when nobody said."""

    def __init__(self, message: str, hint: str, *, actual: int) -> None:
        self.actual = actual
        super().__init__(message, hint)


class AdminApi:
    """Requests to the admin API at *url* (``http://127.0.0.1:9090``)."""

    def __init__(self, url: str, token: str = "") -> None:
        """*token* is shown with every request. Raises: CommandError."""
        self.url = _checked(url)
        self._headers = _header(token)

    def get(self, path: str) -> httpx.Response:
        """The answer to GET *path*. Raises: CommandError."""
        return self._ask("GET", path)

    def find(self, path: str) -> httpx.Response | None:
        """The answer to GET *path*; None when there is nothing of that name. Raises: CommandError."""
        answer = self._sent("GET", path)
        if answer.status_code == 404 and _is_problem(answer):
            return None
        return self._checked(answer)

    def put(self, path: str, document: object, *, if_match: str, reason: str) -> httpx.Response:
        """The answer to PUT *path*. Raises: CommandError, ConfigError when the document is refused."""
        parameters = {"reason": reason} if reason else {}
        return self._ask("PUT", path, json=document, headers={"If-Match": if_match}, params=parameters)

    def change(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        version: int | None,
        reason: str = "",
        is_dry: bool = False,
    ) -> httpx.Response:
        """The answer to *method* *path* for whoever saw *version* of the rules; None: the part is to be new.

        A dry one asks what would be. Raises: CommandError, VersionMoved, ConfigError when it is refused.
        """
        headers = {"If-None-Match": "*"} if version is None else {"If-Match": f'"{version}"'}
        parameters = {**({"reason": reason} if reason else {}), **({"dry_run": "true"} if is_dry else {})}
        return self._ask(method, path, json=document, headers=headers, params=parameters)

    def post(self, path: str, document: object, *, if_match: str = "") -> httpx.Response:
        """The answer to POST *path*. Raises: CommandError, ConfigError."""
        headers = {"If-Match": if_match} if if_match else {}
        return self._ask("POST", path, json=document, headers=headers)

    def delete(self, path: str, **parameters: str) -> httpx.Response:
        """The answer to DELETE *path*. Raises: CommandError."""
        return self._ask("DELETE", path, params=parameters)

    def stream(self, path: str, document: object) -> Iterator[bytes]:
        """The pieces of the answer to POST *path*, as they come. Raises: CommandError before the first,
        httpx.TransportError when it breaks off."""
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        with self._client(timeout) as client:
            try:
                answer = client.send(client.build_request("POST", path, json=document), stream=True)
            except httpx.TransportError as error:
                raise self._unreachable(_why(error)) from None
            try:
                if not answer.is_success:
                    answer.read()
                    self._refuse(answer)
                yield from answer.iter_bytes()
            finally:
                answer.close()

    def _client(self, timeout: httpx.Timeout) -> httpx.Client:
        # No environment proxies: the address says who is asked, and the token goes to nobody else.
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, headers=self._headers)

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self._checked(self._sent(method, path, **request))

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_success:
            self._refuse(answer)
        return answer

    def _sent(self, method: str, path: str, **request: Any) -> httpx.Response:
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        try:
            with self._client(timeout) as client:
                return client.request(method, path, **request)
        except httpx.TransportError as error:
            raise self._unreachable(_why(error)) from None
        except httpx.HTTPError as error:
            raise self._unreachable(str(error)) from None

    def _unreachable(self, why: str) -> CommandError:
        hint = "is `understudy serve` running? Another address: --admin URL, or UNDERSTUDY_ADMIN"
        return CommandError(f"no answer from {self.url}: {why}", hint, code=ExitCode.UNREACHABLE)

    def _refuse(self, answer: httpx.Response) -> None:
        body = _json(answer)
        problem = body if isinstance(body, Mapping) else {}
        if not _is_problem(answer):
            hint = "check --admin URL, or UNDERSTUDY_ADMIN"
            what = f"{self.url} is no admin API of Understudy: it answered {answer.status_code}"
            raise CommandError(what, hint, code=ExitCode.UNREACHABLE)
        problems = tuple(_problems(problem.get("errors")))
        if problems:
            raise ConfigError(problems)
        detail = str(problem.get("detail") or problem.get("title") or answer.status_code)
        if answer.status_code == 412:
            actual = problem.get("actual")
            hint = _hint(412, problem)
            raise VersionMoved(detail, hint, actual=actual if isinstance(actual, int) else 0)
        code = ExitCode.UNREACHABLE if answer.status_code >= 500 else ExitCode.REFUSED
        raise CommandError(detail, _hint(answer.status_code, problem), code=code)

    def version(self, answer: httpx.Response) -> int:
        """The version of the rules that *answer* is of. Raises: CommandError."""
        tag = answer.headers.get("etag", "")
        text = tag.strip().removeprefix("W/").strip('"')
        if not (text.isascii() and text.isdigit()):
            raise CommandError(f"the admin API named no version: ETag {tag!r}", code=ExitCode.UNREACHABLE)
        return int(text)

    def json(self, answer: httpx.Response, *, key: str = "") -> dict[str, Any]:
        """The JSON object in *answer*; one of ours holds *key*, if given. Raises: CommandError."""
        body = _json(answer)
        if not isinstance(body, dict) or (key and key not in body):
            hint = "check --admin URL, or UNDERSTUDY_ADMIN"
            what = f"names no {key}" if key and isinstance(body, dict) else "is no JSON object"
            message = f"{self.url} is no admin API of Understudy: its answer {what}"
            raise CommandError(message, hint, code=ExitCode.UNREACHABLE)
        return body


def _is_problem(answer: httpx.Response) -> bool:
    return "application/problem+json" in answer.headers.get("content-type", "")


def _header(token: str) -> dict[str, str]:
    """The field that shows *token*; none for an empty one. Raises: CommandError."""
    text = token.strip()
    if not text:
        return {}
    if not (text.isascii() and text.isprintable()) or " " in text:
        hint = "one line, as `understudy token create` printed it"
        raise CommandError("--token is no API token", hint, code=ExitCode.USAGE)
    return {"Authorization": f"Bearer {text}"}


def _checked(url: str) -> str:
    """*url* without a slash at its end. Raises: CommandError when it is no http URL."""
    example = "for example http://127.0.0.1:9090"
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise CommandError(f"--admin {url!r}: {error}", example, code=ExitCode.USAGE) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise CommandError(f"--admin {url!r} is no http URL", example, code=ExitCode.USAGE)
    return url.rstrip("/")


def _why(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {ANSWER_SECONDS:g} s"
    return " ".join(str(error).split()) or type(error).__name__


def _json(answer: httpx.Response) -> object:
    try:
        body: object = answer.json()
    except ValueError:
        return None
    return body


def _problems(errors: object) -> list[Problem]:
    entries = errors if isinstance(errors, list) else []
    return [
        Problem(
            path=str(entry.get("path", "")),
            message=str(entry.get("message", "")),
            hint=str(entry.get("hint", "")),
        )
        for entry in entries
        if isinstance(entry, Mapping)
    ]


def _hint(status: int, problem: Mapping[str, Any]) -> str:
    if status == 401:
        return "show an API token: --token TOKEN, or UNDERSTUDY_TOKEN"
    known = problem.get("known")
    if status == 404 and isinstance(known, list) and known:
        return "there are " + ", ".join(map(str, known[:20]))
    if status == 412:
        return "somebody changed the rules since: get them again, or replace any with --if-match '*'"
    return ""
