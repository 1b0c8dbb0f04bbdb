"""Decide what happens to one request, and answer flags for everyone.

Pure: the same request, rules and time always give the same answer.
"""

from understudy.decide.asked import AskedFlags
from understudy.decide.definition import Document
from understudy.decide.evaluation import Evaluation, Evaluator
from understudy.decide.explain import Explanation
from understudy.decide.flags import check_evaluators, check_flag, check_routing_flag
from understudy.decide.prerequisites import referred
from understudy.decide.reasons import Why, why
from understudy.decide.routes import Route, check_route
from understudy.decide.rules import (
    CompiledRules,
    Decision,
    RuleError,
    check_routing,
    check_rules,
    check_shared,
    compile_rules,
)

__all__ = [
    "AskedFlags",
    "CompiledRules",
    "Decision",
    "Document",
    "Evaluation",
    "Evaluator",
    "Explanation",
    "Route",
    "RuleError",
    "Why",
    "check_evaluators",
    "check_flag",
    "check_route",
    "check_routing",
    "check_routing_flag",
    "check_rules",
    "check_shared",
    "compile_rules",
    "referred",
    "why",
]
