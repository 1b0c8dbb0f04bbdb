"""Clients that end have patience: what they send then arrives, however slow the machine."""

import pytest


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.client.life.LAST_SECONDS", 60.0)
    monkeypatch.setattr("understudy.client.client._CLOSE_SECONDS", 60.0)
