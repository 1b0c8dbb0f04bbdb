"""A compare rule with one path more or one less: what a click on the report writes into the rules document.

Pure. What would hide more than was looked at is refused, with the reason (after Keploy's list).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.admin.refusal import Refusal
from understudy.comparators import CompareRule, parse_compare_rules

ACTIONS: Final = ("ignore", "unordered")
FIELDS: Final = ("endpoint", "action", "path")
MOST_CHARACTERS: Final = 4000

OVER_BROAD: Final = "OVER_BROAD"
ROOT_VALUE: Final = "ROOT_VALUE"
STRUCTURAL: Final = "STRUCTURAL"

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """*path* under *action* (a list of a compare rule) at *endpoint*, all valid by construction."""

    endpoint: str
    action: str
    path: str

    @property
    def words(self) -> str:
        """For the history of the rules document: ``ignore /body/total at GET /orders/{id}``."""
        return f"{self.action} {self.path} at {self.endpoint}"


def read_amendment(given: object) -> Amendment:
    """The amendment that *given* (parsed JSON, or query parameters) asks for. Raises: Refusal 422."""
    if not isinstance(given, Mapping):
        raise _mistakes([("", f"must be an object with {', '.join(FIELDS)}", "")])
    mistakes = [(name, "unknown key", f"one of {', '.join(FIELDS)}") for name in given if name not in FIELDS]
    mistakes += [(name, message, "") for name in FIELDS if (message := _mistake(given.get(name)))]
    if not mistakes and given["action"] not in ACTIONS:
        mistakes.append(("action", f"unknown action {given['action']!r}", f"one of {', '.join(ACTIONS)}"))
    if mistakes:
        raise _mistakes(mistakes)
    rule = _read({"endpoint": given["endpoint"], given["action"]: [given["path"]]})
    amendment = Amendment(endpoint=rule.endpoint, action=given["action"], path=given["path"])
    _check_breadth(amendment, rule)
    return amendment


def add(compare: Sequence[Any], amendment: Amendment) -> tuple[list[Any], Rule]:
    """*compare* (the section of a rules document) with *amendment*, and the rule that now holds it.

    It goes into the endpoint's own rule when there is one. What is there already is not added again.
    """
    held = _holding(compare, amendment)
    if held is not None:
        return list(compare), compare[held]
    at = next((at for at, rule in enumerate(compare) if _endpoint_of(rule) == amendment.endpoint), None)
    if at is None:
        rule: Rule = {"endpoint": amendment.endpoint, amendment.action: [amendment.path]}
        return [*compare, rule], rule
    rule = {**compare[at], amendment.action: [*compare[at].get(amendment.action, ()), amendment.path]}
    return [*compare[:at], rule, *compare[at + 1 :]], rule


def remove(compare: Sequence[Any], amendment: Amendment) -> tuple[list[Any], Rule | None]:
    """*compare* without *amendment*, and what is left of the rule: None when nothing is, and it is gone.

    Raises: Refusal 404 when no rule of the endpoint names exactly this path.
    """
    held = _holding(compare, amendment)
    if held is None:
        detail = (
            f"no compare rule of {amendment.endpoint} has {amendment.path} under {amendment.action}; "
            "a rule that covers more than this path is changed in the rules document"
        )
        raise Refusal(404, detail)
    kept = {
        name: value if name != amendment.action else [path for path in value if path != amendment.path]
        for name, value in compare[held].items()
    }
    rule = {name: value for name, value in kept.items() if name != amendment.action or value}
    left = rule if len(rule) > 1 else None
    return [*compare[:held], *([left] if left else []), *compare[held + 1 :]], left


def _holding(compare: Sequence[Any], amendment: Amendment) -> int | None:
    for at, rule in enumerate(compare):
        if _endpoint_of(rule) == amendment.endpoint and amendment.path in rule.get(amendment.action, ()):
            return at
    return None


def _endpoint_of(rule: object) -> str:
    """The endpoint as rules are matched by it: ``/x`` means ``* /x``. Empty for what is no rule."""
    if not isinstance(rule, Mapping):
        return ""
    read, _ = parse_compare_rules([{"endpoint": rule.get("endpoint")}])
    return read[0].endpoint if read else ""


def _check_breadth(amendment: Amendment, rule: CompareRule) -> None:
    tokens = amendment.path.split("/")[1:]
    if not rule.template:
        detail = f"{amendment.endpoint} names many endpoints; what differs was seen at one"
        raise _refused(amendment, OVER_BROAD, detail, name="endpoint")
    if tokens == ["status"]:
        detail = "a status says what the answer means; what else differs then counts for nothing"
        raise _refused(amendment, STRUCTURAL, detail)
    if amendment.action == "unordered":
        return
    if amendment.path in ("", "/", "/body", "/headers"):
        raise _refused(amendment, ROOT_VALUE, f"{amendment.path or '/body'} is all there is to compare")
    if all(_is_wild(token) for token in (tokens[1:] if tokens[0] in ("body", "headers") else tokens)):
        raise _refused(amendment, OVER_BROAD, f"{amendment.path} covers everything below it")


def _is_wild(token: str) -> bool:
    return token in ("*", "") or (token[0] == "{" and token[-1] == "}")


def _mistake(value: object) -> str:
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    return f"must be at most {MOST_CHARACTERS:,} characters" if len(value) > MOST_CHARACTERS else ""


def _read(rule: Rule) -> CompareRule:
    read, problems = parse_compare_rules([rule])
    if problems:
        raise _mistakes(
            [
                ("endpoint" if ".endpoint" in problem.path else "path", problem.message, problem.hint)
                for problem in problems
            ]
        )
    return read[0]


def _mistakes(mistakes: Sequence[tuple[str, str, str]]) -> Refusal:
    errors = [{"path": path, "message": message, "hint": hint} for path, message, hint in mistakes]
    told = "; ".join(f"{path}: {message}".removeprefix(": ") for path, message, _ in mistakes)
    return Refusal(422, f"{told}; nothing was changed", errors=errors)


def _refused(amendment: Amendment, reason: str, why: str, *, name: str = "path") -> Refusal:
    hint = "write it into the rules document by hand if it is meant"
    errors = [{"path": name, "message": why, "hint": hint}]
    detail = f"{amendment.action} is refused: {why}; {hint}"
    return Refusal(422, detail, reason=reason, errors=errors)
