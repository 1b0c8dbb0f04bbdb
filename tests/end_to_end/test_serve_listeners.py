"""IPv4, IPv6, Unix sockets and TLS at once, through the real command; certificates that change."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from serve_world import PATIENCE_SECONDS, all_gone, always, children_of, config_text, flag, wait_until
from servers import Serving, UnderstudyServe
from store_servers import free_port

from understudy.testing import SteadyLoad


def issue(folder: Path, authority: trustme.CA) -> None:
    """A pair for localhost in *folder*, put in place in one step each, the key first."""
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    put(folder / "key.pem", issued.private_key_pem.bytes())
    put(folder / "cert.pem", chain)


def put(file: Path, content: bytes) -> None:
    """*file* has *content*, and never had less."""
    beside = file.with_name("beside")
    beside.write_bytes(content)
    beside.rename(file)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.set_alpn_protocols(["http/1.1"])
    return client


def ask_securely(port: int, authority: trustme.CA, *, host: str = "localhost") -> tuple[int, str | None]:
    """One GET: (status, protocol)."""
    connection = http.client.HTTPSConnection(
        host, port, context=trusting(authority), timeout=PATIENCE_SECONDS
    )
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
        assert isinstance(connection.sock, ssl.SSLSocket)
        return status, connection.sock.selected_alpn_protocol()
    finally:
        connection.close()


def ask_path(path: Path, *fields: str) -> bytes:
    """One GET through the Unix socket at *path*; the whole answer."""
    lines = "".join(f"{field}\r\n" for field in fields)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_SECONDS)
        client.connect(str(path))
        client.sendall(f"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{lines}\r\n".encode())
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Who issued the certificate in ``cert.pem``."""
    made = trustme.CA()
    issue(tmp_path, made)
    return made


def certificates(serving: Serving, result: str) -> int:
    """``understudy_certificate_reloads_total``."""
    text = serving.admin("/metrics").body.decode()
    found = re.search(
        rf'^understudy_certificate_reloads_total{{result="{result}"}} (\S+)$', text, re.MULTILINE
    )
    return int(float(found[1])) if found else 0


def hand_over(serving: Serving) -> None:
    """Take the configuration as it is now; only the new generation serves after it."""
    former = children_of(serving.server.process.pid)
    serving.server.process.send_signal(signal.SIGUSR2)
    all_gone(former)
    wait_until(serving.is_ready, "the new generation")


TLS = {"cert": "cert.pem", "key": "key.pem"}


def test_every_kind_of_listener_serves(
    authority: trustme.CA, tmp_path: Path, understudy_serve: UnderstudyServe
) -> None:
    """IPv4 and IPv6 with TLS, IPv4 without, a Unix socket; the service is told which it was."""
    secure, six = free_port(), free_port()
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(primary.port, shadow.port, tls=TLS, flags={"shop": flag("stable")})
        serving = understudy_serve(config, folder=tmp_path)
        listen = f"listen: ['http://127.0.0.1:{serving.proxy_port}', '127.0.0.1:{secure}'"
        listen += f", 'https://[::1]:{six}', 'unix:u.sock']"
        file = tmp_path / "understudy.yaml"
        file.write_text(re.sub("^listen: .*", listen, file.read_text()))
        hand_over(serving)
        assert ask_securely(secure, authority, host="127.0.0.1") == (200, "http/1.1")
        assert ask_securely(six, authority, host="::1") == (200, "http/1.1")
        assert ask_path(tmp_path / "u.sock").startswith(b"HTTP/1.1 200")
        with socket.create_connection(("127.0.0.1", serving.proxy_port), timeout=PATIENCE_SECONDS) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert plain.recv(65536).startswith(b"HTTP/1.1 200")
        told = [
            (asked.fields["x-forwarded-proto"], asked.fields["x-forwarded-for"])
            for asked in primary.requests()
        ]
        assert told == [
            ("https", "127.0.0.1"),
            ("https", "::1"),
            ("http", "unknown"),
            ("http", "127.0.0.1"),
        ]


def test_a_proxy_on_the_unix_socket_may_be_believed(
    tmp_path: Path, understudy_serve: UnderstudyServe
) -> None:
    """With `trusted_proxies: [unix]`: its client's address is the unit `ip`, and goes on as it came."""
    rules = {
        "targeting": {"if": [{"==": [{"var": "ip"}, "9.9.9.9"]}, "canary", "stable"]},
    }
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(
            primary.port,
            shadow.port,
            trusted_proxies=["unix"],
            flags={"shop": flag("stable", **rules)},
            routes=[{"path": "/", "flag": "shop", "unit": "ip"}],
        )
        serving = understudy_serve(config, folder=tmp_path)
        file = tmp_path / "understudy.yaml"
        listen = f"listen: ['127.0.0.1:{serving.proxy_port}', 'unix:u.sock']"
        file.write_text(re.sub("^listen: .*", listen, file.read_text()))
        hand_over(serving)
        ask_path(tmp_path / "u.sock", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")
        ask_path(tmp_path / "u.sock")
        (canary,) = shadow.requests()
        assert (canary.fields["x-forwarded-for"], canary.fields["x-forwarded-proto"]) == ("9.9.9.9", "https")
        (stable,) = primary.requests()
        assert stable.fields["x-forwarded-for"] == "unknown"


def test_the_file_of_a_unix_socket_comes_and_goes(tmp_path: Path) -> None:
    """One that a killed process left is replaced; one of a live process is refused; it goes at the end."""
    path = tmp_path / "u.sock"
    (tmp_path / "understudy.yaml").write_text(
        config_text(1, 2, listen="unix:u.sock", admin={"listen": "127.0.0.1:0"}, store="memory://")
    )
    command = [sys.executable, "-m", "understudy", "serve", "-c", "understudy.yaml"]

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)

    def answers() -> bool:
        return ask_path(path).startswith(b"HTTP/1.1 502")

    with started() as first:
        wait_until(answers, "an answer")
        assert path.stat().st_mode & 0o777 == 0o660
        other = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert other.returncode == 1
        assert f"listen unix:{path}: another process listens there" in other.stderr
        children = children_of(first.pid)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        all_gone(children)  # else one of them may listen still
    assert path.exists()
    with started() as second:
        wait_until(answers, "an answer")
        second.terminate()
        assert second.wait(PATIENCE_SECONDS) == 0
    assert not path.exists()


def test_a_drain_of_unix_and_tls_fails_no_request(authority: trustme.CA, tmp_path: Path) -> None:
    """SIGTERM under load on both, with two workers that share the Unix socket."""
    port = free_port()
    with always().listening() as primary:
        (tmp_path / "understudy.yaml").write_text(
            config_text(
                primary.port,
                primary.port,
                listen=[f"127.0.0.1:{port}", "unix:u.sock"],
                admin={"listen": "127.0.0.1:0"},
                tls=TLS,
                workers=2,
                flags={"shop": flag("stable")},
            )
        )
        command = [sys.executable, "-m", "understudy", "serve", "-c", "understudy.yaml"]
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(command, cwd=tmp_path, stderr=log) as process,
        ):
            wait_until(lambda: ask_securely(port, authority)[0] == 200, "an answer")
            with (
                SteadyLoad(tmp_path / "u.sock", rate=200, clients=10) as plain,
                SteadyLoad(("127.0.0.1", port), rate=200, clients=10, tls=trusting(authority)) as secure,
            ):
                plain.until_answered(200)
                secure.until_answered(200)
                process.terminate()
                assert process.wait(PATIENCE_SECONDS) == 0
                assert dict(plain.stop().failed) == {}
                assert dict(secure.stop().failed) == {}


@pytest.mark.parametrize("how", ["files", "reload"])
def test_a_renewed_certificate_is_shown_without_a_restart(
    how: str, authority: trustme.CA, tmp_path: Path, understudy_serve: UnderstudyServe
) -> None:
    """Open connections live on; a broken one keeps the old, in the log and in the counts."""
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(primary.port, shadow.port, tls=TLS)
        serving = understudy_serve(config, folder=tmp_path)
        processes = children_of(serving.server.process.pid)
        old = http.client.HTTPSConnection(
            "localhost", serving.proxy_port, context=trusting(authority), timeout=PATIENCE_SECONDS
        )
        old.request("GET", "/")
        old.getresponse().read()

        def look() -> None:
            if how == "reload":
                assert serving.admin("/api/v1/reload", method="POST").status in (200, 422)

        if how == "files":
            put(tmp_path / "key.pem", b"broken")
            wait_until(lambda: certificates(serving, "refused") == 1, "the refusal")
            wait_until(lambda: "tls.key:" in serving.server.log.read_text(), "its reason in the log")
            assert ask_securely(serving.proxy_port, authority)[0] == 200
            assert certificates(serving, "applied") == 0
        new = trustme.CA()
        issue(tmp_path, new)
        look()
        wait_until(lambda: shows(serving.proxy_port, new), "the new certificate")
        assert not shows(serving.proxy_port, authority)
        if how == "files":
            wait_until(lambda: certificates(serving, "applied") >= 1, "the count of it")
        old.request("GET", "/")
        assert old.getresponse().status == 200
        old.close()
        assert children_of(serving.server.process.pid) == processes


def shows(port: int, authority: trustme.CA) -> bool:
    """Whether a new client that trusts *authority* alone is content."""
    try:
        return ask_securely(port, authority)[0] == 200
    except ssl.SSLCertVerificationError:
        return False


def test_check_says_what_is_wrong_with_a_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    """Before anything is started."""
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "understudy.yaml").write_text(config_text(1, 2, tls=TLS, listen="https://127.0.0.1:8443"))
    done = subprocess.run(
        [sys.executable, "-m", "understudy", "check", "-c", "understudy.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert (
        f"tls.key: {tmp_path}/key.pem does not belong to the certificate in {tmp_path}/cert.pem"
        in done.stderr
    )
