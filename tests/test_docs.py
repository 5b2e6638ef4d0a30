"""What the documents say is so: links, commands, options, site files, and the pages made from the code."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest

from cli.main import main as linli
from cli.settings import SiteFile
from detectors.manifest import Manifest
from docs import eventpages, generate
from events import codec

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")])
DEPLOYED = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
MADE = [path for path in (ROOT / "docs" / "reference").rglob("*") if path.suffix in (".json", ".yaml")]
TEXTS = [*PAGES, *DEPLOYED, *MADE]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
INLINE = re.compile(r"`([^`\n]+)`")
ROOMS = "events|ingest|detectors|storage|pipeline|console|cli|tests|testbed|benchmarks|deploy"
LEAST = '[site]\nid = "x"\n[[camera]]\nid = "c"\nurl = "rtsp://192.0.2.1/main"\n'
"""What makes a whole site file of a part of one."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fences(path: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(path.read_text()) if language in languages]


def slugs(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(path: Path) -> list[str]:
    """Lines of shell blocks, and inline code that begins like a command."""
    lines = [line for block in fences(path, "sh") for line in block.splitlines() if line]
    inline = INLINE.findall(FENCE.sub("", path.read_text()))
    return lines + [text for text in inline if re.match(r"(linli|make|python -m) ", text)]


def called_with(line: str) -> list[str] | None:
    """The arguments of `linli` in a shell line, up to a pipe; None if it is not called there."""
    words = shlex.split(line, comments=True)
    for at, word in enumerate(words):
        if word.endswith("/bin/linli") or (word == "linli" and at == 0):
            rest = words[at + 1 :]
            return rest[: rest.index("|")] if "|" in rest else rest
    return None


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(FENCE.sub("", path.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        where = (path.parent / file).resolve() if file else path
        assert where.exists(), f"{name(path)} links to {target}"
        if anchor:
            assert anchor in slugs(where), f"{name(path)} links to {target}; there are {sorted(slugs(where))}"


@pytest.mark.parametrize("path", [p for p in PAGES if "reference" not in p.parts], ids=name)
def test_commands_and_options_exist(path: Path) -> None:
    for line in command_lines(path):
        words = called_with(line)
        if words is None:
            continue
        command: click.Command = linli
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert not isinstance(command, click.Group) or not words, f"{name(path)}: no such command: {line}"
        known = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)}
        for word in words:
            if word.startswith("-"):
                assert word in known, f"{name(path)}: {line}: no option {word}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in command_lines(path):
        if line.startswith("make "):
            assert line.split()[1] in targets, f"{name(path)}: {line}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_modules_exist(path: Path) -> None:
    """Where a figure's place is still empty, its benchmark may be still to come."""
    filled = "\n".join(line for line in path.read_text().splitlines() if "<!-- figure:" not in line)
    for module in re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", filled):
        assert importlib.util.find_spec(module) is not None, f"{name(path)}: python -m {module}"


@pytest.mark.parametrize("path", [p for p in PAGES if "reference" not in p.parts], ids=name)
def test_site_files_in_the_text_are_valid(path: Path) -> None:
    for block in fences(path, "toml"):
        whole = block if "[site]" in block else LEAST + block
        msgspec.toml.decode(whole.encode(), type=SiteFile)
    for block in fences(path, "toml manifest"):
        msgspec.toml.decode(block.encode(), type=Manifest)


def test_paths_in_code_exist() -> None:
    for path in PAGES:
        for text in INLINE.findall(FENCE.sub("", path.read_text())):
            if re.fullmatch(
                r"(events|ingest|detectors|storage|pipeline|console|cli|tests|testbed|deploy)/[\w./]+", text
            ):
                assert (ROOT / text).exists(), f"{name(path)} speaks of {text}"


def test_the_reference_is_what_the_code_says() -> None:
    assert generate.stale() == [], "run `python -m docs.generate`"


def test_every_field_that_a_site_may_set_is_in_the_reference() -> None:
    text = generate.site_file()
    for key in ("keep_days", "gop_limit_s", "token_file", "alert_on", "grace_s", "sub_url"):
        assert f"`{key}`" in text


def test_the_example_event_is_one() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    event = codec.decode(FENCE.findall(page)[0][1].encode())
    assert event.type == "linli.count.crossing.v1"
    assert event == eventpages.example()


def test_both_readmes_say_the_same_commands() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    for kind in ("sh", "toml"):
        assert fences(english, kind) == fences(chinese, kind)
    figure = re.compile(r"`python -m benchmarks\.(\w+) --json`")
    assert figure.findall(english.read_text()) == figure.findall(chinese.read_text())
    links = [
        {link.replace(".zh-CN.md", ".md") for link in LINK.findall(page.read_text())} - {"README.md"}
        for page in (english, chinese)
    ]
    assert {x.replace("page.zh-CN", "page") for x in links[1]} == links[0]


def test_every_benchmark_has_its_line() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for path in (ROOT / "benchmarks").glob("*.py"):
        if "GOAL" in path.read_text():
            assert f"| `{path.stem}` |" in page, f"docs/benchmarks.md says nothing of {path.name}"


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_no_foreign_places(path: Path) -> None:
    """Registries are reached by their clients, and nobody else has this machine's folders."""
    # Their names are put together here, so that they stand nowhere at all.
    parts = (("pypi", "org"), ("python", "hosted"), ("npm", "js"), ("deb.debian", "org"), ("crates", "io"))
    hosts = [re.escape(a) + r"\.?" + re.escape(b) for a, b in parts]
    places = [r"(?<![\w.])/work/", r"(?<![\w.])/root/", r"(?<![\w.])/tmp/"]
    found = re.findall("|".join(hosts + places), path.read_text())
    assert not found, f"{name(path)}: {found}"


def test_pictures_are_small_and_shown() -> None:
    shown = "".join(path.read_text() for path in PAGES)
    for picture in (ROOT / "docs" / "img").iterdir():
        assert picture.suffix == ".png"
        assert picture.stat().st_size < 300_000
        assert f"img/{picture.name}" in shown
