"""Compare answers, and judge what the differences mean. Pure: no clock, no chance, no network, no disk.

(primary, shadow) → `Comparison.compare` → differences → `observe` → evidence → `report`.
"""

from understudy.comparators.comparison import Comparison
from understudy.comparators.covered import covered
from understudy.comparators.difference import KINDS, Difference
from understudy.comparators.doubts import doubts
from understudy.comparators.endpoints import Endpoints
from understudy.comparators.evidence import Evidence, Key, bucket, merge, observe, quantile
from understudy.comparators.headers import UNCOMPARED_HEADERS, VOLATILE_HEADERS
from understudy.comparators.identifiers import ISSUED
from understudy.comparators.ledger import Ledger
from understudy.comparators.report import report
from understudy.comparators.rules import CompareRule, parse_compare_rules
from understudy.comparators.suggest import suggest
from understudy.comparators.templates import read_template
from understudy.comparators.tolerance import Tolerance
from understudy.comparators.verdict import noise_at

__all__ = [
    "ISSUED",
    "KINDS",
    "UNCOMPARED_HEADERS",
    "VOLATILE_HEADERS",
    "CompareRule",
    "Comparison",
    "Difference",
    "Endpoints",
    "Evidence",
    "Key",
    "Ledger",
    "Tolerance",
    "bucket",
    "covered",
    "doubts",
    "merge",
    "noise_at",
    "observe",
    "parse_compare_rules",
    "quantile",
    "read_template",
    "report",
    "suggest",
]
