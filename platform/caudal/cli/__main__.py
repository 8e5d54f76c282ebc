"""`python -m caudal.cli`."""

from caudal.cli import app

app()
