"""Evidence is honest: the report's figures are what was really sent; what is stored shows no secrets."""

import http.client
import json
import random
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from serve_world import Asked, Says, ThreadedOrigin, always, ask, config_text, says_json
from servers import UnderstudyServe

KINDS = ("same", "price", "gone", "noise", "broken")


def shop(version: int, seed: int) -> ThreadedOrigin:
    """A version of a service whose differences are known, endpoint by endpoint."""
    dice = random.Random(seed)

    def answer(asked: Asked) -> Says:
        kind = asked.path.split("/")[1]
        item: dict[str, Any] = {"kind": kind, "price": 10, "name": "tea"}
        if kind == "noise":
            item["ticket"] = dice.randrange(10**9)
        if version == 2 and kind == "price":
            item["price"] = 11
        if version == 2 and kind == "gone":
            del item["name"]
        if version == 2 and kind == "broken":
            return Says(body=b"oops", status=500)
        return says_json(item)

    return ThreadedOrigin(answer=answer)


def by_kind(asked: Sequence[Asked]) -> Counter[str]:
    return Counter(each.path.split("/")[1] for each in asked)


def test_the_report_says_what_was_sent(understudy_serve: UnderstudyServe) -> None:
    """exchanges, matched, with_control and differing, per endpoint, against what the origins were asked."""
    with shop(1, 1).listening() as primary, shop(2, 2).listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, shadow={"control": 0.5}, workers=2))
        for number in range(100):
            assert ask(serving.proxy_port, f"/{KINDS[number % 5]}/{number}")[0] == 200
        report = serving.settled_report(eligible=100)
        copies, controls = by_kind(shadow.requests("1")), by_kind(primary.requests("control"))
        assert copies == dict.fromkeys(KINDS, 20)
        endpoints = {endpoint["endpoint"].split("/")[1]: endpoint for endpoint in report["endpoints"]}
        assert {kind: endpoints[kind]["exchanges"] for kind in KINDS} == copies
        assert {kind: endpoints[kind]["with_control"] for kind in KINDS} == {
            kind: controls[kind] for kind in KINDS
        }
        matched = {kind: endpoints[kind]["matched"] for kind in KINDS}
        assert matched == {"same": 20, "price": 0, "gone": 0, "noise": 0, "broken": 0}
        found = {
            (kind, finding["path"], finding["kind"]): (finding["differing"], finding["control_differing"])
            for kind in KINDS
            for finding in endpoints[kind]["findings"]
        }
        assert found["price", "/body/price", "value"] == (20, 0)
        assert found["gone", "/body/name", "missing"] == (20, 0)
        assert found["broken", "/status", "status"] == (20, 0)
        assert found["noise", "/body/ticket", "value"] == (20, controls["noise"])
        assert not any(kind == "same" for kind, _, _ in found)
        assert report["exchanges"] == 100
        assert report["with_control"] == len(primary.requests("control"))
        assert report["control"]["sent"] == report["control"]["answered"] == len(primary.requests("control"))


class Seeds:
    """Draws secrets of all kinds, and remembers every one."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.drawn: list[str] = []

    def letters(self, size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
        return "".join(self.dice.choices(alphabet, k=size))

    def keep(self, secret: str) -> str:
        self.drawn.append(secret)
        return secret

    def jwt(self) -> str:
        return self.keep(f"eyJhbGciOiJIUzI1NiJ9.eyJ{self.letters(40)}.{self.letters(43)}")

    def key(self) -> str:
        prefix = self.dice.choice(["sk_live_", "ghp_", "glpat-", "xoxb-", "AKIA"])
        alphabet = string.ascii_uppercase + string.digits if prefix == "AKIA" else string.ascii_letters
        return self.keep(prefix + self.letters(20, alphabet))

    def mail(self) -> str:
        return self.keep(f"{self.letters(8, string.ascii_lowercase)}.{self.letters(5)}@mail.example.com")

    def card(self) -> str:
        stem = self.dice.choice("3456") + self.letters(14, string.digits)
        total = sum(
            sum(divmod(int(digit) * (2 if index % 2 == 0 else 1), 10))
            for index, digit in enumerate(reversed(stem))
        )
        digits = f"{stem}{-total % 10}"
        form = self.dice.choice(["{}", "{} {} {} {}", "{}-{}-{}-{}"])
        if form != "{}":
            digits = form.format(*(digits[i : i + 4] for i in range(0, 16, 4)))
        return self.keep(digits)

    def opaque(self) -> str:
        """A secret that only its name gives away."""
        return self.keep("op4que" + self.letters(12))

    def shaped(self) -> str:
        return self.dice.choice([self.jwt, self.key, self.mail, self.card])()

    def sentence(self) -> str:
        word = self.dice.choice(
            ["Dear {},", "see {}.", "<{}>", "paid with {} today", "({})", '"{}"', "token: {}"]
        )
        return word.format(self.shaped())

    def secret_name(self) -> str:
        names = [
            "password",
            "accessToken",
            "refresh_token",
            "apiKey",
            "client_secret",
            "sessionId",
            "cvv",
            "pin",
        ]
        return self.dice.choice(names)

    def value(self, depth: int = 0) -> Any:
        """A JSON value with secrets somewhere in it."""
        roll = self.dice.random()
        if depth > 2 or roll < 0.5:
            return self.sentence()
        if roll < 0.6:
            return [self.value(depth + 1) for _ in range(2)]
        if roll < 0.7:
            return {self.secret_name(): {"inner": self.opaque()}, "n": self.dice.randrange(10)}
        return {"text": self.value(depth + 1), self.secret_name(): self.opaque()}


def document(seeds: Seeds, number: int) -> Says:
    """Answer *number*, full of secrets: JSON mostly, else a form, lines, a page or plain text."""
    value = {"id": number, "it": seeds.value(), seeds.secret_name(): seeds.opaque(), "mail": seeds.mail()}
    fields = (("Set-Cookie", f"sid={seeds.opaque()}; Path=/"), ("X-Auth-Token", seeds.opaque()))
    match number % 10:
        case 0:
            text = f"Hello {seeds.sentence()} and password={seeds.opaque()} and {seeds.sentence()}"
            return Says(body=text.encode(), fields=(("Content-Type", "text/plain"), *fields))
        case 1:
            form = f"user=1&password={seeds.opaque()}&note={quote(seeds.sentence())}"
            return Says(
                body=form.encode(), fields=(("Content-Type", "application/x-www-form-urlencoded"), *fields)
            )
        case 2:
            page = f"<html><p>{seeds.sentence()}</p><a href='/x?token={seeds.opaque()}'>x</a></html>"
            return Says(body=page.encode(), fields=(("Content-Type", "text/html"), *fields))
        case 3:
            lines = "\n".join(json.dumps(seeds.value()) for _ in range(3))
            return Says(body=lines.encode(), fields=(("Content-Type", "application/x-ndjson"), *fields))
        case 4:
            by_mail = {seeds.mail(): {"plan": seeds.sentence()}, seeds.jwt(): 1, seeds.card(): 2}
            by_mail["inner"] = json.dumps(
                {seeds.secret_name(): seeds.opaque(), "x": json.dumps(seeds.value())}
            )
            return Says(
                body=json.dumps(by_mail).encode(), fields=(("Content-Type", "application/json"), *fields)
            )
        case 5:
            page = (
                f"<form><input type=hidden name='csrf_token' value='{seeds.opaque()}'>"
                f'<meta name="api-key" content="{seeds.opaque()}"></form>'
            )
            return Says(body=page.encode(), fields=(("Content-Type", "text/html"), *fields))
        case 6:
            text = f"<login user='1'><password>{seeds.opaque()}</password><p>{seeds.sentence()}</p></login>"
            return Says(body=text.encode(), fields=(("Content-Type", "application/xml"), *fields))
        case 7:
            return Says(body=multipart(seeds), fields=(("Content-Type", MULTIPART), *fields))
        case _:
            return Says(
                body=json.dumps(value).encode(), fields=(("Content-Type", "application/json"), *fields)
            )


MULTIPART = "multipart/form-data; boundary=XyZ"


def multipart(seeds: Seeds) -> bytes:
    """A form of parts, one of them secret by its name, one by what it says."""
    parts = {seeds.secret_name(): seeds.opaque(), "note": seeds.sentence()}
    return (
        b"".join(
            f'--XyZ\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in parts.items()
        )
        + b"--XyZ--\r\n"
    )


def posted(seeds: Seeds, number: int) -> tuple[str, bytes]:
    """The body of a request, full of secrets, and its media type."""
    match number % 4:
        case 0:
            inner = json.dumps({seeds.secret_name(): seeds.opaque()})
            value = {"it": seeds.value(), seeds.secret_name(): seeds.opaque(), "inner": inner}
            return "application/json", json.dumps(value).encode()
        case 1:
            form = f"user=1&password={seeds.opaque()}&note={quote(seeds.sentence())}"
            return "application/x-www-form-urlencoded", form.encode()
        case 2:
            return MULTIPART, multipart(seeds)
        case _:
            return "text/plain", f"{seeds.sentence()} secret={seeds.opaque()}".encode()


def send(port: int, number: int, target: str, fields: dict[str, str], visitors: Seeds) -> int:
    """Request *number*, every third one with a body; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if number % 3:
            connection.request("GET", target, headers=fields)
        else:
            kind, body = posted(visitors, number)
            connection.request("POST", target, body=body, headers={**fields, "Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_nothing_private_is_stored_or_told(understudy_serve: UnderstudyServe) -> None:
    """Two hundred random documents full of secrets: none is in file, report, metrics or log."""
    ours, theirs, visitors = Seeds(11), Seeds(12), Seeds(13)
    with always().listening() as primary, always().listening() as shadow:
        primary.answer = lambda asked: document(ours, number_of(asked))
        shadow.answer = lambda asked: document(theirs, number_of(asked))
        route = {"path": "/", "flag": "shop", "unit": "header:X-User", "mirror_methods": ["GET", "POST"]}
        serving = understudy_serve(
            config_text(primary.port, shadow.port, routes=[route], shadow={"control": 0.2, "confirm": True})
        )
        for number in range(200):
            query = (
                f"access_token={visitors.opaque()}&mail={quote(visitors.mail())}&x={quote(visitors.shaped())}"
            )
            fields = {
                "Authorization": f"Bearer {visitors.opaque()}",
                "Cookie": f"sid={visitors.opaque()}",
                "X-Session-Token": visitors.opaque(),
                "X-Note": visitors.sentence(),
                "X-User": visitors.opaque(),
            }
            path = f"/documents/{number}/{quote(visitors.shaped())}"
            assert send(serving.proxy_port, number, f"{path}?{query}", fields, visitors) == 200
        report = serving.settled_report(eligible=200)
        page = serving.admin("/").body + serving.admin("/api/v1/report.html").body
        metrics = serving.admin("/metrics").body
        samples = samples_of(report)
        assert len(samples) > 20
        wholes = [serving.admin(f"/api/v1/samples/{sample['id']}").body for sample in samples[:60]]
        assert sum(b'"explanation":[{' in whole for whole in wholes) > 10
        assert sum(b"--data-raw" in whole for whole in wholes) > 5
        assert serving.stop() == 0
        told = {
            "report": json.dumps(report, ensure_ascii=False).encode(),
            "page": page,
            "metrics": metrics,
            "samples": b"".join(wholes),
            "log": serving.server.log.read_bytes(),
            **{path.name: path.read_bytes() for path in serving.folder.glob("understudy.db*")},
        }
        secrets = [*ours.drawn, *theirs.drawn, *visitors.drawn]
        assert len(secrets) > 1000
        plain = {
            (where, secret)
            for where, content in told.items()
            for secret in secrets
            if secret.encode() in content
        }
        encoded = {
            (where, secret)
            for where, content in told.items()
            for secret in secrets
            if quote(secret).encode() in content and quote(secret) != secret
        }
        assert (sorted(plain)[:10], sorted(encoded)[:10]) == ([], [])


def samples_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        sample
        for endpoint in report["endpoints"]
        for finding in endpoint["findings"]
        for sample in finding["samples"]
    ]


def number_of(asked: Asked) -> int:
    return int(asked.path.split("/")[2])
