# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of protocol.sh share: the running bridge as the outside sees it, numbered frames, verdicts."""
import json
import os
import signal
import struct
import subprocess

import frontend as fe
from frontend import Closed, Guest, Timeout, until

SOCK = os.environ.get("SOCK", "")
WORK = os.environ.get("WORK", "")
GUEST_MAC = bytes.fromhex("525400000003")
WIRE_MAC = bytes.fromhex("020000000077")
TEST_TYPE, RARP_TYPE = 0x88b5, 0x8035
RINGS = 4  # of the port that most tests have


class Skip(Exception):
    pass


def port(keys):
    """Decorator: more keys of the port that the test wants."""
    def mark(test):
        test.port = keys
        return test
    return mark


def ports(count):
    """Decorator: so many ports with one pair each; see port_socket()."""
    def mark(test):
        test.ports = count
        return test
    return mark


def standby(iface):
    """Decorator: an interface beside nic0, which the test makes."""
    def mark(test):
        test.standby = iface
        return test
    return mark


def port_socket(n):
    return f"{WORK}/p{n}.sock"


def guest(**more):
    return Guest(SOCK, **more)


def connect():
    return fe.Connection(SOCK)


def negotiated(protocol=None, features=fe.F_VERSION_1 | fe.F_PROTOCOL, memory=True, **more):
    """A guest that has said everything but what concerns rings."""
    g = guest(features=features, protocol=protocol, **more).negotiate()
    if memory:
        g.set_memory()
    g.done()
    return g


def needs(g, bits):
    """Skips where the back-end does not offer it."""
    if g.protocol & bits != bits:
        raise Skip(f"protocol features {bits & ~g.protocol:#x} are not offered")
    return g


# --- the process -----------------------------------------------------------------------------------------------------

class Viaduct:
    """The one that protocol.sh started, or its successor."""

    def __init__(self):
        self.pid = int(os.environ["VIADUCT_PID"])
        self.child = None

    def alive(self):
        try:
            with open(f"/proc/{self.pid}/stat") as f:
                return f.read().rpartition(")")[2].split()[0] not in "ZX"
        except FileNotFoundError:
            return False

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def guest_maps(self):
        """Mappings of guest memory and logs."""
        with open(f"/proc/{self.pid}/maps") as f:
            return sum("guest-memory" in line or "dirty-log" in line for line in f)

    def status(self):
        out = subprocess.run([os.environ["BUILD"] + "/viaduct", "status", "--name", "nic0", "--json"],
                             stdout=subprocess.PIPE, check=True, timeout=20).stdout
        return json.loads(out)

    def port(self, n=0):
        return self.status()["ports"][n]

    def said(self):
        with open(os.environ["VIADUCT_LOG"]) as f:
            return f.read()

    def restart(self):
        """SIGKILL, and a new one with the same arguments that is ready when this returns."""
        with open(f"/proc/{self.pid}/cmdline", "rb") as f:
            args = f.read().split(b"\0")[:-1]
        os.kill(self.pid, signal.SIGKILL)
        if self.child:
            self.child.wait()
        until(lambda: not os.path.exists(f"/proc/{self.pid}"), "viaduct did not die")  # with all its threads
        ready = self.said().count(" ready")
        log = open(os.environ["VIADUCT_LOG"], "a")
        self.child = subprocess.Popen(args, stdout=log, stderr=log)
        self.pid = self.child.pid
        until(lambda: self.said().count(" ready") > ready, "the second viaduct is not ready", 20)

    def end(self):
        """Of the one that was started here."""
        if self.child:
            self.child.terminate()
            same(self.child.wait(timeout=20), 0, "exit code")


viaduct = Viaduct() if os.environ.get("VIADUCT_PID") else None


class Baseline:
    """Open files and mappings with nobody connected; all must be back when the test has closed what it opened."""

    def __init__(self):
        self.fds = viaduct.fds()

    def check(self):
        until(lambda: viaduct.fds() <= self.fds, lambda: f"{viaduct.fds()} fds, before it were {self.fds}")
        until(lambda: not viaduct.guest_maps(), lambda: f"{viaduct.guest_maps()} mappings of guest memory are left")


# --- saying what must hold -------------------------------------------------------------------------------------------

def same(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, not {want!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


REPLIES = {fe.REQUESTS[n]: size for n, size in dict(
    GET_FEATURES=8, GET_PROTOCOL_FEATURES=8, GET_QUEUE_NUM=8, GET_VRING_BASE=8, GET_STATUS=8, GET_MAX_MEM_SLOTS=8,
    SET_LOG_BASE=8).items()}


def verdict(conn, request, payload=b"", fds=(), flags=fe.VERSION | fe.NEED_REPLY, size=None):
    """What becomes of a message: "ok", "nack" or "closed". Only for those without a reply of their own."""
    try:
        number = conn.send(request, payload, fds, flags, size)
        answer = conn.reply(number)
    except Closed:
        return "closed"
    same(len(answer), 8, "size of the ack")
    return "nack" if struct.unpack("Q", answer)[0] else "ok"


def ok(conn, *message, what="", **more):
    same(verdict(conn, *message, **more), "ok", f"{message[0]} {what}")


def refused(conn, *message, what="", **more):
    """Nacked, and the connection is as good as before."""
    same(verdict(conn, *message, **more), "nack", f"{message[0]} {what}")
    conn.ask("GET_FEATURES")


def closes(message, what, **connection):
    """message(conn): something that must end a fresh connection."""
    g = negotiated(**connection)
    try:
        message(g.conn)
    except Closed:
        pass
    true(g.conn.is_closed(), f"{what}: the connection was not closed")
    g.close()


# --- packets ---------------------------------------------------------------------------------------------------------

def wire(ethertype=TEST_TYPE):
    return fe.Wire("/run/netns/wire", "wire0", ethertype)


def frame_out(number, length=60):
    """From the guest."""
    head = WIRE_MAC + GUEST_MAC + struct.pack(">HI", TEST_TYPE, number)
    return head + bytes((number + n) & 0xff for n in range(length - len(head)))


def frame_in(number, length=60):
    """To the guest."""
    return GUEST_MAC + WIRE_MAC + frame_out(number, length)[12:]


def numbers(frames):
    return [struct.unpack_from(">I", f, 14)[0] for f in frames]


def sends(g, w, first=0, count=3, pair=0, length=60):
    """What the guest sends comes out of the wire, whole and in order, and its buffers come back."""
    want = [frame_out(n, length) for n in range(first, first + count)]
    g.send(*want, pair=pair)
    same(w.receive(count), want, "frames from the guest")
    g.sent(count, pair)


def receives(g, w, first=0, count=3, pair=0, length=60, posted=False):
    """What comes from the wire is in the guest's buffers."""
    want = [frame_in(n, length) for n in range(first, first + count)]
    if not posted:
        g.post_rx(count, pair)
    w.send(*want)
    same(g.receive(count, pair), want, "frames from the wire")


def both_ways(g, w, first=0, **more):
    sends(g, w, first, **more)
    receives(g, w, first, **more)


def dropped_by_program(n=0):
    return sum(viaduct.port(n)["xdp"]["drops"].values())
