"""What the documents say is so."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from understudy.config import parse_settings, parse_yaml, read_file

ROOT = Path(__file__).parents[2]


def _build(reference: Path) -> ModuleType:
    """``docs/build.py``, told to write into *reference*."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["REFERENCE"] = reference
    return module


def test_the_reference_is_what_the_code_says(tmp_path: Path) -> None:
    """`make docs` changes nothing, so nobody reads about an option that is gone."""
    _build(tmp_path).__dict__["main"]()
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").iterdir()}
    assert written == kept


def test_the_configuration_in_the_readme_is_valid() -> None:
    """What a newcomer copies works."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    assert parse_settings(parse_yaml(found[0]), base=ROOT, environ={}).services


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: str(path.name))
def test_every_example_is_valid(path: Path) -> None:
    """What a newcomer starts from works."""
    assert parse_settings(read_file(path), base=ROOT, environ={}).rules.routes
