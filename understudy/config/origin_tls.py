"""The files behind ``tls`` of a service: found beside the configuration, checked, made into a context."""

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from understudy.config.origins import OriginTls
from understudy.config.place import Place

MOST_CONTEXTS = 64
"""Distinct ``tls`` sections that one process keeps ready; a context holds all authorities of the system."""


def located(tls: OriginTls, base: Path) -> OriginTls:
    """*tls* with absolute file names, relative ones lying in *base*, and the fingerprint of their content."""
    named: dict[str, Any] = {key: str((base / name).absolute()) for key, name in _files(tls)}
    digest = hashlib.sha256()
    for name in named.values():
        try:
            digest.update(Path(name).read_bytes())
        except OSError:
            digest.update(b"missing")  # `check_tls` says so
    return replace(tls, **named, fingerprint=digest.hexdigest() if named else "")


def check_tls(tls: OriginTls, place: Place) -> None:
    """A problem at *place* for everything that would keep `client_context` from working."""
    if tls.key and not tls.cert:
        place.key("key").refuse("is of no use without cert")
        return
    if tls.ca and not tls.verify:
        place.key("ca").refuse("is of no use while verify is false", "leave out verify")
        return
    before = len(place.problems)
    for key, name in _files(tls):
        try:
            Path(name).read_bytes()
        except OSError as error:
            place.key(key).refuse(f"{name} cannot be read: {error.strerror}")
    if len(place.problems) > before:
        return
    _check_ca(tls, place.key("ca"))
    _check_pair(tls, place)
    if len(place.problems) == before:
        client_context(tls)


def _check_ca(tls: OriginTls, place: Place) -> None:
    if tls.ca:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=tls.ca)
        except ssl.SSLError:
            place.refuse(f"{tls.ca} holds no certificate in PEM", "-----BEGIN CERTIFICATE-----")


def _check_pair(tls: OriginTls, place: Place) -> None:
    if not tls.cert:
        return
    asked: list[bool] = []

    def no_passphrase() -> str:
        asked.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tls.cert, tls.key or None, no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        key = place.key("key") if tls.key else place.key("cert")
        if asked:
            key.refuse(f"{tls.key or tls.cert} has a passphrase", "keep it without one, readable by us alone")
        elif getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            key.refuse(f"{tls.key or tls.cert} is not the key of {tls.cert}")
        else:
            what = f"{tls.cert} and {tls.key} are" if tls.key else f"{tls.cert} is"
            place.key("cert").refuse(f"{what} not a certificate and its key in PEM")


def _files(tls: OriginTls) -> Iterator[tuple[str, str]]:
    for key, name in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        if name:
            yield key, name


@lru_cache(maxsize=MOST_CONTEXTS)
def client_context(tls: OriginTls) -> ssl.SSLContext:
    """What connections to https:// origins are made with: TLS 1.2 or later, HTTP/1.1 alone.

    Remembered by value, fingerprint included, and made once by `check_tls`, because reading the
    authorities of a system takes some 40 ms. Raises OSError when a file cannot be used.
    """
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key or None, lambda: "")
    return context
