"""The workflow as the page shows it to whoever waits for a picture: its steps and how it can end, and nothing else.

A step is a state that runs a function of ours. An ending is a state after which just one status stands in the record.
The steps stand in a row; the endings below each other at its end, those that only late steps lead to first, so that
lines do not cross. The page colours what a picture has been through: see `chalicelib/static/diagram.js`.
"""

from collections.abc import Mapping
from html import escape

from local.diagram import Json, Point, edges_of, path_of, written_before

INVOKE = "arn:aws:states:::lambda:invoke"

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 70, 26, 16, 8, 3
"""Units of the drawing, which grows with the page: a state, between two columns, between two rows, around it all."""

HEAD, BEND = 5, 6
"""Units: length of the head of an arrow, and the radius of a bend."""

INK, RULE, PAPER = "#57534e", "#85807a", "#ffffff"
"""Colours where no style of the page reaches."""


def outline(machine: Json) -> str:
    """Draw the steps of a workflow, its endings, and the ways between them.

    Args:
        machine: the definition.

    Returns:
        SVG without styles or ids, so that a page can hold it more than once. Each state is a group with `data-state`,
        each ending has `data-status`, each way `data-from` and `data-to`.

    Raises:
        ValueError: the steps are not one row, each leading to the next alone.
    """
    states: Mapping[str, Json] = machine["States"]
    endings = _endings(states)
    shown = {name for name, state in states.items() if state.get("Resource") == INVOKE} | set(endings)
    ways = {name: _ways(name, states, shown) for name in states}
    steps = _row(next(iter(ways[machine["StartAt"]] or [""])), ways, endings)
    if set(steps) | set(endings) != shown:
        raise ValueError(f"Not every step can be shown: {', '.join(sorted(shown - set(steps) - set(endings)))}.")
    places = _places(steps, list(endings), ways)
    width = 2 * MARGIN + (len(steps) + 1) * (WIDTH + ACROSS) - ACROSS
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        '<g class="ways">',
        *(_way(name, to, places) for name in steps for to in ways[name]),
        "</g>",
        *(_state(name, places[name], endings.get(name)) for name in places),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _endings(states: Mapping[str, Json]) -> dict[str, str]:
    """The last states that stand for one status, and for which."""
    edges = [edge for name, state in states.items() for edge in edges_of(name, state)]
    last = [name for name, state in states.items() if state["Type"] in ("Succeed", "Fail")]
    statuses = {name: written_before(name, states, edges) for name in last}
    return {name: min(found) for name, found in statuses.items() if len(found) == 1 and found != {""}}


def _ways(name: str, states: Mapping[str, Json], shown: set[str]) -> list[str]:
    """What is shown and comes next, however many states that are not shown lie between."""
    found: list[str] = []
    seen: set[str] = set()

    def follow(one: str) -> None:
        for edge in edges_of(one, states[one]):
            if edge.target in shown:
                found.append(edge.target)
            elif edge.target not in seen:
                seen.add(edge.target)
                follow(edge.target)

    follow(name)
    return list(dict.fromkeys(found))


def _row(name: str, ways: Mapping[str, list[str]], endings: Mapping[str, str]) -> list[str]:
    """The steps, one after the other."""
    steps: list[str] = []
    while name:
        steps.append(name)
        onward = [to for to in ways[name] if to not in endings]
        if len(onward) > 1 or set(onward) & set(steps):
            raise ValueError(f"{name} leads to {', '.join(onward)}, and only a plain row of steps can be shown.")
        name = next(iter(onward), "")
    return steps


def _places(steps: list[str], endings: list[str], ways: Mapping[str, list[str]]) -> dict[str, Point]:
    """The upper left corner of each state."""
    sources = {name: [place for place, step in enumerate(steps) if name in ways[step]] for name in endings}
    endings = sorted(endings, key=lambda name: (max(sources[name]), min(sources[name])), reverse=True)
    first = 0 if sources[endings[0]] == [len(steps) - 1] else 1
    cells = {name: (column, 0) for column, name in enumerate(steps)}
    cells |= {name: (len(steps), row) for row, name in enumerate(endings, start=first)}
    return {name: (MARGIN + x * (WIDTH + ACROSS), MARGIN + y * (HEIGHT + DOWN)) for name, (x, y) in cells.items()}


def _way(name: str, to: str, places: Mapping[str, Point]) -> str:
    (x, y), (to_x, to_y) = places[name], places[to]
    middle = to_y + HEIGHT / 2
    tip, neck = to_x - 1, to_x - 1 - HEAD
    corners = [(x + WIDTH, middle), (neck, middle)]
    if y != to_y:
        corners = [(x + WIDTH / 2, y + HEIGHT), (x + WIDTH / 2, middle), (neck, middle)]
    return (
        f'<g class="way" data-from="{escape(name)}" data-to="{escape(to)}">'
        f'<path class="line" d="{path_of(corners, BEND)}" fill="none" stroke="{RULE}"/>'
        f'<path class="head" d="M{tip:g} {middle:g}L{neck:g} {middle - 3:g}V{middle + 3:g}z" fill="{RULE}"/></g>'
    )


def _state(name: str, place: Point, status: str | None) -> str:
    x, y = place
    middle = f'x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2:g}" dy="0.35em" text-anchor="middle"'
    font = f'font-family="system-ui, sans-serif" font-size="11" fill="{INK}"'
    says = f'<text class="word" {middle} {font}>{escape(status or name)}</text>'
    about = f' data-status="{escape(status)}"' if status else ""
    return (
        f'<g class="state" data-state="{escape(name)}"{about}>'
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="{HEIGHT / 2 if status else 5:g}" '
        f'fill="{PAPER}" stroke="{RULE}"/>{says}</g>'
    )
