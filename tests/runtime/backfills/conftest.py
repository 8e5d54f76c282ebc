"""Requests as files, and a real instance to apply them to."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from caudal.runtime.backfills.request import Request, read_request

COMPANY = Path(__file__).with_name("company.py")

REQUEST = """\
# The scale was wrong for three days.
assets: [raw/till/sales]
partitions: {from: 2026-03-02, to: 2026-03-04}
reason: The scale was wrong for three days, and its maker sent other files.
requested_by: ana@bakery.example
reviewed_by: bo@bakery.example
"""


@pytest.fixture(scope="session")
def graph():
    """The asset graph of the definitions."""
    spec = importlib.util.spec_from_file_location("backfilled_company", COMPANY)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.defs.resolve_asset_graph()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A file with a request, with text replaced where given."""

    def made(*changes: tuple[str, str], name: str = "2026-03-10-scale.yaml", text: str = REQUEST) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text)
        return path

    return made


@pytest.fixture
def ask(write: Callable[..., Path]) -> Callable[..., Request]:
    """The request of such a file."""

    def asked(*changes: tuple[str, str], **given: str) -> Request:
        return read_request(write(*changes, **given))

    return asked
