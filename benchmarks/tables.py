"""How tables look: narrow enough for 100 columns, figures to the right."""

from collections.abc import Mapping

from rich.table import Table


def table(title: str, *columns: str) -> Table:
    """An empty table, its first column to the left and the others to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place else "left", overflow="fold", vertical="bottom")
    return made


def cell(spread: Mapping[str, float], digits: int) -> str:
    """A spread, as a dictionary: `5.12 (5.01–5.30)`."""
    return f"{spread['median']:.{digits}f} ({spread['low']:.{digits}f}–{spread['high']:.{digits}f})"
