"""A cable to a network of its own, that can be cut: a server in a network namespace, its clients outside.

    with Cable() as cable:
        kafka = Kafka(folder, host=cable.there, under=cable.under)
        cable.lose(0.3); cable.cut(); cable.mend()

A cut cable drops packets without a word, as a dead switch does: nobody is told that a connection is gone.
Needs root, `ip` and `iptables` (Debian's iproute2 and iptables).
"""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence

from testbed.process import ServerMissing


class Cable:
    """Two ends: `here` on this machine, `there` in the namespace.

    Raises:
        ServerMissing: it cannot be laid on this machine, and why.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise ServerMissing("network namespaces need root")
        for program in ("ip", "iptables"):
            if shutil.which(program) is None:
                raise ServerMissing(f"network namespaces need {program}: apt-get install iproute2 iptables")
        tag = secrets.token_hex(3)
        self._name = f"linli-{tag}"
        self._near, self._far = f"l{tag}a", f"l{tag}b"
        net = f"10.77.{secrets.randbelow(256)}.{4 * secrets.randbelow(64)}".rsplit(".", 1)
        self.here, self.there = (f"{net[0]}.{int(net[1]) + n}" for n in (1, 2))
        try:
            self._lay()
        except subprocess.CalledProcessError as error:
            self.close()
            raise ServerMissing(f"a network namespace cannot be made: {error.stderr.strip()}") from None

    @property
    def under(self) -> Sequence[str]:
        """Put before a command: it runs at the far end."""
        return "ip", "netns", "exec", self._name

    def cut(self) -> None:
        """Every packet is dropped from now on."""
        self.lose(1.0)

    def lose(self, share: float) -> None:
        """This share of the packets, either way, is dropped from now on."""
        self.mend()
        chance = () if share >= 1 else ("-m", "statistic", "--mode", "random", "--probability", str(share))
        for chain in ("INPUT", "OUTPUT"):
            side = "-i" if chain == "INPUT" else "-o"
            _run(*self.under, "iptables", "-A", chain, side, self._far, *chance, "-j", "DROP")

    def mend(self) -> None:
        """Every packet passes again."""
        _run(*self.under, "iptables", "-F")

    def close(self) -> None:
        """Take it away. What runs at the far end is to be stopped before."""
        for command in (("ip", "netns", "del", self._name), ("ip", "link", "del", self._near)):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run(*command)

    def __enter__(self) -> "Cable":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lay(self) -> None:
        _run("ip", "netns", "add", self._name)
        _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far)
        _run("ip", "link", "set", self._far, "netns", self._name)
        _run("ip", "addr", "add", f"{self.here}/30", "dev", self._near)
        _run("ip", "link", "set", self._near, "up")
        _run(*self.under, "ip", "addr", "add", f"{self.there}/30", "dev", self._far)
        _run(*self.under, "ip", "link", "set", self._far, "up")
        _run(*self.under, "ip", "link", "set", "lo", "up")
        _run(*self.under, "iptables", "-F")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
