"""Flags to and from other products, and which of ours nobody needs any more. Pure."""

from understudy.transfer.growthbook import read_growthbook
from understudy.transfer.imported import FORMATS, Imported
from understudy.transfer.unleash import read_unleash

__all__ = ["FORMATS", "Imported", "read_growthbook", "read_unleash"]
