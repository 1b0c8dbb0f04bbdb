"""All runs under strain, one after the other; writes SOAK.md. Started by `make soak`; takes six minutes.

Each of them is a command of its own too: idle.py, stopped_shadow.py, large.py, conservation.py.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from conservation import conservation
from idle import idle
from large import large
from soak import Soak, lines, soak_all
from stopped_shadow import stopped_shadow

PAGE = Path(__file__).with_name("SOAK.md")
HEAD = """# Understudy under strain

Written by `make soak`; do not edit by hand. [README.md](README.md) says what each run does.

"""


def write(found: Sequence[Soak], circumstances: str) -> None:
    """SOAK.md."""
    parts = [HEAD + f"{circumstances}\n"]
    for soak in found:
        table = [("", "measured", "wanted", "verdict"), ("---", "---:", "---:", "---"), *lines(soak)]
        parts.append(
            f"## {soak.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"
        )
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    sys.exit(soak_all(__doc__ or "", [idle, large, conservation, stopped_shadow], page=write))
