"""`python -m pipeline` is `lungseg`."""

from pipeline.cli import main

main()
