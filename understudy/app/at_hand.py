"""The rules that a worker starts from when nobody hands it any."""

import logging
from pathlib import Path

from understudy.config import Rules, Settings, parse_rules
from understudy.errors import UnderstudyError

log = logging.getLogger("understudy.worker")


def rules_at_hand(settings: Settings, base: Path) -> tuple[Rules, str]:
    """The last good rules of this host when it has any that fit, else the configured ones; and which.

    The last good ones have the kill switches and shares that were in force; the configuration's own are
    only the seed of a store, perhaps of months ago. *base* is where relative files of the configuration lie.
    """
    # Needed on the worst day only.
    from understudy.store.location import last_good

    file = last_good(settings.store, base, settings.environment)
    found = file.read() if file is not None else None
    if found is not None:
        stored, _ = found
        try:
            rules = parse_rules(stored.document, services=settings.services)
        except UnderstudyError as error:
            log.error("the last good rules, version %d, do not fit: %s", stored.version, error)
        else:
            return rules, f"the last good rules, version {stored.version}"
    return settings.rules, "the configuration"
