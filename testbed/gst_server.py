"""An RTSP server for tests: many cameras, each fed with the access units of a clip, and faults on command.

Run by the system's Python (`python3 testbed/gst_server.py mounts.json`), because GStreamer's bindings are
Debian's; it imports nothing of ours. `testbed/rtsp.py` starts it, prepares the clips and sends the commands.
It prints `{"port": N}` when it serves, answers every command line (JSON on stdin) with one JSON line, and
ends when stdin does.
"""

import heapq
import json
import random
import struct
import sys
import threading
import time

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    print(json.dumps({"missing": str(error)}), flush=True)
    sys.exit(3)

# Parameter sets are in the units; the payloader would put them before every slice of a keyframe.
PIPELINES = {
    "h264": "appsrc name=feed ! rtph264pay name=pay0 pt=96 config-interval=0",
    "hevc": "appsrc name=feed ! rtph265pay name=pay0 pt=96 config-interval=0",
    "mjpeg": "appsrc name=feed ! rtpjpegpay name=pay0 pt=26",
    "audio": "audiotestsrc is-live=true wave=silence ! alawenc ! rtppcmapay name=pay0 pt=8",
}
CAPS = {
    "h264": "video/x-h264,stream-format=byte-stream,alignment=au",
    "hevc": "video/x-h265,stream-format=byte-stream,alignment=au",
    "mjpeg": "image/jpeg,width={width},height={height},framerate=25/1",
}
AUDIO = " audiotestsrc is-live=true wave=silence ! alawenc ! rtppcmapay name=pay1 pt=8"
TICK_NS = 1_000_000_000 / 90_000
UNIT = struct.Struct("<qqBI")


def read_units(path):
    """Header and access units [(pts, dts, key, bytes)] of a file written by `testbed/rtsp.py`."""
    with open(path, "rb") as file:
        head = json.loads(file.readline())
        units = []
        while fixed := file.read(UNIT.size):
            pts, dts, key, size = UNIT.unpack(fixed)
            units.append((pts, dts, bool(key), file.read(size)))
    return head, units


def damage_parameter_sets(data, codec, rng):
    """The access unit with the bodies of its parameter sets replaced by noise."""
    out = bytearray(data)
    at = out.find(b"\x00\x00\x01")
    while at >= 0:
        end = out.find(b"\x00\x00\x01", at + 3)
        kind = out[at + 3] & 31 if codec == "h264" else (out[at + 3] >> 1) & 63
        if kind in ((7, 8) if codec == "h264" else (32, 33, 34)):
            first = at + (4 if codec == "h264" else 5)
            for i in range(first, end if end > 0 else len(out)):
                out[i] = rng.randrange(1, 256)
        at = end
    return bytes(out)


class Camera:
    """One mount: its clip, where it stands in it, and its faults. All methods run in the pacer's thread."""

    def __init__(self, name, spec):
        self.name = name
        self.spec = spec
        self.head, self.units = read_units(spec["units"]) if spec.get("units") else ({"codec": "audio"}, [])
        self.rng = random.Random(spec.get("seed", 0))
        self.generation = 0
        self.source = None
        self.heal()

    def heal(self):
        self.stalled = False
        self.drop = self.flip = 0.0
        self.bad_sets = False
        self.skip = 0
        self.jump = 0

    def start(self, source):
        self.source = source
        self.generation += 1
        self.index = 0
        self.shift = 0
        return self.generation

    def due(self):
        """Seconds after the start at which the next unit is to be sent, or None at the end."""
        if self.index >= len(self.units):
            if not self.spec["loop"]:
                return None
            self.index = 0
            self.shift += self.head["duration"]
        # Never before its own presentation time: a camera cannot send what it has not seen.
        sent = (self.units[self.index][1] + self.shift + self.head["lead"]) / 90_000
        return sent + self.spec.get("behind_s", 0.0)

    def push(self):
        pts, dts, key, data = self.units[self.index]
        self.index += 1
        if self.skip > 0:
            self.skip -= 1
            return
        if self.drop and self.rng.random() < self.drop:
            return
        if key and self.bad_sets:
            data = damage_parameter_sets(data, self.head["codec"], self.rng)
        if self.flip and self.rng.random() < self.flip:
            noisy = bytearray(data)
            for _ in range(8):
                noisy[self.rng.randrange(min(6, len(noisy) - 1), len(noisy))] ^= 1 << self.rng.randrange(8)
            data = bytes(noisy)
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = max(0, int((pts + self.shift + self.jump) * TICK_NS))
        buffer.dts = max(0, int((dts + self.shift + self.jump) * TICK_NS))
        self.source.emit("push-buffer", buffer)

    def switch(self, path):
        """Continue with another clip's units (a camera whose resolution was changed)."""
        now = self.units[min(self.index, len(self.units) - 1)][1] + self.shift
        self.head, self.units = read_units(path)
        self.index = 0
        self.shift = now - self.units[0][1] + 3600


class Pacer(threading.Thread):
    """Pushes every camera's units when they are due, and applies the commands between them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.heap = []
        self.wake = threading.Condition()

    def begin(self, camera, source):
        with self.wake:
            generation, now = camera.start(source), time.monotonic()
            due = now + camera.spec.get("behind_s", 0.0)
            heapq.heappush(self.heap, (due, camera.name, generation, now, camera))
            self.wake.notify()

    def run(self):
        while True:
            with self.wake:
                wait = self.heap[0][0] - time.monotonic() if self.heap else 1.0
                if wait > 0:
                    self.wake.wait(wait)
                    continue
                due, name, generation, started, camera = heapq.heappop(self.heap)
                if generation != camera.generation:
                    continue  # the pipeline was torn down, or another took over
                if camera.stalled:
                    heapq.heappush(self.heap, (due + 0.05, name, generation, started, camera))
                    continue
                camera.push()
                later = camera.due()
                if later is None:
                    camera.source.emit("end-of-stream")
                    continue
                heapq.heappush(self.heap, (started + later, name, generation, started, camera))


class Factory(GstRtspServer.RTSPMediaFactory):
    """Builds a camera's pipeline when its first client comes; further clients share it."""

    def __init__(self, camera, pacer):
        super().__init__()
        self.camera, self.pacer = camera, pacer
        self.set_shared(True)
        self.set_stop_on_disconnect(True)

    def do_create_element(self, _url):
        launch = PIPELINES[self.camera.head["codec"]]
        return Gst.parse_launch("( " + launch + (AUDIO if self.camera.spec.get("audio") else "") + " )")

    def do_configure(self, media):
        source = media.get_element().get_by_name("feed")
        if source is None:
            return
        head = self.camera.head
        source.set_property("caps", Gst.Caps.from_string(CAPS[head["codec"]].format(**head)))
        source.set_property("format", Gst.Format.TIME)
        source.set_property("is-live", True)
        # Pushing starts here: waiting for the media to be prepared would wait for ever.
        self.pacer.begin(self.camera, source)
        generation = self.camera.generation
        media.connect("unprepared", lambda _m: self._stop(generation))

    def _stop(self, generation):
        if self.camera.generation == generation:
            self.camera.generation += 1


class Server:
    """The mounts, their users, and the commands."""

    def __init__(self, specs):
        self.pacer = Pacer()
        self.cameras = {name: Camera(name, spec) for name, spec in specs.items()}
        self.playing = {}
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service("0")
        self.server.connect("client-connected", self._connected)
        users = {s["user"]: s["password"] for s in specs.values() if s.get("user")}
        if users:
            self._protect(users)
        for name, camera in self.cameras.items():
            factory = Factory(camera, self.pacer)
            if users:
                factory.set_permissions(self._permissions(camera.spec.get("user")))
            self.server.get_mount_points().add_factory("/" + name, factory)

    def _protect(self, users):
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        for user, password in users.items():
            auth.add_digest(user, password, self._token(user))
        auth.set_default_token(self._token("anonymous"))
        self.server.set_auth(auth)

    @staticmethod
    def _token(role):
        token = GstRtspServer.RTSPToken.new()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, role)
        return token

    @staticmethod
    def _permissions(user):
        """Everybody may see that a mount is there; building it without its user answers 401."""
        permissions = GstRtspServer.RTSPPermissions.new()
        access = GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS
        permissions.add_permission_for_role("anonymous", access, True)
        if user:
            permissions.add_permission_for_role(user, access, True)
        construct = GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT
        permissions.add_permission_for_role(user or "anonymous", construct, True)
        return permissions

    def _connected(self, _server, client):
        client.connect("play-request", self._playing)
        client.connect("closed", lambda c: self.playing.pop(c, None))

    def _playing(self, client, context):
        self.playing[client] = context.uri.abspath.strip("/").split("/")[0]

    def close_clients(self, name):
        """Cut the connections that play a mount."""
        for client, mount in list(self.playing.items()):
            if mount == name:
                client.close()

    def obey(self, command):
        """Carry out one command; answers what is true afterwards."""
        camera = self.cameras[command["mount"]]
        what = command["fault"]
        if what == "close":
            self.close_clients(camera.name)
            return {"ok": True}
        with self.pacer.wake:
            if what == "heal":
                camera.heal()
            elif what == "where":
                return {"sent": camera.index if camera.source else 0}
            elif what == "stall":
                camera.stalled = True
            elif what == "drop":
                camera.drop = command["share"]
            elif what == "lose":
                camera.skip = command["units"]
            elif what == "flip":
                camera.flip = command["share"]
            elif what == "sets":
                camera.bad_sets = True
            elif what == "jump":
                camera.jump += int(command["seconds"] * 90_000)
            elif what == "switch":
                camera.switch(command["units_file"])
            else:
                return {"error": f"unknown fault {what}"}
        return {"ok": True, "clients": sum(m == camera.name for m in self.playing.values())}

    def serve(self):
        """Until stdin ends."""
        self.server.attach(None)
        self.pacer.start()
        loop = GLib.MainLoop()
        threading.Thread(target=self._listen, args=(loop,), daemon=True).start()
        print(json.dumps({"port": self.server.get_bound_port()}), flush=True)
        loop.run()

    def _listen(self, loop):
        for line in sys.stdin:
            done = threading.Event()
            GLib.idle_add(self._answer, json.loads(line), done)
            done.wait()
        loop.quit()

    def _answer(self, command, done):
        try:
            answer = self.obey(command)
        except (KeyError, OSError, ValueError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        done.set()
        return False


if __name__ == "__main__":
    Gst.init(None)
    with open(sys.argv[1]) as mounts:
        Server(json.load(mounts)).serve()
