"""Names of environments: what a URL, a metric label, a file name and a key of Redis all carry as it is."""

import re
from typing import Final

from understudy.config.place import Refused, shown

DEFAULT_ENVIRONMENT: Final = "default"
"""What there was before there were others, and is for who has no need of them."""
ENVIRONMENT_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,31}$"
"""No capitals, as file names are alike without them on some systems; 32, as a name stands in every row."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")


def read_environment(value: object) -> str:
    """The name of an environment. Raises Refused, with a name that would do."""
    if not isinstance(value, str):
        raise Refused(f"must be the name of an environment, not {shown(value)}", "for example staging")
    if not _NAME.match(value):
        meant = re.sub(r"[^a-z0-9_-]+", "-", value.lower()).strip("-_")[:32]
        raise Refused(
            f"{shown(value)} names no environment: 1 to 32 small letters, digits, '_' or '-'",
            f"did you mean {meant}?" if meant else "for example staging",
        )
    return value
