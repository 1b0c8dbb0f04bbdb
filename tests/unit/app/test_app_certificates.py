"""A new certificate takes the place of the old without a restart; a broken one does not."""

import asyncio
import os
import ssl
from collections import Counter
from pathlib import Path

import pytest
import trustme

from understudy.app.certificates import Certificates
from understudy.config import TlsSettings, server_context

OLD, NEW = trustme.CA(), trustme.CA()


def write(folder: Path, authority: trustme.CA) -> TlsSettings:
    """A pair by *authority*, each file put in place in one step, as renewals do."""
    issued = authority.issue_cert("localhost")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    for name, text in (("cert.pem", chain), ("key.pem", issued.private_key_pem.bytes())):
        (folder / "beside").write_bytes(text)
        (folder / "beside").rename(folder / name)
    return TlsSettings(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


class Shown:
    """What a listener with these certificates shows."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    async def by(self, authority: trustme.CA, *, name: str | None = "localhost") -> bool:
        """Whether a client that trusts *authority* alone is content."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = name is not None
        authority.configure_trust(client)
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=self._certificates.context
        )
        port = server.sockets[0].getsockname()[1]
        try:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname=name or ""
            )
        except ssl.SSLCertVerificationError:
            return False
        finally:
            server.close()
        writer.close()
        return True


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


def certificates(tls: TlsSettings, counts: Counter[str]) -> Certificates:
    return Certificates(server_context(Path(tls.cert), Path(tls.key)), tls, counts)


async def test_a_renewed_certificate_is_shown(tmp_path: Path, counts: Counter[str]) -> None:
    """To clients that name a host and to those that do not."""
    made = certificates(write(tmp_path, OLD), counts)
    assert await Shown(made).by(OLD)
    write(tmp_path, NEW)
    made.refresh()
    assert await Shown(made).by(NEW)
    assert await Shown(made).by(NEW, name=None)
    assert not await Shown(made).by(OLD)
    assert counts == {"applied": 1}


async def test_files_that_did_not_change_are_not_read(tmp_path: Path, counts: Counter[str]) -> None:
    """Looking at them costs nothing and counts nothing."""
    made = certificates(write(tmp_path, OLD), counts)
    made.refresh()
    made.refresh()
    assert counts == {}


@pytest.mark.parametrize("broken", ["nothing", b"", b"no certificate"])
async def test_a_broken_certificate_keeps_the_old(
    broken: bytes | str, tmp_path: Path, counts: Counter[str]
) -> None:
    """It is counted once for each change of the files, and mended by the next one."""
    tls = write(tmp_path, OLD)
    made = certificates(tls, counts)
    Path(tls.cert).unlink()
    if isinstance(broken, bytes):
        Path(tls.cert).write_bytes(broken)
    made.refresh()
    made.refresh()
    assert await Shown(made).by(OLD)
    assert counts == {"refused": 1}
    write(tmp_path, NEW)
    made.refresh()
    assert await Shown(made).by(NEW)
    assert counts == {"refused": 1, "applied": 1}


async def test_a_key_that_comes_later_is_waited_for(tmp_path: Path, counts: Counter[str]) -> None:
    """Between the two renames the pair does not match."""
    tls = write(tmp_path, OLD)
    made = certificates(tls, counts)
    (tmp_path / "next").mkdir()
    write(tmp_path / "next", NEW)
    os.rename(tmp_path / "next" / "cert.pem", tls.cert)
    made.refresh()
    assert await Shown(made).by(OLD)
    os.rename(tmp_path / "next" / "key.pem", tls.key)
    made.refresh()
    assert await Shown(made).by(NEW)
    assert counts == {"refused": 1, "applied": 1}


async def test_other_files_are_read_when_they_are_named(tmp_path: Path, counts: Counter[str]) -> None:
    """As a reload of the configuration does."""
    made = certificates(write(tmp_path, OLD), counts)
    (tmp_path / "new").mkdir()
    made.refresh(write(tmp_path / "new", NEW))
    assert await Shown(made).by(NEW)
    assert counts == {"applied": 1}


async def test_a_worker_born_with_broken_files_shows_what_the_supervisor_read(
    tmp_path: Path, counts: Counter[str]
) -> None:
    """The context was made before the fork, when the files were whole."""
    tls = write(tmp_path, OLD)
    context = server_context(Path(tls.cert), Path(tls.key))
    Path(tls.key).unlink()
    assert await Shown(Certificates(context, tls, counts)).by(OLD)
    assert counts == {}
