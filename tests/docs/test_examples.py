"""What README and the guides show is run as it stands, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.docs.examples import Example, examples_of
from tests.server_process import ServerProcess, command
from tests.system_tools import require_system_tool

ROOT = Path(__file__).resolve().parents[2]
SHOWN_URL = "http://127.0.0.1:8000"
EXPECTED = {
    ("README.md", 0): '"text":"Ana drinks green tea, never coffee"',
    ("README.md", 1): "Ana moved to Lisbon",
    ("README.md", 2): "penicillin",
    ("quickstart.md", 0): '"ids":["tea"]',
    ("quickstart.md", 1): '"id":"tea"',
    ("quickstart.md", 2): '"appended":1',
    ("quickstart.md", 3): "## Long term memories",
    ("use-the-python-client.md", 0): "Ana drinks green tea",
    ("back-up-the-embedded-store.md", 0): "ok",
    ("move-to-another-engine.md", 0): "Done.",
    ("secure-it.md", 0): '"user_id":"ana"',
    ("connect-your-agent.md", 0): "Nora is allergic to peanuts",
}
"""What each example prints, by page and place."""

PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "quickstart.md",
    ROOT / "docs" / "howto" / "use-the-python-client.md",
    ROOT / "docs" / "howto" / "back-up-the-embedded-store.md",
    ROOT / "docs" / "howto" / "move-to-another-engine.md",
    ROOT / "docs" / "howto" / "secure-it.md",
    ROOT / "docs" / "howto" / "connect-your-agent.md",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("docs") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    """A server that asks for credentials."""
    with ServerProcess(tmp_path_factory.mktemp("secured") / "data", environment={"AUTH_MODE": "token"}) as running:
        yield running


def test_every_marked_example_has_its_expected_output() -> None:
    """And nothing is expected of an example that is gone."""
    marked = {(page.name, place) for page in PAGES for place in range(len(examples_of(page)))}
    assert marked == set(EXPECTED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_print_what_they_promise(
    page: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """In the order of the page; only the address differs."""
    server: ServerProcess = request.getfixturevalue("secured" if page.name == "secure-it.md" else "server")
    for place, example in enumerate(examples_of(page)):
        printed = _run(example, server, tmp_path)
        assert EXPECTED[page.name, place] in printed


def _run(example: Example, server: ServerProcess, folder: Path) -> str:
    code = example.code.replace(SHOWN_URL, server.url)
    if example.kind == "python":
        arguments = [sys.executable, "-c", code]
    else:
        if "curl" in code:
            require_system_tool("curl")
        arguments = [require_system_tool("bash"), "-euc", code.replace("examples/", f"{ROOT / 'examples'}/")]
    environment = {
        "PATH": os.pathsep.join([str(Path(command()).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "DATA_DIR": str(server.data_dir),
    }
    process = subprocess.run(
        arguments, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 0, (example, process.stderr)
    return process.stdout
