"""A certificate and its key are usable, or exactly what is wrong with them is told."""

import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from understudy.config import CertificateError, parse_settings, server_context
from understudy.errors import ConfigError

CA = trustme.CA()


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    """A certificate in ``cert.pem``, its key in ``key.pem`` beside it."""
    issued = CA.issue_cert("localhost")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path / "cert.pem"


def refusal(cert: Path, key: Path) -> str:
    """Why the pair cannot be used."""
    with pytest.raises(CertificateError) as refused:
        server_context(cert, key)
    return str(refused.value)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


def test_a_pair_makes_a_context(cert: Path) -> None:
    """Nothing below TLS 1.2, and no renegotiation."""
    context = server_context(cert, cert.with_name("key.pem"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_a_file_that_is_not_there_is_named(cert: Path) -> None:
    """By its whole path, whichever of the two it is."""
    gone = cert.with_name("gone.pem")
    assert refusal(gone, cert) == f"tls.cert: there is no file {gone}"
    assert refusal(cert, gone) == f"tls.key: there is no file {gone}"
    assert refusal(cert.parent, cert) == f"tls.cert: {cert.parent} cannot be read: Is a directory"


def test_swapped_files_are_noticed(cert: Path) -> None:
    """The commonest mistake is asked for."""
    key = cert.with_name("key.pem")
    assert refusal(key, cert) == f"tls.cert: {key} holds no PEM certificate (are cert and key swapped?)"
    assert refusal(cert, cert) == f"tls.key: {cert} holds no PEM private key (are cert and key swapped?)"


def test_a_der_file_is_told_how_to_become_pem(cert: Path) -> None:
    """With the command."""
    key, der = cert.with_name("key.pem"), cert.with_name("cert.der")
    openssl("x509", "-in", cert, "-outform", "der", "-out", der)
    assert refusal(der, key) == (
        f"tls.cert: {der} holds no PEM certificate (openssl x509 -inform der -in {der} -out FILE.pem)"
    )


def test_an_encrypted_key_is_refused(cert: Path) -> None:
    """Nobody is asked for a passphrase at the terminal."""
    key, secret = cert.with_name("key.pem"), cert.with_name("secret.pem")
    openssl("pkey", "-in", key, "-aes128", "-passout", "pass:x", "-out", secret)
    assert refusal(cert, secret) == (
        f"tls.key: {secret} is encrypted, and nobody can type its passphrase"
        f" (openssl pkey -in {secret} -out plain.pem, readable by this user alone)"
    )


def test_a_key_of_another_certificate_is_refused(cert: Path, tmp_path: Path) -> None:
    """Both are named."""
    other = tmp_path / "other.pem"
    CA.issue_cert("localhost").private_key_pem.write_to_path(other)
    assert refusal(cert, other) == f"tls.key: {other} does not belong to the certificate in {cert}"


def test_a_damaged_certificate_is_refused(cert: Path) -> None:
    """OpenSSL's own word is passed on."""
    lines = cert.read_text().splitlines()
    cert.write_text("\n".join([lines[0], "AAAA", *lines[3:]]) + "\n")
    key = cert.with_name("key.pem")
    assert refusal(cert, key).startswith(f"tls.cert: {cert} and {key} cannot be used: ")


def test_a_configuration_is_checked_with_its_files(cert: Path) -> None:
    """Files are relative to the configuration; the settings hold whole paths."""
    document = {
        "services": {"a": {"url": "http://a"}},
        "listen": ["127.0.0.1:1", "https://127.0.0.1:2"],
        "tls": {"cert": "cert.pem", "key": "key.pem"},
    }
    settings = parse_settings(document, base=cert.parent, environ={})
    assert settings.tls is not None
    assert (settings.tls.cert, settings.tls.key) == (str(cert), str(cert.with_name("key.pem")))
    with pytest.raises(ConfigError) as refused:
        parse_settings(document, base=cert.parent, environ={"UNDERSTUDY_TLS__KEY": "cert.pem"})
    assert [problem.path for problem in refused.value.problems] == ["UNDERSTUDY_TLS__KEY"]
