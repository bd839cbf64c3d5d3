"""`python -m infrastructure`, run in this process."""

from pathlib import Path

from click.testing import CliRunner, Result

from infrastructure.cli import main


def run(*arguments: str | Path, answer: str | None = None) -> Result:
    """`python -m infrastructure` with these arguments, and what is typed when it asks."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=answer)


def run_well(*arguments: str | Path) -> Result:
    """The same, and it has to end well."""
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done
