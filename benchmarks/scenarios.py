"""The matrix: what is sent and answered, who takes part, and who is left out of it."""

from dataclasses import dataclass, replace

from traffic import Load

PLAIN = ("nginx", "haproxy", "envoy", "naive", "understudy")
MIRRORS = ("nginx+mirror", "envoy+mirror", "naive+mirror", "understudy+mirror")
PROXIES = ("nginx", "envoy", "understudy")
PROXY_MIRRORS = ("nginx+mirror", "envoy+mirror", "understudy+mirror")
"""Without those of which there is nothing new to learn."""
PURE = ("understudy (pure)", "understudy+mirror (pure)")
CONTROL = ("understudy+mirror+control",)
KIB_64 = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of traffic at saturation, and the peers that meet it."""

    name: str
    title: str
    load: Load
    peers: tuple[str, ...]
    workers: int = 1
    is_quick: bool = False
    """Part of `--quick`."""


SCENARIOS = (
    Scenario(
        name="get",
        title="GET, 864 bytes of JSON, the same header fields on every request",
        load=Load(),
        peers=(*PLAIN, PURE[0], *MIRRORS, PURE[1], *CONTROL),
        is_quick=True,
    ),
    Scenario(
        name="get-changing",
        title="GET, 864 bytes, a header field that changes on every request",
        load=Load(is_changing=True),
        peers=(*PROXIES, PURE[0], *PROXY_MIRRORS, PURE[1]),
    ),
    Scenario(
        name="noisy",
        title="GET, 864 bytes, one field of every answer is noise",
        load=Load(path="/noisy"),
        peers=(*PROXY_MIRRORS, *CONTROL),
        is_quick=True,
    ),
    Scenario(
        name="large",
        title="GET, 64 KiB of JSON",
        load=Load(path="/large"),
        peers=(*PLAIN, *MIRRORS),
    ),
    Scenario(
        name="large-noisy",
        title="GET, 64 KiB, one field of every answer is noise",
        load=Load(path="/large/noisy"),
        peers=(*PROXY_MIRRORS, *CONTROL),
    ),
    Scenario(
        name="post",
        title="POST of 1 KiB, 864 bytes of JSON as the answer",
        load=Load(path="/submit", method="POST", body_bytes=1024),
        peers=(*PLAIN, *MIRRORS),
    ),
    Scenario(
        name="post-large",
        title="POST of 64 KiB, 864 bytes of JSON as the answer",
        load=Load(path="/submit", method="POST", body_bytes=KIB_64),
        peers=(*PLAIN, *MIRRORS),
    ),
    Scenario(
        name="workers",
        title="GET, 864 bytes, 2 workers",
        load=Load(),
        peers=(*PLAIN, *MIRRORS),
        workers=2,
    ),
)
LATENCY = "latency"
"""The name of the runs at a fixed rate, beside those of `SCENARIOS`."""

LATENCY_PEERS = (
    ("haproxy", ""),
    ("nginx", "nginx+mirror"),
    ("envoy", "envoy+mirror"),
    ("naive", "naive+mirror"),
    ("understudy", "understudy+mirror+control"),
)
"""Who is measured at a fixed rate: without a mirror, and with one where there is one."""


def chosen(names: list[str], *, is_quick: bool) -> tuple[list[Scenario], bool]:
    """The scenarios of *names*, all of them when there are none, and whether latency is among them."""
    wanted = names or [LATENCY, *(one.name for one in SCENARIOS if one.is_quick or not is_quick)]
    found = [one for one in SCENARIOS if one.name in wanted]
    if is_quick:
        found = [replace(one, peers=tuple(peer for peer in one.peers if peer not in PURE)) for one in found]
    return found, LATENCY in wanted
