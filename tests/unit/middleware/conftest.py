"""Ends of applications have the time of a busy machine for what is to be stored last."""

import pytest

from understudy.middleware import exposing, stage


@pytest.fixture(autouse=True)
def patient_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they lose after two seconds would be missing in the figures."""
    monkeypatch.setattr(stage, "LAST_BATCHES_SECONDS", 25.0)
    monkeypatch.setattr(exposing, "LAST_SECONDS", 25.0)
