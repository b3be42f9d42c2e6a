"""Facts and pages of the domain as Dagster metadata of materializations and gates.

Pictures become Markdown with a data URI, which needs no server. A whole page is one entry, since the UI opens each
Markdown entry in a dialog of its own.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from robot_assets.core.markdown import literal
from robot_assets.core.page import Block, Facts, Page, Picture, Table, Text
from robot_assets.core.verdict import Verdict

HEADLINE_KEY = "headline"
REPORT_KEY = "report"
PAGE_KEY = "page"
"""Leads from a materialization to its page: Dagster's overview of an asset shows no observations."""
PROBLEM_KEY = "page_problem"


def facts_metadata(facts: Facts) -> dict[str, Any]:
    """Metadata of the materialization: the facts that need no measurement."""
    return {HEADLINE_KEY: facts.headline, **_shown(facts.values)}


def page_metadata(page: Page) -> dict[str, Any]:
    """Metadata of the page, which is measured and drawn after the materialization."""
    headline = {} if page.headline is None else {HEADLINE_KEY: page.headline}
    report = {REPORT_KEY: dg.MetadataValue.md("\n\n".join(map(_markdown, page.blocks)))} if page.blocks else {}
    return {**headline, **report, **_shown(page.values)}


def problem_metadata(what: str, error: Exception) -> dict[str, Any]:
    """Why a page is missing. The asset itself is stored and recorded."""
    reason = f"{type(error).__name__}: {error}"
    return {PROBLEM_KEY: f"{what} failed (the asset is not affected): {reason}"}


def verdict_metadata(verdict: Verdict) -> dict[str, Any]:
    """Facts of a gate; its numbers also as separate entries, which Dagster plots over evaluations.

    Without pictures: staleness reads the evaluations of all gates at once.
    """
    facts = {key: value for key, value in verdict.facts.items() if key != "latencies_ms"}
    figures = {key: value for key, value in facts.items() if _is_figure(value)}
    fix: dict[str, Any] = {"fix": verdict.fix} if verdict.fix and not verdict.passed else {}
    return {**fix, **figures, "facts": dg.MetadataValue.json(facts)}


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: dg.MetadataValue.json(value) if isinstance(value, dict | list | tuple) else value
        for key, value in values.items()
    }


def _markdown(block: Block) -> str:
    match block:
        case Picture(png, caption):
            return f"![{literal(caption)}](data:image/png;base64,{base64.b64encode(png).decode()})"
        case Table(first, rows):
            return _table(rows, first)
        case Text(markdown):
            return markdown


def _table(rows: Mapping[str, Mapping[str, Any]], first: str) -> str:
    columns = list(next(iter(rows.values()), {}))
    lines = [_row([first, *columns]), "|---" * (len(columns) + 1) + "|"]
    lines += [_row([name, *(_cell(row[key]) for key in columns)]) for name, row in rows.items()]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(literal, cells))} |"


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
