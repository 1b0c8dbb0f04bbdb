"""Samples over a restart: whole, without whoever asked, and forgotten by unit."""

import json
from typing import Any

from serve_world import Asked, Says, ThreadedOrigin, ask, config_text, says_json
from servers import UnderstudyServe

UNITS = ("alice-4711", "bob-4712")


def priced(price: int) -> ThreadedOrigin:
    """Answers whose price is *price*, and who asked."""

    def answer(asked: Asked) -> Says:
        return says_json({"price": price, "for": asked.fields.get("x-user", ""), "path": asked.path})

    return ThreadedOrigin(answer=answer)


def samples_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        sample
        for endpoint in report["endpoints"]
        for finding in endpoint["findings"]
        for sample in finding["samples"]
    ]


def test_samples_outlive_a_restart_and_are_forgotten_by_unit(understudy_serve: UnderstudyServe) -> None:
    """Each is found whole by its id, names nobody, and goes with its unit although the process is another."""
    with priced(10).listening() as primary, priced(11).listening() as shadow:
        text = config_text(
            primary.port,
            shadow.port,
            routes=[{"path": "/", "flag": "shop", "unit": "header:X-User"}],
            shadow={"control": 0, "confirm": True},
        )
        serving = understudy_serve(text)
        for unit in UNITS:
            for number in range(2):
                assert ask(serving.proxy_port, f"/orders/{number}", f"X-User: {unit}")[0] == 200
        samples = samples_of(serving.settled_report(eligible=4))
        assert len(samples) == 4
        assert len(shadow.requests("1")) == 8
        assert serving.stop() == 0
        stored = b"".join(path.read_bytes() for path in serving.folder.glob("understudy.db*"))
        assert not any(unit.encode() in stored for unit in UNITS)

        again = understudy_serve(text, folder=serving.folder)
        whole = again.admin(f"/api/v1/samples/{samples[0]['id']}").json()
        assert (whole["primary"]["body"]["price"], whole["shadow"]["body"]["price"]) == (10, 11)
        assert [change["path"] for change in whole["explanation"]] == ["/body/price"]
        assert f"http://127.0.0.1:{primary.port}/orders/" in whole["curl"]
        assert '"$X_USER"' in whole["curl"]
        told = json.dumps([whole, samples_of(again.report())])
        assert not any(unit in told for unit in UNITS)

        forgotten = again.admin(f"/api/v1/samples?unit={UNITS[0]}", method="DELETE")
        assert forgotten.json() == {"deleted": 2}
        left = samples_of(again.report())
        assert len(left) == 2
        gone = {sample["id"] for sample in samples} - {sample["id"] for sample in left}
        assert all(again.admin(f"/api/v1/samples/{name}").status == 404 for name in gone)
        assert again.admin("/api/v1/samples?unit=nobody", method="DELETE").json() == {"deleted": 0}
        assert again.admin("/api/v1/samples?all=true", method="DELETE").json() == {"deleted": 2}
        assert again.report()["exchanges"] == 4
