"""Writes of single parts of the rules document: preconditions, dry run, compare-and-set, answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.dry_run import DryRun, read_dry_run
from understudy.admin.edits import FLAGS, NOUNS, Edit, perform
from understudy.admin.entity_tags import ANY, etag, matching
from understudy.admin.flag_edits import shown
from understudy.admin.payload import JSON, MOST_RULES_BYTES, parse_body, read_body
from understudy.admin.preview import preview
from understudy.admin.references import Document, part
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, json_answer, origin, read_reason, within
from understudy.admin.rules import about
from understudy.admin.safety import SAFE_METHODS
from understudy.errors import VersionConflict
from understudy.store import StoredRules

TRIES: Final = 20
"""How often an edit that names no version is made anew because somebody else was first: each time one of
those who change the rules at once is done, so that as many pipelines all get through."""
_MOST_WORDS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which a request wants its edits: ``matches`` are the versions that it knows, None when it did not
    say, empty when any will do; ``is_new`` says that the part must not be there yet."""

    matches: tuple[int, ...] | None
    is_any: bool
    is_new: bool
    reason: str
    dry: DryRun | None


class Writer:
    """Makes edits of the rules document that a request asks for; the one way to write a part of it."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    def plane(self, request: Request) -> ControlPlane:  # noqa: ARG002 - the one place that may look at it
        """The control plane of the environment that *request* is about."""
        return self._control

    async def write(
        self,
        request: Request,
        edits: Sequence[Edit],
        *,
        action: str = "",
        reason: str = "",
    ) -> Response:
        """Make *edits*, all or none, as one version with one entry of the audit; or show what would be.

        *action* is for the audit when they are several; *reason* is what the body said.
        Raises: Refusal, ConfigError, VersionConflict, StoreError.
        """
        if request.method in SAFE_METHODS:
            # What a HEAD needs is a GET's right: a viewer's, and no page of another origin is kept from it.
            raise Refusal(405, f"{request.method} changes nothing")
        terms = read_terms(request, reason)
        control = self.plane(request)
        for turn in range(TRIES):
            stored = await within(control.newest() if turn else control.rules())
            if terms.matches and max(terms.matches) > stored.version:
                stored = await within(
                    control.newest()
                )  # the request was there before the bell of another host
            _check_terms(terms, edits, stored)
            document = await asyncio.to_thread(perform, edits, stored.document)
            if terms.dry is not None:
                return await preview(control, terms.dry, stored, document)
            words = "; ".join(edit.words for edit in edits)
            try:
                change = await within(
                    control.put_rules(
                        document,
                        expected=stored.version,
                        author=author(request),
                        origin=origin(request),
                        reason=terms.reason or _one_line(words),
                        action=action or edits[0].action,
                        target=", ".join(_targets(edits, with_action=bool(action))),
                    )
                )
            except VersionConflict:
                if terms.matches:
                    raise
                continue
            body = {**about(change.rules), "workers": change.workers, "applied": change.applied}
            is_created = not any(edit.exists(stored.document) for edit in edits)
            return json_answer(
                {**body, **_written(edits, change.rules.document)},
                status_code=201 if is_created else 200,
                headers={"ETag": etag(change.rules.version)},
            )
        detail = "others kept changing the rules meanwhile; nothing was changed, try again"
        raise Refusal(503, detail, headers={"Retry-After": "1"})


def read_terms(request: Request, reason: str = "") -> Terms:
    """The preconditions, the reason and the dry run that *request* asks for. Raises: Refusal."""
    field = request.headers.get("if-match")
    is_any = field is not None and field.strip() == ANY
    none = request.headers.get("if-none-match")
    if none is not None and none.strip() != ANY:
        raise Refusal(400, "If-None-Match of a write is *: the part must not be there yet")
    return Terms(
        matches=tuple(matching(field, weak=False)) if field is not None and not is_any else None,
        is_any=is_any,
        is_new=none is not None,
        reason=reason or read_reason(request),
        dry=read_dry_run(request),
    )


def _check_terms(terms: Terms, edits: Sequence[Edit], stored: StoredRules) -> None:
    tag = {"ETag": etag(stored.version)}
    if terms.is_new and any(edit.exists(stored.document) for edit in edits):
        raise Refusal(412, "it is there already; nothing was changed", headers=tag, actual=stored.version)
    if terms.matches is not None and stored.version not in terms.matches:
        detail = f"the rules document is at version {stored.version} by now; nothing was changed"
        raise Refusal(412, detail, headers=tag, actual=stored.version)
    is_said = terms.is_any or terms.matches is not None or terms.dry is not None
    if not is_said and any(edit.replaces and edit.exists(stored.document) for edit in edits):
        detail = 'say which version this replaces: If-Match: "12", or * for whatever is there'
        raise Refusal(428, detail, headers=tag)


def _written(edits: Sequence[Edit], document: Document) -> dict[str, Any]:
    """The part that one edit wrote, as it is now; nothing for several, or when it is gone."""
    where = edits[0].part if len(edits) == 1 else None
    if where is None or where[1] not in part(document, where[0]):
        return {}
    section, name = where
    return {NOUNS[section]: shown(document, name) if section == FLAGS else document[section][name]}


def _targets(edits: Sequence[Edit], *, with_action: bool) -> list[str]:
    return [f"{edit.action} {edit.target}".strip() if with_action else edit.target for edit in edits]


def _one_line(words: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in words)
    return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 1] + "…"


async def read_json(request: Request, *, kinds: tuple[str, ...] = (JSON,)) -> Any:
    """The body, in one of the media types *kinds*. Raises: Refusal."""
    body = await read_body(request, most_bytes=MOST_RULES_BYTES)
    return await parse_body(request, body, kinds=kinds)
