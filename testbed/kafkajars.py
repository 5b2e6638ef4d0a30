"""Apache Kafka's jars, from Maven Central, and how its classes are run; standard library alone."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from testbed.process import ServerMissing, cache_folder

VERSION = "4.1.1"
_ARTIFACTS = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_MIRROR = (*_ARTIFACTS, *(f"org.apache.kafka:{name}:{VERSION}" for name in ("connect-mirror", "kafka-tools")))


def kafka_jars(mirror: bool = False) -> Path:
    """The folder of Kafka's jars, fetched at first use; `mirror`: MirrorMaker's and the tools' too."""
    if shutil.which("java") is None:
        raise ServerMissing("Kafka needs Java 17: apt-get install openjdk-17-jre-headless")
    target = cache_folder(f"kafka-{VERSION}{'-mirror' if mirror else ''}")
    if (target / "complete").exists():
        return target
    if shutil.which("mvn") is None:
        raise ServerMissing("Kafka's jars are fetched by Maven: apt-get install maven")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        work = Path(name)
        (work / "pom.xml").write_text(_pom(_MIRROR if mirror else _ARTIFACTS))
        home = f"-Duser.home={Path.home()}"  # what HOME says, where the list of users says another
        command = ["mvn", "-q", "-B", home, "dependency:copy-dependencies", "-DincludeScope=runtime",
                   f"-DoutputDirectory={work / 'libs'}"]  # fmt: skip
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
            said = (errors or done.stderr.splitlines() or ["it does not say why"])[0][:400]
            raise ServerMissing(f"Maven cannot fetch Kafka {VERSION}: {said}")
        (work / "libs/complete").touch()
        shutil.rmtree(target, ignore_errors=True)
        (work / "libs").rename(target)
    return target


def java(libs: Path, *options: str) -> list[str]:
    """The beginning of a command that runs a class of Kafka's; it says warnings alone."""
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", *options, quiet, "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", f"{libs}/*"]


def write_tools(folder: Path) -> None:
    """`kafka-acls.sh`, `kafka-configs.sh` and `connect-mirror-maker.sh`, as Kafka's distribution has them."""
    libs = kafka_jars(mirror=True)
    classes = {
        "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
        "kafka-configs.sh": "kafka.admin.ConfigCommand",
        "connect-mirror-maker.sh": "org.apache.kafka.connect.mirror.MirrorMaker",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, main in classes.items():
        command = shlex.join([*java(libs, "-Xmx256M", "-XX:TieredStopAtLevel=1"), main])
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)


def storage_tool(libs: Path, *arguments: str) -> str:
    command = [*java(libs, "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Kafka's storage tool failed: {(done.stdout + done.stderr).strip()[-600:]}")
    return done.stdout.strip()


def _pom(artifacts: Sequence[str]) -> str:
    wanted = ""
    for artifact in artifacts:
        group, name, version = artifact.split(":")
        wanted += f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        wanted += f"<version>{version}</version></dependency>\n"
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>linli</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
{wanted}</dependencies></project>
"""
