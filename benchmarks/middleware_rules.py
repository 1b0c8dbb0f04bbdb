"""What the applications that `middleware.py` measures answer, and the rules they are behind.

Their environment says how: MODE (bare, plain, decided, mirrored), SHADOW (the port of the service that
rehearses), BODY (a file with the answer).
"""

import os
from pathlib import Path
from typing import Any

MODE = os.environ["MODE"]
BODY = Path(os.environ["BODY"]).read_bytes()


def configuration() -> dict[str, Any]:
    """Everybody meets the one variant that the mode is about, by a rule that hashes a cookie."""
    split = [["dark", 100], ["stable", 0]] if MODE == "mirrored" else [["dark", 0], ["stable", 100]]
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
        "routes": [{"path": "/elsewhere" if MODE == "plain" else "/", "flag": "shop", "unit": "cookie:uid"}],
        "shadow": {"control": 0},
    }
