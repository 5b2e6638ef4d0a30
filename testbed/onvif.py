"""A small ONVIF device: SOAP over HTTP, enough for a real client to find out where a dome looks.

    with OnvifDevice("guard", "secret") as device:
        device.position = (0.25, -0.1, 0.0)
        device.moving = True

It answers GetSystemDateAndTime without a login, and GetServices, GetCapabilities, GetProfiles and GetStatus
only to a WS-Security UsernameToken whose digest, nonce and time are right (OASIS UsernameToken Profile 1.1,
section 3.1). Faults: `device.fault` is one of "", "silent" (never answers), "broken" (no XML), "no-ptz" (no
profile with PTZ), "no-position"; `device.tells_moving = False` leaves out MoveStatus.
"""

import base64
import hashlib
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from xml.etree import ElementTree

_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_DIGEST = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
_SERVICES = {
    "device": "http://www.onvif.org/ver10/device/wsdl",
    "media": "http://www.onvif.org/ver10/media/wsdl",
    "ptz": "http://www.onvif.org/ver20/ptz/wsdl",
}
_SCHEMA = "http://www.onvif.org/ver10/schema"
_SKEW_S = 30.0
"""How old a token may be."""


class OnvifDevice:
    """A running device on a free port of the loopback; a context manager."""

    def __init__(self, user: str, password: str, clock_off_s: float = 0.0) -> None:
        """`clock_off_s`: how far the device's own clock is ahead."""
        self._user, self._password = user, password
        self.clock_off_s = clock_off_s
        self.position: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Pan, tilt, zoom."""
        self.moving = False
        self.tells_moving = True
        self.fault = ""
        self.asked: list[str] = []
        """The requests that came, by name."""
        self.refused = 0
        self._nonces: set[str] = set()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        device = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                device._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.fault = ""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address as a site file gives it."""
        return f"http://127.0.0.1:{self.port}/onvif/device_service"

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        body = http.rfile.read(int(http.headers.get("Content-Length", 0)))
        while self.fault == "silent":
            time.sleep(0.05)
        if self.fault == "broken":
            return _send(http, 200, b"<html>busy</html")
        envelope = ElementTree.fromstring(body)
        request = envelope.find(f"{{{_SOAP}}}Body/*")
        name = request.tag.split("}")[1] if request is not None else ""
        self.asked.append(name)
        if name != "GetSystemDateAndTime" and not self._known(envelope):
            self.refused += 1
            return _send(http, 400, _fault("ter:NotAuthorized", "Sender not authorized"))
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            return _send(http, 400, _fault("ter:ActionNotSupported", name))
        _send(http, 200, _envelope(answer()))

    def _known(self, envelope: ElementTree.Element) -> bool:
        """Whether the token's digest is right, fresh and not used before."""
        token = envelope.find(f".//{{{_WSSE}}}UsernameToken")
        if token is None:
            return False
        user, secret, nonce, created = (
            token.find(f"{{{space}}}{name}")
            for space, name in (
                (_WSSE, "Username"),
                (_WSSE, "Password"),
                (_WSSE, "Nonce"),
                (_WSU, "Created"),
            )
        )
        if user is None or secret is None or nonce is None or created is None:
            return False
        text, made = nonce.text or "", created.text or ""
        right = hashlib.sha1(base64.b64decode(text) + made.encode() + self._password.encode()).digest()
        age = self._now() - datetime.fromisoformat(made)
        good = (
            user.text == self._user
            and secret.get("Type") == _DIGEST
            and secret.text == base64.b64encode(right).decode()
            and abs(age.total_seconds()) <= _SKEW_S
            and text not in self._nonces
        )
        self._nonces.add(text)
        return good

    def _now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.clock_off_s)

    # --- answers, by the request's name

    def _GetSystemDateAndTime(self) -> str:
        now = self._now()
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
            "<tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
            f"<tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
            f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
            f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
            "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _GetServices(self) -> str:
        services = "".join(
            f"<tds:Service><tds:Namespace>{space}</tds:Namespace><tds:XAddr>http://10.255.255.1/onvif/{name}"
            "</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>0</tt:Minor></tds:Version></tds:Service>"
            for name, space in _SERVICES.items()
        )
        return f"<tds:GetServicesResponse>{services}</tds:GetServicesResponse>"

    def _GetCapabilities(self) -> str:
        media, ptz = (
            f"<tt:{name}><tt:XAddr>http://10.255.255.1/onvif/{name}</tt:XAddr></tt:{name}>"
            for name in ("Media", "PTZ")
        )
        return (
            f"<tds:GetCapabilitiesResponse><tds:Capabilities>{media}{ptz}</tds:Capabilities>"
            "</tds:GetCapabilitiesResponse>"
        )

    def _GetProfiles(self) -> str:
        ptz = (
            '<tt:PTZConfiguration token="ptz0"><tt:Name>ptz</tt:Name><tt:UseCount>1</tt:UseCount>'
            "<tt:NodeToken>node0</tt:NodeToken></tt:PTZConfiguration>"
        )
        profiles = '<trt:Profiles token="fixed" fixed="true"><tt:Name>fixed</tt:Name></trt:Profiles>'
        if self.fault != "no-ptz":
            profiles += f'<trt:Profiles token="dome" fixed="true"><tt:Name>dome</tt:Name>{ptz}</trt:Profiles>'
        return f"<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>"

    def _GetStatus(self) -> str:
        pan, tilt, zoom = self.position
        state = "MOVING" if self.moving else "IDLE"
        place = (
            f'<tt:Position><tt:PanTilt x="{pan}" y="{tilt}"/><tt:Zoom x="{zoom}"/></tt:Position>'
            if self.fault != "no-position"
            else ""
        )
        moves = (
            f"<tt:MoveStatus><tt:PanTilt>{state}</tt:PanTilt><tt:Zoom>IDLE</tt:Zoom></tt:MoveStatus>"
            if self.tells_moving
            else ""
        )
        utc = f"<tt:UtcTime>{self._now():%Y-%m-%dT%H:%M:%SZ}</tt:UtcTime>"
        return (
            f"<tptz:GetStatusResponse><tptz:PTZStatus>{place}{moves}{utc}</tptz:PTZStatus>"
            "</tptz:GetStatusResponse>"
        )


def _envelope(body: str) -> bytes:
    spaces = f'xmlns:tds="{_SERVICES["device"]}" xmlns:trt="{_SERVICES["media"]}" '
    spaces += f'xmlns:tptz="{_SERVICES["ptz"]}" xmlns:tt="{_SCHEMA}"'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{_SOAP}" {spaces}><s:Body>{body}'
        "</s:Body></s:Envelope>"
    ).encode()


def _fault(code: str, reason: str) -> bytes:
    return _envelope(
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode>"
        f'<s:Value xmlns:ter="http://www.onvif.org/ver10/error">{code}</s:Value></s:Subcode></s:Code>'
        f'<s:Reason><s:Text xml:lang="en">{reason}</s:Text></s:Reason></s:Fault>'
    )


def _send(http: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    http.send_response(status)
    http.send_header("Content-Type", "application/soap+xml; charset=utf-8")
    http.send_header("Content-Length", str(len(body)))
    http.end_headers()
    http.wfile.write(body)
