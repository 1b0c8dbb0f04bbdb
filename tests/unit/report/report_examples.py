"""Reports as JSON (DESIGN §8), as the tests and a curious reader need them."""

from typing import Any


def finding(path: str, kind: str, verdict: str, differing: int = 40, **more: Any) -> dict[str, Any]:
    """One finding with every key of DESIGN §8."""
    return {
        "path": path,
        "kind": kind,
        "verdict": verdict,
        "differing": differing,
        "control_differing": 0,
        "rate": differing / 400,
        "e_value": 9.1e5,
        "needed": None,
        "samples": [{"primary": "9.99", "shadow": "8.99"}],
        **more,
    }


def endpoint(name: str, verdict: str = "clean", **more: Any) -> dict[str, Any]:
    """One endpoint with every key of DESIGN §8."""
    return {
        "endpoint": name,
        "service": "shop-v2",
        "exchanges": 400,
        "matched": 310 if verdict != "clean" else 400,
        "verdict": verdict,
        "latency": {
            "primary": {"p50": 0.012, "p99": 0.080},
            "shadow": {"p50": 0.015, "p99": 0.140},
            "verdict": "clean",
        },
        "findings": [],
        **more,
    }


def switch(flag: str, state: str, **shares: float | None) -> dict[str, Any]:
    """The kill switch of *flag*, whose variants have these shares; the last is the safe one."""
    variants = [
        {"variant": name, "share": share, "serve": "shop-v1", "mirror": ["shop-v2"] if name == "dark" else []}
        for name, share in shares.items()
    ]
    return {"flag": flag, "state": state, "safe_variant": next(reversed(shares), None), "variants": variants}


def full() -> dict[str, Any]:
    """A regression with findings of every verdict, and every key that may stand beside DESIGN's."""
    orders = [
        finding("/body/items/*/price", "value", "regression", with_control=40),
        finding("/body/currency", "missing", "regression", 31, samples=[{"primary": "EUR", "shadow": None}]),
        finding(
            "/body/total", "type", "undecided", 3, needed=340, samples=[{"primary": 18.5, "shadow": "18.50"}]
        ),
        finding("/body/served_at", "value", "noise", 400, control_differing=40, with_control=40),
        finding("/body/trace", "value", "ignored", 400, control_differing=0),
    ]
    search = [
        finding(
            "/body/results",
            "length",
            "regression",
            12,
            samples=[
                {
                    "primary": ["red shoes", "blue shoes", "green hat"],
                    "shadow": ["red shoes", "green hat"],
                    "request": "GET /search?q=shoes",
                }
            ],
        ),
        finding("/body/recommended/*", "value", "noise", 380, control_differing=37, with_control=40),
    ]
    status = [finding("/status", "status", "regression", 9, samples=[{"primary": 200, "shadow": 500}])]
    slow = {
        "primary": {"p50": 0.004, "p99": 0.012},
        "shadow": {"p50": 0.052, "p99": 0.31},
        "verdict": "regression",
    }
    return {
        "verdict": "regression",
        "exchanges": 1200,
        "with_control": 118,
        "rules_version": 3,
        "since": 1_767_000_000,
        "generated_at": 1_767_003_600,
        "mirror": {
            "eligible": 1210,
            "sent": 1200,
            "skipped": {"body_too_large": 6},
            "dropped": {"in_flight": 4},
            "answered": 1198,
            "failed": {"timeout": 2},
        },
        "traffic": [
            {"flag": "shop", "variant": "stable", "service": "shop-v1", "requests": 4503},
            {"flag": "shop", "variant": "dark", "service": "shop-v1", "requests": 1210},
            {"flag": "shop", "variant": "canary", "service": "shop-v2", "requests": 287},
        ],
        "switches": [
            switch("shop", "ENABLED", canary=0.05, dark=0.2, stable=0.75),
            switch("checkout", "KILLED", new=None, old=0.5),
            switch("banner", "KILLED"),
        ],
        "killed": [
            {
                "flag": "checkout",
                "by": "rules",
                "who": "ann",
                "at": 1_767_002_000,
                "reason": "orders are lost",
            },
            {"flag": "checkout", "by": "kill_file", "files": ["/etc/understudy/killed"]},
            {"flag": "banner", "by": "rules", "who": None, "at": None, "reason": None},
        ],
        "endpoints": [
            endpoint("GET /orders/{id}", "regression", findings=orders),
            endpoint("GET /search", "regression", exchanges=300, matched=260, findings=search),
            endpoint("GET /stock/{id}", "regression", exchanges=150, matched=141, findings=status),
            endpoint("GET /reports/daily", "clean", exchanges=50, matched=50, latency=slow),
            endpoint("GET /", "clean", exchanges=300, matched=300),
        ],
    }


def empty() -> dict[str, Any]:
    """Nothing was mirrored yet."""
    mirror = {"eligible": 0, "sent": 0, "skipped": {}, "dropped": {}, "answered": 0, "failed": {}}
    return {"verdict": "undecided", "exchanges": 0, "with_control": 0, "mirror": mirror, "endpoints": []}


def clean() -> dict[str, Any]:
    """Two endpoints, one noisy path, nothing wrong."""
    noise = finding("/body/served_at", "value", "noise", 400, control_differing=40, with_control=40)
    return full() | {
        "verdict": "clean",
        "exchanges": 800,
        "endpoints": [endpoint("GET /orders/{id}", "clean", findings=[noise]), endpoint("GET /")],
    }


def undecided() -> dict[str, Any]:
    """One path waits for more evidence."""
    waiting = finding("/body/total", "value", "undecided", 3, needed=340)
    return full() | {
        "verdict": "undecided",
        "exchanges": 60,
        "endpoints": [
            endpoint("GET /orders/{id}", "undecided", exchanges=60, matched=57, findings=[waiting])
        ],
    }


def huge() -> dict[str, Any]:
    """500 endpoints, long paths, 10 kB samples, many scripts and directions of writing."""
    long = "x" * 5000
    samples = [
        {"primary": f"{long}42{long}", "shadow": f"{long}43{long}"},
        {"primary": "שלום עולם مرحبا", "shadow": "\u202eevil\u202c <script>alert(1)</script>"},
        {"primary": "日本語のテキスト 👩‍👩‍👧", "shadow": {"deep": [{"a": 1}, {"b": ["c", None, True]}]}},
        {"primary": "line one\nline two\nline three", "shadow": "line one\nline 2\nline three\n"},
    ]
    rows = []
    for number in range(500):
        path = "/body/" + "/".join(f"level{depth}_{number}" for depth in range(30 if number % 50 == 0 else 2))
        found = [
            finding(path, "value", "regression" if number % 5 == 0 else "noise", number + 1, samples=samples)
        ]
        name = f"GET /shop/{'very/' * (40 if number % 100 == 0 else 1)}long/{number}/{{id}}"
        rows.append(endpoint(name, "regression" if number % 5 == 0 else "clean", findings=found))
    return full() | {"exchanges": 200_000, "endpoints": rows}


HOSTILE = (
    "<script>document.title='PWNED'</script>",
    "<img src=x onerror=\"document.title='PWNED'\">",
    "<svg onload=document.title='PWNED'>",
    "\"><script>document.title='PWNED'</script>",
    "'><img src=x onerror=document.title='PWNED'>",
    "</pre></details><script>document.title='PWNED'</script>",
    "</style><script>document.title='PWNED'</script>",
    "</title><script>document.title='PWNED'</script>",
    "</code><iframe srcdoc=\"<script>top.document.title='PWNED'</script>\">",
    "<iframe src=javascript:top.document.title='PWNED'>",
    "<a href=\"javascript:document.title='PWNED'\" autofocus onfocus=document.title='PWNED'>x</a>",
    "<body onload=document.title='PWNED'>",
    "<input autofocus onfocus=document.title='PWNED'>",
    "<details open ontoggle=document.title='PWNED'>",
    "<video><source onerror=document.title='PWNED'></video>",
    "<math><mtext></mtext><mglyph><style><!--</style><img src onerror=document.title='PWNED'>",
    "<svg><script>document.title='PWNED'</script></svg>",
    "<svg><animate onbegin=document.title='PWNED' attributeName=x dur=1s>",
    "<object data=javascript:document.title='PWNED'>",
    "<embed src=javascript:document.title='PWNED'>",
    "<link rel=stylesheet href=javascript:document.title='PWNED'>",
    "<meta http-equiv=refresh content=\"0;url=javascript:document.title='PWNED'\">",
    "<base href=//evil.example/>",
    "<form action=javascript:document.title='PWNED'><button autofocus>",
    "<marquee onstart=document.title='PWNED'>",
    "<template><script>document.title='PWNED'</script></template>",
    "<noscript><p title=\"</noscript><img src=x onerror=document.title='PWNED'>\">",
    "<!--><script>document.title='PWNED'</script>-->",
    "<![CDATA[<script>document.title='PWNED'</script>]]>",
    "<?xml version='1.0'?><script>document.title='PWNED'</script>",
    "{{ 7*7 }}{% raw %}<script>document.title='PWNED'</script>",
    "{{ cycler.__init__.__globals__ }}",
    "${document.title='PWNED'}",
    "`-(document.title='PWNED')-`",
    "javascript:document.title='PWNED'",
    "\" onmouseover=\"document.title='PWNED'\" autofocus onfocus=\"document.title='PWNED'",
    "' onload='document.title=\"PWNED\"'",
    "&lt;script&gt;document.title='PWNED'&lt;/script&gt;",
    "&#60;script&#62;document.title='PWNED'&#60;/script&#62;",
    "<scr\x00ipt>document.title='PWNED'</scr\x00ipt>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<script\n>document.title='PWNED'</script\n>",
    "<style>@import '//evil.example/x.css';</style>",
    "<div style=\"background:url(javascript:document.title='PWNED')\">",
    "<xss style=\"animation-name:x\" onanimationend=document.title='PWNED'>",
    "<select><noembed></select><script>document.title='PWNED'</script>",
    "\u2028<script>document.title='PWNED'</script>\u2029",
    "\u202e<script>document.title='PWNED'</script>",
    "\x1b]0;PWNED\x07\x1b[2J\x1b[31mred",
    "+ADw-script+AD4-document.title='PWNED'+ADw-/script+AD4-",
)
"""Fifty texts that would run as a script, or repaint a terminal, if they were ever more than text."""


MARKUP = (
    "```",
    "````\n```diff\n- x",
    "~~~",
    "`a` ``b`` `",
    "a\n\n# A heading\n\n* a list",
    "a\r\n\r\n<h1>a heading</h1>",
    "</code></pre></details><h1>out</h1>",
    "| a | b |\n|---|---|\n| c | d |",
    "a \\| b | c \\\\| d \\",
    "@everyone @octocat/team",
    "#1 octocat/repo#1 !1 $1 ~bug %v1 &1 GH-1",
    "https://evil.example/x http://evil.example",
    "www.evil.example",
    "mail somebody@evil.example now",
    "<https://evil.example> <somebody@evil.example>",
    "[click](javascript:alert(1)) ![beacon](https://evil.example/b.png)",
    "[click][1]\n\n[1]: https://evil.example",
    "![beacon]: https://evil.example",
    "<!-- hidden",
    "**bold** _em_ ~~gone~~ ==mark== :tada:",
    "$\\href{https://evil.example}{x}$ $`x`$",
    "[^1] [x] - [ ] task",
    "&lt;script&gt; &#64;everyone &amp;",
    "]]> <![CDATA[ <!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]> &y;",
    "\x00\x08\x0b\x1b[31m\ufffe\uffff\ud800",
    "\u202eevil\u202c \u2066x\u2069 \u200b",
    "",
    "   ",
    "\t",
    "x" * 100_000,
)
"""Texts that would be markup, a link, a mention or broken XML, if they were ever more than text."""


def hostile(texts: tuple[str, ...] = HOSTILE) -> dict[str, Any]:
    """Every text that a service or a client controls is one of *texts*."""
    rows = []
    for text in texts:
        samples = [
            {"primary": text, "shadow": text[::-1] + text, "request": text, "curl": text, "id": text},
            {"primary": {text: [text]}, "shadow": text},
        ]
        found = [
            finding("/body/" + text, text, "regression", samples=samples),
            finding(text, text, "undecided", samples=samples[1:]),
            finding("/headers/" + text, "header", "noise", samples=samples),
        ]
        rows.append(endpoint("GET /" + text, "regression", service=text, notes=[text], findings=found))
        rows.append(endpoint(text, "undecided", service=text))
    traffic = [{"flag": text, "variant": text, "service": text, "requests": 5} for text in texts]
    flow = {
        "eligible": 50,
        "sent": 49,
        "skipped": {texts[0]: 1},
        "dropped": {},
        "answered": 48,
        "failed": {texts[1]: 1},
    }
    return full() | {"endpoints": rows, "traffic": traffic, "mirror": flow, "notes": list(texts)}


def markup() -> dict[str, Any]:
    """Every text that a service or a client controls is one of MARKUP."""
    return hostile(MARKUP)


def latency(verdict: str = "regression") -> dict[str, Any]:
    """The latency of an endpoint with every key: 48 ms slower at the median."""
    return {
        "primary": {
            "p50": 0.004,
            "p90": 0.008,
            "p99": 0.012,
            "intervals": {"p50": [0.0038, 0.0041], "p90": [0.007, 0.009], "p99": [0.01, 0.02]},
            "buckets": [[0.005, 40], [0.01, 9], [0.02, 1]],
        },
        "shadow": {
            "p50": 0.052,
            "p90": 0.1,
            "p99": 0.31,
            "intervals": {"p50": [0.05, 0.054], "p90": [0.09, 0.12], "p99": [0.2, 0.4]},
            "buckets": [[0.05, 30], [0.1, 19], [0.4, 1]],
        },
        "delta": {
            "p50": 0.048,
            "p90": 0.092,
            "p99": 0.3,
            "intervals": {"p50": [0.046, 0.05], "p90": [0.08, 0.11], "p99": [-0.01, 0.39]},
            "slower": 0.98,
            "buckets": [[-0.001, 1], [0.05, 30], [0.1, 18], [0.4, 1]],
        },
        "tolerance": 0.1,
        "verdict": verdict,
        "e_value": 1e9,
        "answers": 50,
        "needed": None,
    }
