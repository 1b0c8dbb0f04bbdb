"""Flags to and from other products, and which of ours nobody needs any more. Pure."""

from understudy.transfer.flagd import lost_in_flagd, read_flagd, write_flagd
from understudy.transfer.growthbook import read_growthbook
from understudy.transfer.imported import FORMATS, Imported
from understudy.transfer.merging import Merged, Mode, merged
from understudy.transfer.reading import kind_of, read_flags
from understudy.transfer.stale import Stale, Use, stale_flags
from understudy.transfer.unleash import read_unleash

__all__ = [
    "FORMATS",
    "Imported",
    "Merged",
    "Mode",
    "Stale",
    "Use",
    "kind_of",
    "lost_in_flagd",
    "merged",
    "read_flagd",
    "read_flags",
    "read_growthbook",
    "read_unleash",
    "stale_flags",
    "write_flagd",
]
