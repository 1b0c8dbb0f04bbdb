"""How fast flags are read, compiled and evaluated: 10,000 of them, one core, no network.

`python benchmarks/evaluating.py` prints a table in Markdown: compiled as in the wheel, as Python, and
openfeature-flagd-core in the same run. Seconds are CPU seconds; `--json` gives the figures.
"""

import argparse
import gc
import importlib
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FLAGS = 10_000
MEMBERS = 100_000
ROUNDS = 5
ROUND_CALLS = 40_000
GOALS: Mapping[str, str] = {
    "static": "≥ 600,000/s",
    "targeting": "≥ 250,000/s",
    "fractional": "≥ 250,000/s",
    "load": "≤ 1 s",
    "arrival": "≤ 1 s",
    "memory": "≤ 150 MiB",
}
TITLES: Mapping[str, str] = {
    "static": "static: no rule",
    "targeting": "targeting: a part of a text, then one of two variants",
    "fractional": "fractional: 25 of 100 by flag key and `targetingKey`",
    "country": "one of five countries, else the default",
    "complex": "three conditions with a version, else fractional",
    "segment": f"a segment of {MEMBERS:,} ids, by `$ref`",
    "prerequisite": "another flag's variant",
    "load": f"read (JSON) and compile {FLAGS:,} flags",
    "check": f"check and compile {FLAGS:,} flags, as before they are in force",
    "arrival": f"from the text of {FLAGS:,} flags to answers: read, check, compile (control process)",
    "worker": f"a worker's part of {FLAGS:,} flags, when one has changed: read, check, compile",
    "change": f"compile again after one of {FLAGS:,} changed",
    "memory": f"memory for {FLAGS:,} flags with their document",
}
KEY = {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}
ADULT = {"and": [{"==": [{"var": "tier"}, "premium"]}, {">=": [{"var": "age"}, 18]}]}
RULES: Mapping[str, Any] = {
    "static": None,
    "targeting": {"if": [{"in": ["@example.com", {"var": "email"}]}, "on", "off"]},
    "fractional": {"fractional": [KEY, ["on", 25], ["off", 75]]},
    "country": {"if": [{"in": [{"var": "country"}, ["de", "fr", "it", "es", "nl"]]}, "on", None]},
    "complex": {
        "if": [
            {"and": [ADULT, {"sem_ver": [{"var": "version"}, ">=", "2.1.0"]}]},
            "on",
            {"fractional": [KEY, ["on", 10], ["off", 90]]},
        ]
    },
}


def document() -> dict[str, Any]:
    """Flags of every kind in turn, as JSON has them, and one each with a segment and a prerequisite."""
    kinds = list(RULES.items())
    flags = {f"flag-{n}": flag(kinds[n % len(kinds)][1]) for n in range(FLAGS)}
    flags["segment"] = flag({"if": [{"$ref": "people"}, "on", "off"]})
    flags["prerequisite"] = flag({"if": [{"===": [{"flag": "flag-2"}, "on"]}, "on", "off"]})
    people = {"in": [{"var": "targetingKey"}, [f"user-{2 * n}" for n in range(MEMBERS)]]}
    return {"flags": flags, "$evaluators": {"people": people}}


def flag(rule: Any) -> dict[str, Any]:
    made = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    return made if rule is None else {**made, "targeting": rule}


def contexts() -> list[dict[str, Any]]:
    return [
        {
            "targetingKey": f"user-{n}",
            "email": f"user-{n}@example.com" if n % 2 else "user@elsewhere.org",
            "tier": "premium" if n % 3 else "free",
            "age": n % 40,
            "version": "2.2.0",
            "country": "de" if n % 4 else "us",
        }
        for n in range(1000)
    ]


def keys(kind: str) -> list[str]:
    kinds = list(RULES)
    return [f"flag-{n}" for n in range(kinds.index(kind), FLAGS, len(kinds))] if kind in kinds else [kind]


def rate(ask: Callable[[str, Any], object], asked: list[str], given: list[Any], calls: int) -> float:
    """Evaluations in a CPU second, the best of some rounds; every flag and every context in turn."""
    pairs = [(asked[n % len(asked)], given[n % len(given)]) for n in range(calls)]
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for key, context in pairs:
            ask(key, context)
        best = min(best, time.process_time() - begun)
    return calls / best


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def settle() -> None:
    # As the control process has it (app/control.py).
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def measure() -> dict[str, Any]:
    from understudy.config import parse_rules
    from understudy.decide import Evaluator

    text = json.dumps(document())
    small = json.dumps({"flags": document()["flags"] | {"segment": flag(None)}})
    settle()
    before, begun = resident_mib(), time.process_time()
    read = json.loads(small)
    evaluator = Evaluator(flags=read["flags"])
    found: dict[str, float] = {"load": time.process_time() - begun, "memory": resident_mib() - before}
    again = json.loads(small)
    again["flags"]["flag-7"] = flag(None)
    begun = time.process_time()
    Evaluator(flags=again["flags"], before=evaluator)
    found["change"] = time.process_time() - begun
    del evaluator, read, again
    plain = json.loads(small)
    begun = time.process_time()
    rules = parse_rules(plain, services=())
    Evaluator(flags=rules.flags)
    found["check"] = time.process_time() - begun
    found["arrival"] = min(arrival(small) for _ in range(3))
    found["worker"] = worker_change(plain)
    whole = json.loads(text)
    full = Evaluator(flags=whole["flags"], evaluators=whole["$evaluators"])
    given = contexts()
    for kind in (*RULES, "segment", "prerequisite"):
        found[kind] = rate(full.evaluate, keys(kind), given, ROUND_CALLS)
    logic = str(getattr(importlib.import_module("understudy.decide.logic"), "__file__", ""))
    return {"is_compiled": logic.endswith(".so"), "figures": found}


def arrival(text: str) -> float:
    """CPU seconds from the *text* of a document to flags that answer."""
    from understudy.config import parse_json, parse_rules
    from understudy.decide import Evaluator

    begun = time.process_time()
    Evaluator(flags=parse_rules(parse_json(text), services=()).flags)
    return time.process_time() - begun


def worker_change(given: dict[str, Any]) -> float:
    """CPU seconds of a worker, for a change of the flag that its only route consults."""
    from understudy.config import parse_rules, routed
    from understudy.decide import compile_rules

    def document(weight: int) -> dict[str, Any]:
        rule = {"fractional": [KEY, ["canary", weight], ["stable", 100 - weight]]}
        variants = {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}}
        shop = {"variants": variants, "defaultVariant": "stable", "targeting": rule}
        return {**given, "flags": {**given["flags"], "shop": shop}, "routes": [{"path": "/", "flag": "shop"}]}

    before, changed = parse_rules(routed(document(5)), services=("v1", "v2")), document(10)
    begun = time.process_time()
    rules = parse_rules(routed(changed), services=("v1", "v2"), before=before)
    compile_rules(flags=rules.flags, routes=rules.routes, are_checked=True)
    return time.process_time() - begun


def measure_core() -> dict[str, float]:
    """The same of openfeature-flagd-core, which has no prerequisites; it reads rules as it evaluates."""
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)
    made = document()
    del made["flags"]["prerequisite"], made["flags"]["segment"], made["$evaluators"]
    text = json.dumps(made)
    settle()
    core = FlagdCore()
    before, begun = resident_mib(), time.process_time()
    core.set_flags(text)
    found = {"load": time.process_time() - begun, "memory": resident_mib() - before}
    given = [
        EvaluationContext(context["targetingKey"], {k: v for k, v in context.items() if k != "targetingKey"})
        for context in contexts()
    ]

    def ask(key: str, context: Any) -> object:
        return core.resolve_boolean_value(key, False, context)

    for kind in RULES:
        found[kind] = rate(ask, keys(kind), given, ROUND_CALLS // 10)
    return found


def child(tree: Path, what: str) -> Any:
    """What a fresh interpreter says that finds `understudy` in *tree*."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", what],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"| one core | {' | '.join(figures)} | goal |", "|---|" + "---:|" * (len(figures) + 1)]
    for kind, title in TITLES.items():
        cells = [_shown(kind, column.get(kind)) for column in figures.values()]
        lines.append(f"| {title} | {' | '.join(cells)} | {GOALS.get(kind, '')} |")
    return "\n".join(lines)


def _shown(kind: str, figure: float | None) -> str:
    if figure is None:
        return "-"
    if kind in ("load", "check", "change", "arrival", "worker"):
        return f"{figure:.3f} s" if figure < 0.1 else f"{figure:.2f} s"
    return f"{figure:.0f} MiB" if kind == "memory" else f"{round(figure, -3):,.0f}/s"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="the figures as JSON")
    arguments.add_argument("--tree", type=Path, help="a tree with compiled modules, instead of compiling one")
    arguments.add_argument("--child", choices=("ours", "core"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        print(json.dumps(measure() if given.child == "ours" else measure_core()))
        return
    figures: dict[str, Mapping[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="understudy-evaluating-") as folder:
        tree = given.tree or Path(folder)
        if given.tree is None:
            sys.path.insert(0, str(ROOT))
            importlib.import_module("hatch_build").compile_into(tree, ROOT)
        for name, where in (("compiled", tree), ("Python", ROOT)):
            said = child(where, "ours")
            if said["is_compiled"] != (name == "compiled"):
                raise SystemExit(f"{where}: these modules are not what was asked for ({name})")
            figures[name] = said["figures"]
    figures["openfeature-flagd-core"] = child(ROOT, "core")
    if given.json:
        print(json.dumps({"python": platform.python_version(), "figures": figures}, indent=2))
    else:
        print(table(figures))


if __name__ == "__main__":
    main()
