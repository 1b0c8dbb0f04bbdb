"""`understudy token create --store`: a token made in the store itself, without the admin API."""

import asyncio
import getpass
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.admin import Refusal, make_token
from understudy.cli.frame import CommandError
from understudy.config import StorePlace, load
from understudy.store import open_store


def made_in_store(store: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What ``POST /api/v1/tokens`` would answer to *wanted*. Raises: UnderstudyError."""
    place = _place(store)
    if place == "memory://":
        raise CommandError("memory:// is in no process but its own", "restart that one: it begins anew")
    if isinstance(place, str) and place.startswith("sqlite:///") and not _file(place).exists():
        # A new, empty store would give a token that works nowhere.
        raise CommandError(f"store {_file(place)}: there is no such file", "the path of a running store")
    try:
        token, text = asyncio.run(make_token(open_store(place), wanted, user=_user(), clock=time.time))
    except Refusal as refusal:
        raise CommandError(refusal.detail) from None
    return {
        "token": text,
        "selector": token.selector,
        "name": token.name,
        "role": token.role,
        "roles": dict(token.roles),
        "flag_set": token.flag_set,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at or None,
    }


def _place(store: str) -> StorePlace:
    """The store that is meant: by its URL, or by the configuration file that names it."""
    return store if "://" in store else load(Path(store), os.environ).store


def _file(place: str) -> Path:
    return Path(place.removeprefix("sqlite:///"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
