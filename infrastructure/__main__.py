"""Runs `python -m infrastructure`."""

from infrastructure.cli import main

main(prog_name="python -m infrastructure")
