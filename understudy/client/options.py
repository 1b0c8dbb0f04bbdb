"""What a client is told when it is made; refused at once, with the mend, when it cannot work."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from understudy.client.feed import Pace
from understudy.client.wire import Token, wrong_token
from understudy.errors import ConfigError, Problem

Mode = Literal["local", "remote"]
CachePath = str | os.PathLike[str] | None
TIMEOUT_SECONDS: Final = 5.0
"""For the head of an answer, and each piece of its body: as long as an operation of the store may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """See Client, whose arguments these are."""

    url: str
    token: Token
    mode: Mode
    flag_set: str
    cache: Path | None
    timeout_seconds: float
    pace: Pace
    sends_exposures: bool
    verify: ssl.SSLContext | bool


def read_options(
    url: str,
    *,
    token: Token,
    mode: Mode,
    flag_set: str,
    cache: CachePath,
    timeout: float,
    poll: float,
    exposures: bool,
    verify: ssl.SSLContext | bool,
) -> Options:
    """The options that these arguments say. Raises: ConfigError with everything that is wrong."""
    problems = [*_url_problems(url, exposures), *_token_problems(token)]
    if mode not in ("local", "remote"):
        problems.append(_problem("mode", f"{mode!r} is neither local nor remote"))
    if mode == "remote" and cache is not None:
        mend = "leave it out, or use mode='local'"
        problems.append(_problem("cache", "keeps the rules, which a remote client does not hold", mend))
    if "=" in flag_set or "," in flag_set or not flag_set.isprintable():
        problems.append(_problem("flag_set", "is the name of one flag set (metadata.flagSetId)"))
    for name, seconds in (("timeout", timeout), ("poll", poll)):
        if not 0 < seconds < float("inf"):
            problems.append(_problem(name, "is a number of seconds above 0"))
    path = None if cache is None else Path(cache)
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        problems.append(_problem("cache", f"{path} is not a file in a folder that exists"))
    if problems:
        raise ConfigError(tuple(problems))
    return Options(
        url=url,
        token=token,
        mode=mode,
        flag_set=flag_set,
        cache=path,
        timeout_seconds=timeout,
        pace=Pace(poll_seconds=poll),
        sends_exposures=exposures,
        verify=verify,
    )


def _url_problems(url: str, exposures: bool) -> list[Problem]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return [_problem("url", f"{url!r}: {error}")]
    if parts.scheme not in ("http", "https") or not host:
        return [_problem("url", f"{url!r} is no address of an admin API", "http://127.0.0.1:9090")]
    if parts.username is not None or parts.query or parts.fragment:
        return [_problem("url", "has a user, query or fragment", "give a token by token=")]
    if exposures and parts.scheme == "http" and not _is_loopback(host):
        message = "exposures tell who met what, and would go to another host in the clear"
        return [_problem("exposures", message, "use https://")]
    return []


def _token_problems(token: object) -> list[Problem]:
    if isinstance(token, str) and (what := wrong_token(token)):
        return [_problem("token", what)]
    if token is not None and not isinstance(token, str) and not callable(token):
        return [_problem("token", f"is text or a function that gives it, not {type(token).__name__}")]
    return []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _problem(path: str, message: str, hint: str = "") -> Problem:
    return Problem(path=path, message=message, hint=hint)
