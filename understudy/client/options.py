"""What a client is told when it is made; refused at once, with the mend, when it cannot work."""

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
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
    token: Token = field(repr=False)  # tools that report errors tell what frames hold
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
    problems = [*_url_problems(url, exposures), *_token_problems(token), *_cache_problems(cache)]
    if mode not in ("local", "remote"):
        problems.append(_problem("mode", f"{mode!r} is neither local nor remote"))
    if mode == "remote" and cache is not None:
        mend = "leave it out, or use mode='local'"
        problems.append(_problem("cache", "keeps the rules, which a remote client does not hold", mend))
    problems += _flag_set_problems(flag_set)
    for name, seconds in (("timeout", timeout), ("poll", poll)):
        if type(seconds) not in (int, float) or not 0 < seconds < float("inf"):
            problems.append(_problem(name, "is a number of seconds above 0"))
    problems += _verify_problems(verify)
    if problems:
        raise ConfigError(tuple(problems))
    return Options(
        url=url,
        token=token,
        mode=mode,
        flag_set=flag_set,
        cache=None if cache is None else Path(cache),
        timeout_seconds=timeout,
        pace=Pace(poll_seconds=poll),
        sends_exposures=exposures,
        verify=verify,
    )


def _url_problems(url: object, exposures: bool) -> list[Problem]:
    if not isinstance(url, str):
        return [_problem("url", f"is text, not {type(url).__name__}", "http://127.0.0.1:9090")]
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return [_problem("url", f"{url!r}: {error}")]
    is_plain = url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        return [_problem("url", f"{url!r} is no address of an admin API", "http://127.0.0.1:9090")]
    if parts.username is not None or parts.query or parts.fragment:
        return [_problem("url", "has a user, query or fragment", "give a token by token=")]
    if exposures and parts.scheme == "http" and not _is_loopback(host):
        message = "exposures tell who met what, and would go to another host in the clear"
        return [_problem("exposures", message, "use https://")]
    return []


def _cache_problems(cache: object) -> list[Problem]:
    if cache is None:
        return []
    if not isinstance(cache, str | os.PathLike):
        return [_problem("cache", f"is the path of a file, not {type(cache).__name__}")]
    try:
        path = Path(cache)
        is_there, is_file = path.exists(), path.is_file()
        has_folder = path.absolute().parent.is_dir() and "\0" not in str(path)
    except (OSError, TypeError) as error:
        return [_problem("cache", f"{os.fsdecode(cache)}: {error}")]
    # A pipe would never end, and a device would be replaced.
    if (is_there and not is_file) or not has_folder:
        return [_problem("cache", f"{path} is not a file in a folder that exists")]
    return []


def _token_problems(token: object) -> list[Problem]:
    if isinstance(token, str) and (what := wrong_token(token)):
        return [_problem("token", what)]
    if token is not None and not isinstance(token, str) and not callable(token):
        return [_problem("token", f"is text or a function that gives it, not {type(token).__name__}")]
    return []


def _flag_set_problems(flag_set: object) -> list[Problem]:
    if isinstance(flag_set, str) and not set("=,") & set(flag_set) and flag_set.isprintable():
        return []
    return [_problem("flag_set", "is the name of one flag set (metadata.flagSetId)")]


def _verify_problems(verify: object) -> list[Problem]:
    if isinstance(verify, bool | ssl.SSLContext):
        return []
    mend = "ssl.create_default_context(cafile=PATH)"
    return [_problem("verify", "is true, false or an ssl.SSLContext", mend)]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _problem(path: str, message: str, hint: str = "") -> Problem:
    return Problem(path=path, message=message, hint=hint)
