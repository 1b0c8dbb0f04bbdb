"""What an application compares its answers by, and what it redacts of them."""

from collections.abc import Callable

from understudy.comparators import Comparison
from understudy.config import Settings, first_origins
from understudy.shadow import Assessor, Draws, Redaction
from understudy.store import Bounds


def assessor_of(settings: Settings, redaction_key: bytes, chance: Callable[[], float]) -> Assessor:
    """The assessor of *settings*, until other rules come into force."""
    redaction = Redaction(
        key=redaction_key,
        headers=settings.redact.headers,
        paths=settings.redact.paths,
        detectors=settings.redact.detectors,
    )
    draws = Draws(chance=chance, places=Bounds().samples_per_key)
    assessor = Assessor(Comparison(settings.rules.compare), redaction, draws)
    assessor.origins = first_origins(settings.services)
    return assessor
