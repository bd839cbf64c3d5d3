"""What a command can take away."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from commandline import console


@dataclass(frozen=True)
class Found:
    """Something that can be removed.

    Attributes:
        kind: what it is, in words.
        name: its name.
        remove: removes it.
    """

    kind: str
    name: str
    remove: Callable[[], object]


def remove(found: Iterable[Found]) -> None:
    """Remove one after the other, and tell of each.

    Args:
        found: in the order in which they go.
    """
    for one in found:
        one.remove()
        console.messages.print(f"Removed the {one.kind} {one.name}.", markup=False)
