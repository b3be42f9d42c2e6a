"""A chain as a few lines of Markdown, for the page of a materialization."""

from __future__ import annotations

from robot_assets.core.markdown import code, literal
from robot_assets.core.text import plural
from robot_assets.lineage.chain import Chain, Link
from robot_assets.lineage.report.phrases import missing_gates, outcome, short, verdict


def summary(chain: Chain) -> str:
    """The verdict, a table with a row for each step, and the problems. All names and texts are escaped."""
    mark = "❌" if chain.problems else "✅"
    head = f"{mark} **{verdict(chain)}** — {literal(chain.head.asset)} `{short(chain.head.version)}`"
    if not chain.problems:
        head += f", {plural(len(chain.links), 'step')}"
    rows = ["| step | data version | commit | gates | problems |", "|---|---|---|---|---|", *map(_row, chain.links)]
    problems = [f"- {literal(problem)}" for problem in chain.problems]
    return "\n\n".join(["\n".join(part) for part in ([head], rows, problems) if part])


def _row(link: Link) -> str:
    gates = [f"{gate.name} {outcome(gate)}" for gate in link.gates] + [
        f"{name} missing" for name in missing_gates(link)
    ]
    cells = (
        literal(link.asset),
        f"`{code(short(link.version))}`",
        _commit(link),
        literal(", ".join(gates)) or "—",
        str(len(link.problems)) if link.problems else "—",
    )
    return f"| {' | '.join(cells)} |"


def _commit(link: Link) -> str:
    if link.record is None:
        return "observed" if link.observed_at else "no record"
    if link.record.git_commit is None:
        return "none"
    return f"`{code(link.record.git_commit[:8])}`" + (" + changes" if link.record.git_dirty else "")
