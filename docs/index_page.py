"""What a package index shows: README.md with links that lead somewhere from there. hatchling runs this."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class IndexPage(MetadataHookInterface):
    """The description of the package, with the addresses of [project.urls]."""

    def update(self, metadata: dict[str, Any]) -> None:
        """See hatchling."""
        links = runpy.run_path(str(Path(__file__).with_name("links.py")))
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = links["on_index"](readme, metadata.get("urls", {}).get("Documentation"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
