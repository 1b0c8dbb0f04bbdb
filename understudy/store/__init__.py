"""Where rules, evidence and samples live. Never on the path of a request."""

from understudy.store.access import AccessStore
from understudy.store.condition import REASONS, Condition
from understudy.store.environment import Environment
from understudy.store.evidence import Key, Mark
from understudy.store.exposures import Exposure, Exposures, FlagUsage, VariantUsage, is_keepable
from understudy.store.location import open_store
from understudy.store.memory import MemoryStore
from understudy.store.memory_access import MemoryAccess
from understudy.store.protocol import Store
from understudy.store.rules import StoredRules
from understudy.store.sample import Bounds, Sample

__all__ = [
    "REASONS",
    "AccessStore",
    "Bounds",
    "Condition",
    "Environment",
    "Exposure",
    "Exposures",
    "FlagUsage",
    "Key",
    "Mark",
    "MemoryAccess",
    "MemoryStore",
    "Sample",
    "Store",
    "StoredRules",
    "VariantUsage",
    "is_keepable",
    "open_store",
]
