"""`understudy flags stale`: flags that look finished, with why and what to do."""

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.flag_app import flag_app
from understudy.cli.flag_commands import Form, Format
from understudy.cli.frame import CommandError, complain

if TYPE_CHECKING:
    from understudy.cli.remote import AdminApi
    from understudy.transfer import Use


@flag_app.command("stale")
def list_stale_flags(
    days: Annotated[int, typer.Option("--days", min=1, max=3650, metavar="N", help="How long is long.")] = 30,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """List flags that look finished: settled, killed or archived long, ended, without route or use."""
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json
    from understudy.transfer import stale_flags

    api, now = AdminApi(admin, token), time.time()
    document = api.json(api.get("/api/v1/rules"))
    past, why_no_past = _past(api, now - days * 86_400)
    usage, why_no_usage = _usage(api, days)
    found = stale_flags(document, past=past, now=now, days=days, usage=usage)
    unknown = {"history": why_no_past, "usage": why_no_usage}
    if form is Form.JSON:
        flags = [dataclasses.asdict(one) for one in found]
        print_json(
            {"days": days, "unknown": {name: why for name, why in unknown.items() if why}, "flags": flags}
        )
        return
    for one in found:
        owner = f"  ({one.owner})" if one.owner else ""
        typer.echo(_visible(f"{one.flag}{owner}"))
        for reason in one.reasons:
            typer.echo(_visible(f"  {reason.message}\n    {reason.step}"))
    if not found:
        typer.echo("no flag looks stale")
    for name, why in unknown.items():
        if why:
            complain(f"{name} unknown: {why}", is_warning=True)


def _visible(text: str) -> str:
    from understudy.cli.screen import visible

    return "\n".join(map(visible, text.split("\n")))


def _past(api: "AdminApi", moment: float) -> tuple[dict[str, Any] | None, str]:
    """The rules document that was in force at *moment*; None, with why, when that cannot be told."""
    then = api.find(f"/api/v1/rules?at={moment:.3f}")
    return (
        (api.json(then), "")
        if then is not None
        else (None, "there are no rules of that time any more, or yet")
    )


def _usage(api: "AdminApi", days: int) -> tuple[Mapping[str, "Use"] | None, str]:
    """What was evaluated, by flag; None, with why, when that is not kept, or not for so long."""
    from understudy.transfer import Use

    try:
        told = api.json(api.get("/api/v1/usage"), key="flags")
    except CommandError:
        return None, "this admin API does not keep it"
    kept = told.get("retention_seconds") or 0
    if kept < days * 86_400:
        return None, f"it is kept for {kept / 86_400:.0f} days"
    return {one["flag"]: Use(last_at=one["last_seen"]) for one in told["flags"]}, ""
