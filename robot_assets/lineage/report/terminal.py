"""A chain on a terminal: the verdict, the tree of inputs, then every step in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from robot_assets.core.text import plural
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.record import Record
from robot_assets.lineage.report.phrases import (
    declaration,
    leaves,
    missing_gates,
    outcome,
    printable,
    reasons,
    short,
    size,
    span,
    state_of_code,
    verdict,
    when,
)

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

COLUMNS = 100
_BAD, _GOOD, _QUIET, _HOLE = "bold red", "green", "dim", "yellow"
_NAMED_AT_MOST = 2


def rendered(chain: Chain) -> Group:
    """The chain for a rich console of at most ``COLUMNS`` columns."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_headline(chain), Text(), _tree(chain)]
    for number, link in enumerate(chain.links, start=1):
        parts += [Text(), _title(number, link), _details(link)]
    return Group(*parts)


def plain(chain: Chain) -> str:
    """The same without colour, for a file or a pipe."""
    import io

    from rich.console import Console

    lines = io.StringIO()
    Console(file=lines, width=COLUMNS, color_system=None, legacy_windows=False).print(rendered(chain))
    return "".join(f"{line.rstrip()}\n" for line in lines.getvalue().splitlines())


def _headline(chain: Chain) -> Group:
    from rich.console import Group
    from rich.text import Text

    head = Text.assemble((printable(chain.head.asset), "bold"), "  ", printable(chain.head.version))
    if not chain.problems and chain.holes:
        count = f"  {plural(len(chain.links), 'step')}, {plural(len(chain.holes), 'hole')}"
        return Group(head, Text.assemble(("✔ clean, and not complete", f"bold {_HOLE}"), count))
    if not chain.problems:
        answer = Text.assemble(("✔ complete and clean", f"bold {_GOOD}"), f"  {plural(len(chain.links), 'step')}")
        return Group(head, answer)
    return Group(head, Text(f"✘ {verdict(chain)}", _BAD), _problems(chain))


def _problems(chain: Chain) -> Table:
    rows = [(_text(link.asset, ""), _text(problem, "red")) for link in chain.links for problem in link.problems]
    return _grid(rows, indent=2)


def _tree(chain: Chain) -> Tree:
    """Each link with its inputs below it; one that was shown above is named again, without its inputs."""
    from rich.tree import Tree

    links = {(link.asset, link.version): link for link in chain.links}
    place = {key: number for number, key in enumerate(links)}

    def read_by(link: Link) -> Iterator[tuple[str, str]]:
        inputs = link.record.inputs.items() if link.record else ()
        return iter(sorted(inputs, key=lambda key: place[key]))

    shown = {(chain.head.asset, chain.head.version)}
    root = Tree(_node(chain.head), guide_style=_QUIET)
    path = [(root, read_by(chain.head))]
    while path:
        branch, rest = path[-1]
        key = next(rest, None)
        if key is None:
            path.pop()
        elif key in shown:
            branch.add(_text(f"{key[0]} {short(key[1])}, above", _QUIET))
        else:
            shown.add(key)
            path.append((branch.add(_node(links[key])), read_by(links[key])))
    return root


def _node(link: Link) -> Text:
    from rich.text import Text

    text = Text.assemble((printable(link.asset), "bold"), "  ", (printable(short(link.version)), "cyan"))
    passed = [gate.name for gate in link.gates if gate.passed]
    if passed:
        names = ", ".join(passed) if len(passed) <= _NAMED_AT_MOST else f"{len(passed)} gates"
        text.append(f"  ✔ {printable(names)}", _GOOD)
    for gate in link.gates:
        if not gate.passed:
            text.append(f"  ✘ {printable(gate.name)}", _BAD)
    for name in missing_gates(link):
        text.append(f"  ? {printable(name)}", _BAD)
    if link.problems:
        text.append(f"  {plural(len(link.problems), 'problem')}", _BAD)
    if link.hole:
        text.append(f"  hole: {printable(link.hole)}", _HOLE)
    return text


def _title(number: int, link: Link) -> RenderableType:
    from rich.rule import Rule
    from rich.text import Text

    title = Text.assemble((f"{number}  "), (printable(link.asset), "bold"), (f"  {printable(link.role)}", _QUIET))
    return Rule(title, align="left", style=_QUIET)


def _details(link: Link) -> Table:
    rows: list[tuple[str, RenderableType]] = [("problem", _text(problem, _BAD)) for problem in link.problems]
    rows.append(("data version", _text(link.version)))
    if link.record is None:
        rows.append(("observed", _text(f"first at {when(link.observed_at)}" if link.observed_at else "never")))
        rows += [("hole", _text(link.hole, _HOLE))] if link.hole else []
        rows += [(name, _text(declaration(value))) for name, value in link.declared.items()]
    else:
        rows += _record_rows(link.record)
    rows += [("gates", _gate(gate)) for gate in link.gates]
    rows += [("gates", _text(f"{name} has not been evaluated on this version", _BAD)) for name in missing_gates(link)]
    if link.record is not None:
        rows += _circumstances(link.record)
    labels = ["", *(label for label, _ in rows)]
    return _grid(
        [
            (_text("" if label == before else label, _QUIET), value)
            for before, (label, value) in zip(labels, rows, strict=False)
        ],
        indent=3,
    )


def _record_rows(record: Record) -> Iterator[tuple[str, RenderableType]]:
    from rich.text import Text

    yield "data version", _text(f"{size(record.size_bytes)} in {plural(record.files, 'file')}", _QUIET)
    yield "code version", _text(record.code_version)
    commit = f"{record.git_commit}, " if record.git_commit else ""
    yield "git commit", _text(f"{commit}{state_of_code(record)}", "" if record.git_dirty is False else "red")
    yield "made", _text(f"{when(record.started_at)}, in {span(record.duration_s)}, on {record.node}")
    yield "made", _text(f"run {record.run_id}", _QUIET)
    yield "made", _text(f"image {record.image}" if record.image else "not in a container", _QUIET)
    for cause in reasons(record):
        yield "because", _text(cause)
    for name, version in record.inputs.items():
        yield "read", Text.assemble(printable(name), "  ", (printable(version), "cyan"))


def _circumstances(record: Record) -> Iterator[tuple[str, RenderableType]]:
    yield "params", _text(_joined(f"{key}={value}" for key, value in leaves(record.params)))
    yield "libraries", _text(_joined(f"{name} {version}" for name, version in record.libraries.items()))


def _gate(gate: GateRecord) -> Text:
    from rich.text import Text

    return Text.assemble(
        (f"{'✔' if gate.passed else '✘'} {printable(gate.name)} ", _GOOD if gate.passed else _BAD),
        (f"{outcome(gate)} {when(gate.evaluated_at)}\n", _QUIET),
        printable(gate.summary),
    )


def _joined(items: Iterator[str]) -> str:
    return ", ".join(items) or "none"


def _grid(rows: Sequence[tuple[RenderableType, RenderableType]], indent: int) -> Table:
    """Two columns without lines; a name or a value that is too long is wrapped, never cut."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(width=indent - 1)
    table.add_column(overflow="fold", max_width=36)
    table.add_column(overflow="fold", ratio=1)
    for label, value in rows:
        table.add_row("", label, value)
    return table


def _text(text: str, style: str = "") -> Text:
    """Text without markup and without control characters."""
    from rich.text import Text

    return Text(printable(text), style)
