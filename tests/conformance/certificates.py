"""Certificates for tests: an authority of our own, and servers it vouches for, each in its own way."""

import datetime
import ssl
from pathlib import Path

import trustme


class Authority:
    """Signs certificates; ``file`` has its own, in PEM, for ``tls: {ca: …}``."""

    def __init__(self, folder: Path, name: str = "ca.pem") -> None:
        self._ca = trustme.CA()
        self.file = folder / name
        self._ca.cert_pem.write_to_path(str(self.file))

    def server(self, *names: str, not_after: datetime.datetime | None = None) -> ssl.SSLContext:
        """What a server called *names* accepts with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_after=not_after).configure_cert(context)
        return context

    def demanding(self, *names: str) -> ssl.SSLContext:
        """As `server`, for one that asks its clients for a certificate of this authority."""
        context = self.server(*names)
        context.verify_mode = ssl.CERT_REQUIRED
        self._ca.configure_trust(context)
        return context

    def client(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The files of a client's certificate and key."""
        made = self._ca.issue_cert(name)
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return cert, key
