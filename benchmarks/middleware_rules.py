"""What the applications that `middleware.py` measures answer, and the rules they are behind.

Their environment says how: SHADOW (the port of the service that rehearses), BODY (a file with the answer).
"""

import os
from pathlib import Path
from typing import Any

MODES = ("bare", "idle", "looked_up", "plain", "decided", "mirrored")
"""Ways to serve, each at a path of its own: without a middleware, behind one that does nothing, behind one
that looks up what it knows of the path, and behind Understudy's."""

BODY = Path(os.environ["BODY"]).read_bytes()


def configuration(mode: str) -> dict[str, Any]:
    """Everybody meets the one variant that *mode* is about, by a rule that hashes a cookie."""
    split = [["dark", 100], ["stable", 0]] if mode == "mirrored" else [["dark", 0], ["stable", 100]]
    return {
        "store": "memory://",
        "services": {"v2": {"url": f"http://127.0.0.1:{os.environ['SHADOW']}"}},
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"stable": {}, "dark": {"mirror": ["v2"]}},
                "defaultVariant": "stable",
                "targeting": {"fractional": split},
            }
        },
        "routes": [{"path": "/elsewhere" if mode == "plain" else "/", "flag": "shop", "unit": "cookie:uid"}],
        "shadow": {"control": 0},
    }
