"""``python -m openmsra`` is the command ``openmsra``."""

from openmsra.cli.main import main

main()
