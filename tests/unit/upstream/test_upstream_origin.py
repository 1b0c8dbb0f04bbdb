"""What a configured origin means for a connection."""

import pytest

from understudy.config import OriginTls, Service
from understudy.upstream import Origin
from understudy.upstream.origin import origins_of


@pytest.mark.parametrize(
    ("url", "place", "authority"),
    [
        ("http://shop:80", ("shop", 80, ""), b"shop:80"),
        ("https://shop:443", ("shop", 443, ""), b"shop:443"),
        ("http://[::1]:9001", ("::1", 9001, ""), b"[::1]:9001"),
        ("unix:/run/shop.sock", ("", 0, "/run/shop.sock"), b"localhost"),
        ("unix:/run/a#b?c.sock", ("", 0, "/run/a#b?c.sock"), b"localhost"),
    ],
)
def test_an_origin_says_where_it_is(url: str, place: tuple[str, int, str], authority: bytes) -> None:
    """Host and port, or the path of a socket; and what Host is when a client sent none."""
    origin = Origin(url)
    assert ((origin.host, origin.port, origin.path), origin.authority) == (place, authority)
    assert repr(origin) == url


@pytest.mark.parametrize(
    ("url", "tls", "trusted", "name"),
    [
        ("http://shop:80", OriginTls(verify=False), None, "shop"),
        ("https://shop:443", None, OriginTls(), "shop"),
        ("https://shop:443", OriginTls(ca="/ca.pem"), OriginTls(ca="/ca.pem"), "shop"),
        ("https://10.0.0.1:443", OriginTls(server_name="shop"), OriginTls(server_name="shop"), "shop"),
        ("unix:/run/shop.sock", OriginTls(), None, ""),
    ],
)
def test_only_https_is_encrypted_and_always_is(
    url: str, tls: OriginTls | None, trusted: OriginTls | None, name: str
) -> None:
    """By the system's authorities when nothing else is said; the name is the host's unless given."""
    origin = Origin(url, tls=tls)
    assert (origin.tls, origin.server_name) == (trusted, name)


def test_a_service_has_its_origins_in_order() -> None:
    """One by url, or those of the list."""
    assert [str(origin) for origin in origins_of(Service(url="http://a:80"))] == ["http://a:80"]
    many = Service(origins=("http://b:80", "unix:/run/c", "http://a:80"))
    assert [str(origin) for origin in origins_of(many)] == ["http://b:80", "unix:/run/c", "http://a:80"]
