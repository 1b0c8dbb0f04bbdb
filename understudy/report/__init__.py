"""The report for people: in a terminal, as Markdown, as JUnit XML, as one HTML file, and as the live page.

Everything is drawn from the report as JSON (DESIGN §8), so any source of that JSON will do.
"""

from understudy.report.junit import render_junit
from understudy.report.markdown import render_markdown
from understudy.report.page import (
    LIVE_POLICY,
    STATIC,
    file_policy,
    render_html,
    render_live_html,
    render_sample_html,
    static_file,
)
from understudy.report.search import Search, read_search
from understudy.report.text import render_text

__all__ = [
    "LIVE_POLICY",
    "STATIC",
    "Search",
    "file_policy",
    "read_search",
    "render_html",
    "render_junit",
    "render_live_html",
    "render_markdown",
    "render_sample_html",
    "render_text",
    "static_file",
]
