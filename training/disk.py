"""Files and folders put in the place of others: the old one or the new one is there, never half of either."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from training.errors import InputError


def replace(made: Path, folder: Path) -> None:
    """Put a folder in the place of another; if that fails or is interrupted, the other one is put back.

    Args:
        made: the new one, on the same disk as the other.
        folder: the old one, or a name that is free.
    """
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-old-") as aside:
        old = Path(aside) / "old"
        try:
            if folder.exists():
                folder.rename(old)
            made.rename(folder)
        except BaseException:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole, or leave the one that is there. Its folder is made.

    Raises:
        InputError: it cannot be written there.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}. Name another place.") from error
