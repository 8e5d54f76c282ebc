"""The rules of the house that no linter knows."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_platform_is_no_package_for_it_would_shadow_the_standard_library():
    assert not (ROOT / "platform" / "__init__.py").exists()
    done = subprocess.run(
        [sys.executable, "-c", "import platform; print(platform.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "site-packages" not in done.stdout
    assert str(ROOT) not in done.stdout


def test_the_workspace_names_the_code_location_shop():
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert [e["python_module"]["location_name"] for e in workspace["load_from"]] == ["shop"]


def test_modules_stay_small_enough_to_be_read_in_one_go():
    long = {
        p.relative_to(ROOT).as_posix(): n
        for p in (ROOT / "platform").rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 320
    }
    assert long == {}


def test_every_package_says_what_lives_in_it():
    silent = [
        p.parent.relative_to(ROOT).as_posix()
        for p in (ROOT / "platform" / "caudal").rglob("__init__.py")
        if not p.read_text().lstrip().startswith('"""')
    ]
    assert silent == []


def test_the_command_line_is_there_before_what_its_commands_import():
    """Each command imports what it needs when it is called: `caudal --help`, and whoever completes a line, waits for none."""
    listed = "import sys, caudal.cli; print(*sorted(name for name in sys.modules if name.startswith(('caudal.', 'dagster'))))"
    done = subprocess.run([sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    stages = ("dagster", "caudal.contracts", "caudal.lake", "caudal.store", "caudal.transform", "caudal.warehouse")
    assert [name for name in done.stdout.split() if name.startswith(stages)] == []
