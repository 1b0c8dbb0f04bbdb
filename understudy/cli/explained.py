"""`understudy explain`: a request made of arguments, and the decision about it in words."""

import dataclasses
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from understudy.cli.frame import CommandError, ExitCode
from understudy.config import Rules
from understudy.decide import compile_rules
from understudy.messages import RequestHead

_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*\Z", re.DOTALL)


def request_head(*, path: str, method: str, host: str, fields: Sequence[str], ip: str) -> RequestHead:
    """The head that the arguments describe. Raises: CommandError when they describe none."""
    _check_path(path)
    headers = [read_field(text) for text in fields]
    named = [value for name, value in headers if name.lower() == b"host"]
    if host:
        headers.insert(0, (b"Host", os.fsencode(host)))
    elif named:
        host = named[0].decode("latin-1")
    target, _, query = path.partition("?")
    return RequestHead(
        method=method.upper(),
        path=target,
        query=query,
        headers=tuple(headers),
        host=host.lower(),
        client_ip=ip,
    )


def read_field(text: str) -> tuple[bytes, bytes]:
    """The field in a `--header` option. Raises: CommandError when it is none."""
    match = _FIELD.match(text)
    if not match or re.search(r"[\r\n\0]", match[2]):
        raise _usage(f"--header {text!r} is not a field", "for example --header 'Cookie: uid=7'")
    return match[1].encode("ascii"), os.fsencode(match[2])


def _check_path(path: str) -> None:
    """A request line holds visible ASCII alone. Raises: CommandError with what a client would send."""
    if not path.startswith("/"):
        raise _usage(f"--path {path!r} does not start with /")
    if not re.fullmatch(r"[!\"$-~]+", path):
        meant = quote(os.fsencode(path.partition("#")[0]), safe="/?%&=+!$'()*,;:@~[]")
        raise _usage(f"--path {path!r} is not as it stands in a request", f"did you mean {meant[:200]}?")


def _usage(message: str, hint: str = "") -> CommandError:
    return CommandError(message, hint, code=ExitCode.USAGE)


def explain(rules: Rules, head: RequestHead) -> dict[str, Any]:
    """Why *head* goes where it goes under *rules*, as JSON-able values."""
    compiled = compile_rules(
        flags=rules.flags,
        routes=rules.routes,
        evaluators=rules.evaluators,
        metadata=rules.metadata,
        killed=rules.killed,
        clock=time.time,
    )
    return dataclasses.asdict(compiled.explain(head))


def in_words(explanation: Mapping[str, Any]) -> dict[str, object]:
    """The lines of an *explanation*, without those that say nothing about it."""
    if explanation["reason"] == "NO_ROUTE":
        return {"route": "none matches; the answer is 404"}
    digest = explanation["hash"]
    lines = {
        "route": explanation["route"],
        "flag": explanation["flag"],
        "unit": explanation["unit"] or ("the request has none" if explanation["flag"] else ""),
        "variant": explanation["variant"],
        "reason": explanation["reason"],
        "rule": explanation["rule"],
        "key": explanation["key"],
        "hash": "" if digest is None else f"{digest} (murmur3)",
        "bucket": explanation["bucket"],
        "serve": explanation["serve"],
        "mirror": ", ".join(explanation["mirror"]),
        "control": explanation["control"] if explanation["mirror"] else "",
        "safe": explanation["safe"],
        "error": explanation["error"],
    }
    return {name: text for name, text in lines.items() if text}
