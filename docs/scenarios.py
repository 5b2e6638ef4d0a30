"""The packs' sections of docs/scenarios.md, made from the packs: `python -m docs.scenarios` writes them."""

from pathlib import Path

from city import diagrams, packs

PAGE = Path(__file__).parent / "scenarios.md"
MARK = "<!-- Made by `python -m docs.scenarios` from city/packs; change the packs, not what follows. -->\n"


def text(page: str) -> str:
    """The page with its made part as the packs say."""
    own = page.split(MARK)[0]
    return own + MARK + "\n" + "\n".join(diagrams.page(pack) for pack in packs.shipped().values())


if __name__ == "__main__":
    PAGE.write_text(text(PAGE.read_text()))
