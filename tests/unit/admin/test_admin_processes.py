"""The life of the processes over HTTP: reload and restart."""

import httpx
from admin_fakes import FakeControl

from understudy.errors import ConfigError, Problem


async def test_a_reload_says_what_became_of_it(client: httpx.AsyncClient) -> None:
    """What changed, what waits for a restart, what was not touched, who follows."""
    answer = await client.post("/api/v1/reload")

    assert answer.status_code == 200
    assert answer.json() == {
        "changed": ["services"],
        "waiting": ["listen"],
        "notes": ["a note"],
        "workers": 2,
        "applied": 2,
    }


async def test_a_reload_of_a_wrong_file_names_every_mistake(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    """422 with the path of each, and the word that nothing has changed."""
    control.failure = ConfigError(
        (
            Problem(path="services.v1.url", message="is missing"),
            Problem(path="listn", message="unknown key", hint="did you mean listen?"),
        )
    )
    answer = await client.post("/api/v1/reload")

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["detail"] == "the configuration has 2 mistakes; nothing was changed"
    assert told["errors"] == [
        {"path": "services.v1.url", "message": "is missing", "hint": ""},
        {"path": "listn", "message": "unknown key", "hint": "did you mean listen?"},
    ]


async def test_a_rolling_restart_is_accepted(client: httpx.AsyncClient) -> None:
    """202: it has begun, nobody waits for its end."""
    answer = await client.post("/api/v1/restart")

    assert (answer.status_code, answer.json()) == (202, {"workers": 2})


async def test_only_a_post_does_anything(client: httpx.AsyncClient) -> None:
    """A link in a page that somebody follows must not."""
    for path in ("reload", "restart"):
        assert (await client.get(f"/api/v1/{path}")).status_code == 405


async def test_a_page_of_another_site_restarts_nothing(client: httpx.AsyncClient) -> None:
    """A browser says where a request comes from."""
    answer = await client.post("/api/v1/restart", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
