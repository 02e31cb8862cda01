"""`python -m segdata`."""

from segdata.cli import main

main()
