"""A certificate and its key, read from two PEM files, or exactly why they cannot be used."""

import ssl
from pathlib import Path
from typing import Final

from understudy.errors import UnderstudyError

PROTOCOLS: Final = ("http/1.1",)


class CertificateError(UnderstudyError):
    """The pair cannot be used. ``key`` names the setting at fault: ``cert`` or ``key``."""

    def __init__(self, key: str, message: str, hint: str = "") -> None:
        self.key = key
        self.message = message
        self.hint = hint
        super().__init__(f"tls.{key}: {message}" + (f" ({hint})" if hint else ""))


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A server's context for the chain in *cert* and the private key in *key*.

    TLS 1.2 at least (RFC 8996 retires what is older), ALPN says ``http/1.1``, no renegotiation.

    Raises: CertificateError.
    """
    _check_certificate(cert)
    _check_key(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(PROTOCOLS))
    try:
        # With a passphrase given, OpenSSL asks nobody at the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError("key", f"{key} does not belong to the certificate in {cert}") from None
        raise CertificateError("cert", f"{cert} and {key} cannot be used: {_why(error)}") from None
    except OSError as error:
        raise CertificateError("cert", f"{cert} and {key} cannot be read: {error.strerror}") from None
    return context


def _check_certificate(path: Path) -> None:
    text = _read("cert", path)
    if b"-----BEGIN CERTIFICATE-----" in text or b"-----BEGIN TRUSTED CERTIFICATE-----" in text:
        return
    hint = "are cert and key swapped?" if b"PRIVATE KEY-----" in text else _pem_hint(text, "x509", path)
    raise CertificateError("cert", f"{path} holds no PEM certificate", hint)


def _check_key(path: Path) -> None:
    text = _read("key", path)
    if b"ENCRYPTED" in text:
        hint = f"openssl pkey -in {path} -out plain.pem, readable by this user alone"
        raise CertificateError("key", f"{path} is encrypted, and nobody can type its passphrase", hint)
    if b"PRIVATE KEY-----" not in text:
        hint = "are cert and key swapped?" if b"BEGIN CERTIFICATE" in text else _pem_hint(text, "pkey", path)
        raise CertificateError("key", f"{path} holds no PEM private key", hint)


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CertificateError(key, f"there is no file {path}") from None
    except PermissionError:
        raise CertificateError(key, f"{path} may not be read by this user") from None
    except OSError as error:
        raise CertificateError(key, f"{path} cannot be read: {error.strerror}") from None


def _pem_hint(text: bytes, command: str, path: Path) -> str:
    """A file that begins like a DER sequence only needs to be rewritten."""
    return f"openssl {command} -inform der -in {path} -out FILE.pem" if text[:1] == b"\x30" else ""


def _why(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
