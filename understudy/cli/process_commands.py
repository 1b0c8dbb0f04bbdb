"""The commands over the life of the processes: reload the configuration, replace the workers."""

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.frame import complain


def reload(admin: Admin = DEFAULT_ADMIN, token: ApiToken = "") -> None:
    """Read the configuration file again, without closing a connection; or say what is wrong with it."""
    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    done = api.json(api.post("/api/v1/reload", {}), key="changed")
    changed = ", ".join(done["changed"]) or "nothing"
    applied, workers = done.get("applied"), done.get("workers")
    typer.echo(f"reloaded: changed {changed} ({applied} of {workers} workers follow it)")
    if done.get("waiting"):
        hint = "`systemctl restart`, or SIGUSR2 to the supervisor: docs/operations.md"
        verb = "waits" if len(done["waiting"]) == 1 else "wait"
        complain(f"{', '.join(done['waiting'])} changed and {verb} for a restart", hint, is_warning=True)
    for note in done.get("notes") or ():
        complain(str(note), "`understudy rules put` changes them", is_warning=True)
    if applied != workers:
        complain("not every worker has acknowledged it yet", is_warning=True)


def restart(admin: Admin = DEFAULT_ADMIN, token: ApiToken = "") -> None:
    """Replace the workers one after the other, without a failed request. Does not wait for the end."""
    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    begun = api.json(api.post("/api/v1/restart", {}), key="workers")
    typer.echo(f"a rolling restart of {begun['workers']} workers has begun")
