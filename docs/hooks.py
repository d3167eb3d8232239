"""What mkdocs does for the site besides: pages that lie at the root of the repository, links that lead there, and the
addresses that pyproject.toml has.

README.md is the first page, so that both say the same.
"""

from pathlib import Path

from addresses import addresses  # beside this file
from links import AT_THE_ROOT, placed
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Tell where site and repository are, once they are somewhere."""
    known = addresses()
    config.site_url = known.documentation
    if known.source is not None:  # as repo_url, the theme would ask some hosts for its stars
        config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": known.source, "name": "Source"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the root."""
    for name, place in AT_THE_ROOT.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links lead to where their files are on the site."""
    source = next((name for name, place in AT_THE_ROOT.items() if place == page.file.src_uri), None)
    return placed(markdown, source or f"docs/{page.file.src_uri}")
