"""What `pyproject.toml` asks for: each requirement says why, and the oldest versions are what CI installs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]


@pytest.mark.parametrize("requirement", [line for line in REQUIREMENTS if not line.startswith("typedfilter")])
def test_each_requirement_says_why_it_has_its_lower_bound(requirement: str):
    assert re.search(rf'^ +"{re.escape(requirement)}", # \w', TEXT, re.MULTILINE)


def test_the_oldest_versions_that_are_tested_are_those_of_the_package_and_of_its_demo():
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("not in a checkout")
    found = re.search(r"^lower_bounds\(\) {.*?^}$", script.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    done = subprocess.run(
        ["bash", "-c", f"{found[0]}\nlower_bounds"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    supported = PROJECT["dependencies"] + EXTRAS["demo"]
    assert done.stdout.splitlines() == [requirement.replace(">=", "==") for requirement in supported]
