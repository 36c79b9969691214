"""`python -m kept` is the command `kept`."""

from kept.cli.main import main

main()
