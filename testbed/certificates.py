"""A CA made on the spot and what it signs, by openssl; good for two days and for loopback."""

import subprocess
from pathlib import Path


def make_certificates(folder: Path) -> None:
    """`ca.pem`; signed by it for localhost and 127.0.0.1: `server.pem`, `expired.pem`, with NAME.key, and
    NAME.both.pem with key and certificate in one; `other.pem`, a CA that signed nothing."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "other"):
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", "-x509", *curve, "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN=test {name}", *usage)  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name, days in (("expired", "-1"), ("server", "2")):
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", days, "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
        both = (folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text()
        (folder / f"{name}.both.pem").touch(mode=0o600)
        (folder / f"{name}.both.pem").write_text(both)
