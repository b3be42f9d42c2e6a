"""A chain as one HTML file: no network, no script, readable on paper and in dark mode.

Everything that was recorded (names, parameters, summaries of gates) is untrusted text: the template escapes all of
it, and the page's content security policy forbids scripts and requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.text import plural
from robot_assets.lineage.chain import Chain, Link
from robot_assets.lineage.report import phrases
from robot_assets.lineage.report.layout import Layout, Point, Sizes, lay_out

if TYPE_CHECKING:
    from jinja2 import Template

_SIZES = Sizes()
_LETTERS = 18
"""Letters of an asset's name that fit into a node."""


@dataclass(frozen=True)
class Node:
    """A link in the picture: its box, and the lines of text in it."""

    number: int
    left: float
    top: float
    role: str
    name: str
    version: str
    mark: str
    mark_is_good: bool
    is_bad: bool
    title: str


def page(chain: Chain, made_at: datetime | None = None) -> str:
    """The whole page.

    Args:
        chain: The chain to show.
        made_at: Time of the page, with a time zone; now when None.
    """
    layout = lay_out(chain, _SIZES)
    place = {(link.asset, link.version): number for number, link in enumerate(chain.links, start=1)}
    return _template().render(
        chain=chain,
        place=place,
        layout=layout,
        sizes=_SIZES,
        nodes=_nodes(chain, layout),
        curves=[_curve(edge) for edge in layout.edges],
        made_at=phrases.when((made_at or datetime.now(UTC)).isoformat()),
        period=_period(chain),
        commits=_commits(chain),
        machines=sorted({link.record.node for link in chain.links if link.record}),
    )


def _nodes(chain: Chain, layout: Layout) -> list[Node]:
    numbered = enumerate(zip(chain.links, layout.nodes, strict=True), start=1)
    return [_node(number, link, middle, chain.head.asset) for number, (link, middle) in numbered]


def _node(number: int, link: Link, middle: Point, head: str) -> Node:
    bad_gates = [f"{gate.name} failed" for gate in link.gates if not gate.passed]
    bad_gates += [f"{name} is missing" for name in phrases.missing_gates(link)]
    passed = f"{plural(len(link.gates), 'gate')} passed" if link.gates else ""
    return Node(
        number=number,
        left=middle.x - _SIZES.node_width / 2,
        top=middle.y - _SIZES.node_height / 2,
        role=link.role,
        name=_clipped(link.asset, head),
        version=phrases.short(link.version),
        mark=bad_gates[0] if bad_gates else passed,
        mark_is_good=not bad_gates,
        is_bad=bool(link.problems),
        title=f"{link.asset} {link.version}",
    )


def _clipped(asset: str, head: str) -> str:
    """The name without the first part that it shares with the artifact, and without its beginning where it is long."""
    name = asset.removeprefix(f"{head.split('/')[0]}/")
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


def _curve(points: tuple[Point, ...]) -> str:
    """SVG path from the right edge of the input to the left edge of its reader, flat where it meets a layer."""
    half = _SIZES.node_width / 2
    start, *_, end = points
    parts = [f"M{start.x + half:.1f},{start.y:.1f}"]
    for one, other in pairwise(points):
        begin, stop = one.x + half, other.x - half
        middle = (begin + stop) / 2
        parts.append(f"C{middle:.1f},{one.y:.1f} {middle:.1f},{other.y:.1f} {stop:.1f},{other.y:.1f}")
        if other is not end:
            parts.append(f"H{other.x + half:.1f}")
    return " ".join(parts)


def _period(chain: Chain) -> str:
    times = sorted(link.record.started_at for link in chain.links if link.record)
    if not times:
        return "unknown"
    first, last = phrases.when(times[0]), phrases.when(times[-1])
    return first if first == last else f"{first} to {last}"


def _commits(chain: Chain) -> list[str]:
    return list(dict.fromkeys(link.record.git_commit for link in chain.links if link.record and link.record.git_commit))


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words: dict[str, Any] = {
        name: getattr(phrases, name)
        for name in (
            "explanation",
            "leaves",
            "missing_gates",
            "outcome",
            "reasons",
            "short",
            "size",
            "span",
            "state_of_code",
            "verdict",
            "when",
            "declaration",
        )
    }
    environment.globals |= {**words, "plural": plural}
    return environment.get_template("page.html")
