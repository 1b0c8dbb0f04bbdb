"""The files behind ``tls``: each that is missing, unreadable or something else is told with its place."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from understudy.config import OriginTls, client_context, parse_settings, summary
from understudy.errors import ConfigError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a client's pair, another's key, and files that are none of these."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    mine, other = authority.issue_cert("a.internal"), authority.issue_cert("b.internal")
    chain = b"".join(blob.bytes() for blob in mine.cert_chain_pems)
    (folder / "client.pem").write_bytes(chain)
    (folder / "both.pem").write_bytes(mine.private_key_pem.bytes() + chain)
    (folder / "client.key").write_bytes(mine.private_key_pem.bytes())
    (folder / "other.key").write_bytes(other.private_key_pem.bytes())
    (folder / "locked.key").write_bytes(
        load_pem_private_key(mine.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    (folder / "text.pem").write_text("no certificate at all\n")
    (folder / "empty.pem").write_text("")
    (folder / "folder.pem").mkdir()
    return folder


def read(tls: dict[str, Any], base: Path) -> OriginTls:
    document = {"services": {"v1": {"url": "https://shop", "tls": tls}}}
    found = parse_settings(document, base=base, environ={}).services["v1"].tls
    assert found is not None
    return found


@pytest.mark.parametrize(
    "tls",
    [
        {"ca": "ca.pem"},
        {"cert": "client.pem", "key": "client.key"},
        {"cert": "both.pem"},
        {"ca": "ca.pem", "cert": "client.pem", "key": "client.key", "server_name": "shop.internal"},
    ],
)
def test_good_files_are_found_beside_the_configuration(made: Path, tls: dict[str, str]) -> None:
    """Names come out absolute, and a context is ready for connections."""
    found = read(tls, made)
    for key in {"ca", "cert", "key"} & tls.keys():
        assert getattr(found, key) == str(made / tls[key])
    context = client_context(found)
    assert context is client_context(found)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({"ca": "gone.pem"}, "ca: {}/gone.pem cannot be read: No such file or directory"),
        ({"ca": "folder.pem"}, "ca: {}/folder.pem cannot be read: Is a directory"),
        ({"ca": "text.pem"}, "ca: {}/text.pem holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        ({"ca": "empty.pem"}, "ca: {}/empty.pem holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        ({"ca": "client.key"}, "ca: {}/client.key holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        (
            {"cert": "client.pem", "key": "gone.key"},
            "key: {}/gone.key cannot be read: No such file or directory",
        ),
        (
            {"cert": "client.pem", "key": "other.key"},
            "key: {0}/other.key is not the key of {0}/client.pem",
        ),
        (
            {"cert": "client.pem", "key": "locked.key"},
            "key: {}/locked.key has a passphrase (keep it without one, readable by us alone)",
        ),
        ({"cert": "client.pem"}, "cert: {}/client.pem is not a certificate and its key in PEM"),
        (
            {"cert": "text.pem", "key": "client.key"},
            "cert: {0}/text.pem and {0}/client.key are not a certificate and its key in PEM",
        ),
    ],
)
def test_a_file_that_is_no_use_is_told(made: Path, tls: dict[str, str], expected: str) -> None:
    """Where it was named, what is wrong with it, and nobody is asked for a passphrase."""
    with pytest.raises(ConfigError) as refused:
        read(tls, made)
    assert [str(problem) for problem in refused.value.problems] == [
        "services.v1.tls." + expected.format(made)
    ]


def test_a_renewed_file_makes_another_setting(made: Path, tmp_path: Path) -> None:
    """So that a reload knows that the service has changed, though its names have not."""
    copy = tmp_path / "ca.pem"
    copy.write_bytes((made / "ca.pem").read_bytes())
    before = read({"ca": "ca.pem"}, tmp_path)
    assert read({"ca": "ca.pem"}, tmp_path) == before
    copy.write_bytes(copy.read_bytes() + trustme.CA().cert_pem.bytes())
    assert read({"ca": "ca.pem"}, tmp_path) != before


def test_unchecked_means_nothing_is_checked() -> None:
    """Neither who vouches nor the name."""
    context = client_context(OriginTls(verify=False))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_an_authority_is_retold(made: Path) -> None:
    """`understudy check` says whom the origins are verified by."""
    service = {"url": "https://shop", "tls": {"ca": "ca.pem"}}
    settings = parse_settings({"services": {"v1": service}}, base=made, environ={})
    assert summary(settings).services == {"v1": f"https://shop:443, verified by {made}/ca.pem"}
