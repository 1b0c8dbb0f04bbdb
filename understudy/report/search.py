"""Which findings and endpoints a reader asked for: by words of their names, and by verdict."""

from dataclasses import dataclass
from typing import Final

from understudy.report.view import VERDICTS, Endpoint, Finding, View

SLOWER: Final = "slower"
"""Stands beside the verdicts: endpoints whose shadow is slower."""

CHOICES: Final = (*VERDICTS, SLOWER)
MOST_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """*text*: words that must all occur, whatever their case. *verdict*: one of ``CHOICES``, or empty."""

    text: str = ""
    verdict: str = ""

    @property
    def is_narrowing(self) -> bool:
        """Whether anything is left out."""
        return bool(self.text.split() or self.verdict)

    def findings(self, view: View) -> tuple[Finding, ...]:
        """The findings of *view* that are meant, in its order."""
        return tuple(finding for finding in view.findings if self._is_finding(finding))

    def endpoints(self, view: View) -> tuple[Endpoint, ...]:
        """The endpoints of *view* that are meant themselves or for one of their findings, in its order."""
        return tuple(endpoint for endpoint in view.endpoints if self._is_endpoint(endpoint))

    def _is_finding(self, finding: Finding) -> bool:
        return self.verdict in ("", finding.verdict) and self._has_words(
            f"{finding.endpoint} {finding.service} {finding.path} {finding.kind}"
        )

    def _is_endpoint(self, endpoint: Endpoint) -> bool:
        if any(self._is_finding(finding) for finding in endpoint.findings):
            return True
        is_slow = self.verdict == SLOWER and endpoint.latency_verdict == "regression"
        return (is_slow or self.verdict in ("", endpoint.verdict)) and self._has_words(
            f"{endpoint.endpoint} {endpoint.service}"
        )

    def _has_words(self, text: str) -> bool:
        lowered = text.lower()
        return all(word in lowered for word in self.text.lower().split())


def read_search(text: str, verdict: str) -> Search:
    """What query parameters ask for; what is no choice counts as none."""
    return Search(text=text[:MOST_CHARACTERS].strip(), verdict=verdict if verdict in CHOICES else "")
