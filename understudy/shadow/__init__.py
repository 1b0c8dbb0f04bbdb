"""Rehearsals: copies of live requests, sent, collected and settled off the request's path."""

from understudy.shadow.assess import Assessment, Assessor, Found
from understudy.shadow.call import ShadowCall
from understudy.shadow.draws import Draws
from understudy.shadow.exchange import MirroredExchange
from understudy.shadow.mirror import Limits, Mirror, Recorder
from understudy.shadow.pieces import keep
from understudy.shadow.redaction import Redaction, is_plain
from understudy.shadow.target import Copy, Target
from understudy.shadow.units import unit_digest

__all__ = [
    "Assessment",
    "Assessor",
    "Copy",
    "Draws",
    "Found",
    "Limits",
    "Mirror",
    "MirroredExchange",
    "Recorder",
    "Redaction",
    "ShadowCall",
    "Target",
    "is_plain",
    "keep",
    "unit_digest",
]
