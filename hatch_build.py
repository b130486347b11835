"""Puts the bundled embedding model's two data files beside the code when a wheel is built, also an editable one.

They are taken from the package ``wordllama``, which the build requires. Installing that package itself would bring a tokenizer
library, an HTTP client and a model hub with it, which nothing here uses: sixty megabytes.
"""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("agent_memory_server") / "embeddings" / "bundled"
FILES = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")


class BundledModel(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        target = Path(self.root) / FOLDER
        if not all((target / name).is_file() for name in (*FILES, "LICENSE")):
            self._copy(target)
        build_data["artifacts"].append(f"/{FOLDER.as_posix()}/**")

    def _copy(self, target: Path) -> None:
        package = find_spec("wordllama")
        if package is None or not package.submodule_search_locations:
            raise RuntimeError("the bundled embedding model comes from the package wordllama: install it to build")
        source = Path(package.submodule_search_locations[0])
        for name in FILES:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
        licence = next(each for each in distribution("wordllama").files or () if each.name == "LICENSE")
        shutil.copyfile(str(licence.locate()), target / "LICENSE")
