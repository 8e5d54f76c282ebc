"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Company = Annotated[str | None, typer.Option("--company", "-c", help="The code location; default $CAUDAL_COMPANY or shop.")]
