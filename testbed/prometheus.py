"""A real Prometheus on loopback for tests."""

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from testbed.rtsp import ServerMissing


class Prometheus:
    """Scrapes every second between `with` and its end.

    Args:
        jobs: name -> (host:port, bearer token or "").
        rules: files of rules that it evaluates.

    Raises:
        ServerMissing: it is not installed.
    """

    def __init__(
        self, folder: Path, jobs: Mapping[str, tuple[str, str]], rules: tuple[Path, ...] = ()
    ) -> None:
        if shutil.which("prometheus") is None:
            raise ServerMissing("there is no `prometheus`; deploy/test-servers.sh installs it")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._config = folder / "prometheus.yml"
        self._config.write_text(_config(jobs, rules))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers, the part `data`. Raises AssertionError with Prometheus's own words."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """The result of a PromQL expression now."""
        result = self.ask("query", query=expression)["result"]
        assert isinstance(result, list)
        return result

    def __enter__(self) -> Self:
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=log,
            stderr=log,
        )
        log.close()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200:
                    return self
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        self.__exit__(None, None, None)
        raise AssertionError(f"Prometheus did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


def _config(jobs: Mapping[str, tuple[str, str]], rules: tuple[Path, ...]) -> str:
    lines = ["global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}", "rule_files:"]
    lines += [f"  - {path}" for path in rules] or ["  []"]
    lines.append("scrape_configs:")
    for name, (target, token) in jobs.items():
        lines += [f"  - job_name: {name}", f'    static_configs: [{{targets: ["{target}"]}}]']
        if token:
            lines.append(f'    authorization: {{credentials: "{token}"}}')
    return "\n".join(lines) + "\n"
