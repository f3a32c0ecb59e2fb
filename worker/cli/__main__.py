"""`python -m worker.cli` is `carillon`."""

from worker.cli import main

main()
