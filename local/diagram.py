"""The workflow as a picture: SVG drawn from a definition in the Amazon States Language.

States stand on a grid. The way on from the first state, as long as all goes well, is the column on the left; what
branches off it stands to the right, the later it branches off the nearer, so that branches do not cross. An ending
that several states share stands in the last row. Lines run between the columns and between the rows.
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import Any

Json = Mapping[str, Any]
Cell = tuple[int, int]
Point = tuple[float, float]
Ways = dict[str, list[str]]

WIDTH, GAP, GUTTER, MARGIN, HEAD = 222, 46, 64, 28, 56
"""Pixels: a state's width, between two rows, between two columns, around the picture, and for its title."""

LINE, PORT, TRACK, BEND = 15, 19, 9, 9
"""Pixels: a line of text, between two lines that leave one state, or run side by side, and the radius of a bend."""

INK, QUIET, RULE, PAPER = "#1f2937", "#6b7280", "#64748b", "#ffffff"

ENDINGS = {"ACCEPTED": "#15803d", "REVIEW": "#b45309", "REJECTED": "#b91c1c", "FAILED": "#374151"}
"""The colour of each status that ends a record."""

SERVICES = {"dynamodb": "DynamoDB", "lambda": "Lambda", "sns": "SNS"}

STYLE = f"""
text {{ font: 11px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: {QUIET} }}
.state text {{ text-anchor: middle }}
.state rect {{ stroke-width: 1.5 }}
.head {{ font-size: 16px; font-weight: 600; fill: {INK} }}
.name {{ font-size: 13px; font-weight: 600 }}
.label {{ font-size: 10.5px; stroke: {PAPER}; stroke-width: 4; paint-order: stroke; stroke-linejoin: round }}
.edge path {{ fill: none; stroke-width: 1.5 }}
.caught path {{ stroke-dasharray: 5 4 }}
"""


@dataclass
class Edge:
    """Every way from one state to another.

    Attributes:
        conditions: when it is taken, if the state chooses.
        errors: what is caught, if anything.
        plain: whether it is taken without an error, too.
        rest: what `States.ALL` stands for.
    """

    source: str
    target: str
    conditions: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    plain: bool = False
    rest: str = "any error"

    @property
    def label(self) -> str:
        """What stands beside the line: two names at most."""
        names = self.conditions or [self.rest if error == "States.ALL" else _short(error) for error in self.errors]
        more = f" +{len(names) - 2}" if len(names) > 2 else ""
        return ("or " if self.plain and self.errors else "") + ", ".join(names[:2]) + more


class Layout:
    """Where everything stands: in the cells of a grid, and in pixels.

    Attributes:
        cells: the column and the row of each state.
        width: pixels.
        height: pixels.
    """

    def __init__(self, start: str, texts: Mapping[str, list[str]], edges: list[Edge]) -> None:
        self.cells, self._shared = _cells(start, list(texts), edges)
        self._taken = set(self.cells.values())
        self._columns = 1 + max(column for column, _ in self._taken)
        self._beside = {name: self._leaving_beside(name, edges) for name in texts}
        self._heights = [0.0] * (1 + max(row for _, row in self._taken))
        for name, (_, row) in self.cells.items():
            needed = max(30 + LINE * len(texts[name]), PORT * (len(self._beside[name]) + 1))
            self._heights[row] = max(self._heights[row], needed)
        self.width = 2 * MARGIN + self._columns * (WIDTH + GUTTER)
        self.height = self.top(len(self._heights)) - GAP + MARGIN

    def middle(self, column: int) -> float:
        """The middle of a column."""
        return MARGIN + column * (WIDTH + GUTTER) + WIDTH / 2

    def top(self, row: int) -> float:
        """The upper edge of a row."""
        return HEAD + GAP + sum(self._heights[:row]) + GAP * row

    def bottom(self, row: int) -> float:
        """The lower edge of a row."""
        return self.top(row) + self._heights[row]

    def route(self, edge: Edge) -> list[Point]:
        """The corners of a line, around every state."""
        (column, row), (to_column, to_row) = self.cells[edge.source], self.cells[edge.target]
        x, to_x, to_y = self.middle(column), self.middle(to_column), self.top(to_row)
        track = TRACK * (self._shared.index(edge.target) if edge.target in self._shared else 0)
        above = to_y - GAP / 2 - track
        if edge.target not in self._beside[edge.source]:
            return [(x, self.bottom(row)), *([(x, above), (to_x, above)] if x != to_x else []), (to_x, to_y)]
        ports = self._beside[edge.source]
        y = self.top(row) + self._heights[row] * (ports.index(edge.target) + 1) / (len(ports) + 1)
        over = {(one, row) for one in range(column + 1, to_column + 1)}
        if column < to_column and row < to_row and not (over | self._between(edge)) & self._taken:
            return [(x + WIDTH / 2, y), (to_x, y), (to_x, to_y)]
        aside = self.middle(column) + (WIDTH + GUTTER) / 2
        if not any((one, row) in self._taken for one in range(column + 1, self._columns)):
            aside = self.width - MARGIN
        aside += track
        return [(x + WIDTH / 2, y), (aside, y), (aside, above), (to_x, above), (to_x, to_y)]

    def _between(self, edge: Edge) -> set[Cell]:
        """The cells right above a line's target, up to the row of its source."""
        row, (to_column, to_row) = self.cells[edge.source][1], self.cells[edge.target]
        return {(to_column, one) for one in range(row + 1, to_row)}

    def _leaving_beside(self, name: str, edges: list[Edge]) -> list[str]:
        """Where the lines lead that leave a state on its right and not at its foot, from top to bottom."""
        column, row = self.cells[name]
        targets = []
        for edge in (edge for edge in edges if edge.source == name):
            to_column, to_row = self.cells[edge.target]
            straight = column == to_column and row < to_row and not self._between(edge) & self._taken
            if not straight and (to_row != row + 1 or to_column > column):
                targets.append(edge.target)
        return sorted(targets, key=lambda target: (target in self._shared, self.cells[target][0]), reverse=True)


def draw(machine: Json) -> str:
    """Draw a workflow.

    Args:
        machine: the definition.

    Returns:
        SVG that needs nothing else, the same for the same definition.
    """
    states: Mapping[str, Json] = machine["States"]
    edges = [edge for name in states for edge in edges_of(name, states[name])]
    texts = {name: _texts(state) for name, state in states.items()}
    layout = Layout(machine["StartAt"], texts, edges)
    x, y = layout.middle(0), layout.top(0)
    colours = {name: _colour(name, states, edges) for name in states}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width:g}" height="{layout.height:g}" '
        f'viewBox="0 0 {layout.width:g} {layout.height:g}" role="img">',
        "<title>The workflow</title>",
        f"<style>{STYLE}</style>",
        *(_arrow(colour) for colour in sorted({RULE, *colours.values()})),
        f'<rect x="1" y="1" width="{layout.width - 2:g}" height="{layout.height - 2:g}" rx="14" fill="{PAPER}" '
        'stroke="#d1d5db"/>',
        f'<text class="head" x="{MARGIN}" y="42">{escape(machine.get("Comment", ""))}</text>',
        f'<circle cx="{x:g}" cy="{y - GAP / 2:g}" r="5" fill="{INK}"/>',
        f'<g class="edge">{_line([(x, y - GAP / 2), (x, y)], RULE)}</g>',
        *(_edge(edge, layout, colours[edge.target]) for edge in edges),
        *(_box(name, states[name], texts[name], colours[name], layout) for name in states),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def edges_of(name: str, state: Json) -> list[Edge]:
    """The ways that leave a state.

    Args:
        name: what the state is called.
        state: its definition.

    Returns:
        One for each state that it can lead to.
    """
    found: dict[str, Edge] = {}

    def to(target: str) -> Edge:
        return found.setdefault(target, Edge(name, target))

    for rule in state.get("Choices", []):
        to(rule["Next"]).conditions.append(", ".join(dict.fromkeys(_variables(rule))))
    if "Default" in state:
        to(state["Default"]).conditions.append("otherwise")
    if "Next" in state:
        to(state["Next"]).plain = True
    catchers = state.get("Catch", [])
    for catcher in catchers:
        edge = to(catcher["Next"])
        edge.errors.extend(catcher["ErrorEquals"])
        edge.rest = "any other" if len(catchers) > 1 else "any error"
    return list(found.values())


def _variables(rule: Any) -> Iterator[str]:
    if isinstance(rule, dict):
        yield from [rule["Variable"]] if "Variable" in rule else []
        rule = list(rule.values())
    for part in rule if isinstance(rule, list) else []:
        yield from _variables(part)


def _cells(start: str, names: list[str], edges: list[Edge]) -> tuple[dict[str, Cell], list[str]]:
    """The cell of each state, and the endings that several states share."""
    onward = {name: [edge.target for edge in edges if edge.source == name] for name in names}
    before = {name: [edge.source for edge in edges if edge.target == name] for name in names}
    shared = [name for name in names if not onward[name] and len(before[name]) > 1]
    rows = _rows(start, onward, before, shared)
    columns = _columns(start, onward, before, rows)
    last, taken = 1 + max(rows.values(), default=-1), set()
    for name in shared:
        column = round(statistics.median(columns[one] for one in before[name]))
        columns[name] = next(one for one in range(column, len(names) + 1) if one not in taken)
        taken.add(columns[name])
        rows[name] = last
    return {name: (columns[name], rows[name]) for name in names}, shared


def _rows(start: str, onward: Ways, before: Ways, shared: list[str]) -> dict[str, int]:
    """States from which it is as far to the end stand side by side; an ending, right below what leads to it."""
    back: set[tuple[str, str]] = set()
    known: set[str] = set()

    def explore(name: str, path: tuple[str, ...]) -> None:
        """Find the ways that lead back to where the path came from."""
        known.add(name)
        back.update((name, to) for to in onward[name] if to in path)
        for to in onward[name]:
            if to not in known:
                explore(to, (*path, to))

    def steps(name: str) -> int:
        """How far it is to an ending, at most."""
        return max((1 + steps(to) for to in onward[name] if (name, to) not in back), default=0)

    for name in [start, *onward]:
        if name not in known:
            explore(name, (name,))
    rows = {name: max(0, steps(start) - steps(name)) for name in onward if onward[name]}
    endings = [name for name in onward if not onward[name] and name not in shared]
    return rows | {name: 1 + max((rows[one] for one in before[name]), default=-1) for name in endings}


def _columns(start: str, onward: Ways, before: Ways, rows: Mapping[str, int]) -> dict[str, int]:
    """The main path on the left, and each branch as near to it as there is room from where it leaves."""

    def follow(name: str, seen: Mapping[str, int]) -> list[str]:
        chain: list[str] = []
        while name in rows and name not in seen and name not in chain:
            chain.append(name)
            name = next(iter(onward[name]), name)
        return chain

    columns = dict.fromkeys(follow(start, {}), 0)
    branches = []
    for name in sorted(rows, key=lambda name: rows[name]):
        if chain := follow(name, columns):
            sources = [rows[one] for one in before[name]] or [rows[name]]
            branches.append((min(sources), max(sources), chain))
            columns |= dict.fromkeys(chain, 0)
    taken: set[Cell] = set()
    for first, _, chain in sorted(branches, key=lambda branch: branch[:2], reverse=True):
        span = range(first, max(rows[name] for name in chain) + 1)
        column = next(one for one in range(1, len(rows) + 1) if not taken & {(one, row) for row in span})
        taken |= {(column, row) for row in span}
        columns |= dict.fromkeys(chain, column)
    return columns


def _texts(state: Json) -> list[str]:
    """What a state does, and how often it tries again."""
    parameters = state.get("Parameters", {})
    service, _, action = state.get("Resource", "").removeprefix("arn:aws:states:::").partition(":")
    function = parameters.get("FunctionName", "").strip("${}").removesuffix("Arn").lower()
    texts = {
        "Task": " ".join(filter(None, [SERVICES.get(service, service), function or action, _status(state)])),
        "Fail": state.get("Error", ""),
        "Succeed": "success",
    }
    tries: dict[str, str] = {}
    for retry in state.get("Retry", []):
        name = min(retry["ErrorEquals"], key=lambda error: "." in error).partition(".")[0]
        name += "…" if len(retry["ErrorEquals"]) > 1 else ""
        tries[name] = (f"{tries[name]} and" if name in tries else name) + f" ×{retry['MaxAttempts']}"
    unbroken = ", ".join(tries.values()).replace(" ×", "\N{NO-BREAK SPACE}×").replace(" and", "\N{NO-BREAK SPACE}and")
    kind: str = state["Type"]
    return [texts.get(kind, kind), *wrap("retries: " + unbroken if tries else "", 34)]


def _status(state: Json) -> str:
    """The ending that a state writes into the record, if it writes one."""
    status = state.get("Parameters", {}).get("ExpressionAttributeValues", {}).get(":status", {}).get("S", "")
    return status if status in ENDINGS else ""


def _colour(name: str, states: Mapping[str, Json], edges: list[Edge]) -> str:
    """Of the ending that a state writes, or that was written before whichever way led here."""
    written = written_before(name, states, edges)
    quiet = QUIET if states[name]["Type"] in ("Succeed", "Fail") else RULE
    return ENDINGS.get(written.pop(), quiet) if len(written) == 1 else quiet


def written_before(
    name: str, states: Mapping[str, Json], edges: list[Edge], seen: frozenset[str] = frozenset()
) -> set[str]:
    """Find what may stand in the record once a state is through.

    Args:
        name: what the state is called.
        states: all of them.
        edges: all ways between them.
        seen: states to leave out, because they were looked at.

    Returns:
        Statuses that end a record; an empty text among them if there may be none.
    """
    before = {edge.source for edge in edges if edge.target == name} - seen
    own = _status(states[name])
    if own or not before:
        return {own}
    return set().union(*(written_before(source, states, edges, seen | {name}) for source in before))


def _short(error: str) -> str:
    return error.rpartition(".")[2].removesuffix("Exception")


def _box(name: str, state: Json, texts: list[str], colour: str, layout: Layout) -> str:
    column, row = layout.cells[name]
    middle, y, height = layout.middle(column), layout.top(row), layout.bottom(row) - layout.top(row)
    ending = state["Type"] in ("Succeed", "Fail")
    fill = colour if ending else "#f5f3ff" if state["Type"] == "Choice" else "#f8fafc"
    ink, quiet = (PAPER, PAPER) if ending else (INK if colour == RULE else colour, QUIET)
    baseline = y + (height - LINE * len(texts)) / 2 + 4
    words = "".join(
        f'<text x="{middle:g}" y="{baseline + LINE * line:g}" style="fill: {quiet}">{escape(text)}</text>'
        for line, text in enumerate(texts, start=1)
    )
    return (
        f'<g class="state" data-state="{escape(name)}"><title>{escape(state.get("Comment", name))}</title>'
        f'<rect x="{middle - WIDTH / 2:g}" y="{y:g}" width="{WIDTH}" height="{height:g}" '
        f'rx="{height / 2 if ending else 8:g}" fill="{fill}" stroke="{colour}"/>'
        f'<text class="name" x="{middle:g}" y="{baseline:g}" style="fill: {ink}">{escape(name)}</text>{words}</g>'
    )


def _edge(edge: Edge, layout: Layout, colour: str) -> str:
    points = layout.route(edge)
    (x, y), (next_x, next_y) = points[:2]
    caught = bool(edge.errors) and not edge.plain
    place = f'x="{x + 8:g}" y="{y - 5:g}"'
    if x == next_x:
        place = f'x="{x:g}" y="{(y + next_y) / 2 + 3:g}" text-anchor="middle"'
    return (
        f'<g class="edge{" caught" * caught}" data-from="{escape(edge.source)}" data-to="{escape(edge.target)}">'
        f"<title>{escape(', '.join([f'{edge.source} → {edge.target}', *edge.conditions, *edge.errors]))}</title>"
        f"{_line(points, colour if caught else RULE)}"
        f'<text class="label" {place} style="fill: {colour if caught else QUIET}">{escape(edge.label)}</text></g>'
    )


def path_of(points: list[Point], bend: float = BEND) -> str:
    """Join points by lines with rounded corners.

    Args:
        points: where the line begins, turns and ends.
        bend: radius of a corner.

    Returns:
        The data of an SVG path.
    """
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        (x0, y0), (x1, y1) = _towards((x, y), before, bend), _towards((x, y), after, bend)
        path += f"L{x0:g} {y0:g}Q{x:g} {y:g} {x1:g} {y1:g}"
    return path + f"L{points[-1][0]:g} {points[-1][1]:g}"


def _line(points: list[Point], colour: str) -> str:
    """Drawn from its head on, so that the dashes of lines that meet fall together."""
    return f'<path d="{path_of(points[::-1])}" stroke="{colour}" marker-start="url(#{_arrow_id(colour)})"/>'


def _towards(start: Point, end: Point, bend: float) -> Point:
    (x, y), (to_x, to_y) = start, end
    length = abs(to_x - x) + abs(to_y - y)
    share = min(bend, length / 2) / length if length else 0
    return x + (to_x - x) * share, y + (to_y - y) * share


def _arrow(colour: str) -> str:
    return (
        f'<marker id="{_arrow_id(colour)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" style="fill: {colour}; stroke: none"/></marker>'
    )


def _arrow_id(colour: str) -> str:
    return f"arrow-{colour[1:]}"
