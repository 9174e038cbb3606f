# SPDX-License-Identifier: BSD-2-Clause
"""Every message after every other one: a model of the back-end says what must come, and whether packets still pass.

The model is written from the specification and from the rules of this project, not from the code. Each sequence has a
connection of its own, on which everything was negotiated; all messages ask for a reply, and each is right in itself:
what makes it wrong is only what came before.
"""
import itertools
import os
import socket
import struct
import sys

import frontend as fe
from frontend import REQUESTS, Closed, Guest, Memory, Region, state
from protocol_scene import GUEST_MAC, SOCK, connect, frame_out, numbers, true, viaduct, wire

RX, TX = 0, 1
MB = 1 << 20

# Groups of first messages; "=" takes another payload than that of the plain name.
FEATURES = ("GET_FEATURES", "SET_FEATURES", "SET_OWNER", "RESET_OWNER", "GET_PROTOCOL_FEATURES",
            "SET_PROTOCOL_FEATURES", "GET_QUEUE_NUM")
MEMORY = "SET_MEM_TABLE", "SET_LOG_BASE", "SET_LOG_FD", "GET_MAX_MEM_SLOTS", "ADD_MEM_REG", "REM_MEM_REG"
RINGS = "SET_VRING_NUM", "SET_VRING_ADDR", "SET_VRING_BASE", "SET_VRING_ENABLE", "SET_VRING_ENABLE=0"
EVENTS = "GET_VRING_BASE", "SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"
DEVICE = ("SEND_RARP", "NET_SET_MTU", "SET_BACKEND_REQ_FD", "GET_CONFIG", "SET_CONFIG", "RESET_DEVICE", "SET_STATUS",
          "SET_STATUS=0", "GET_STATUS")
OTHERS = tuple(n for n in REQUESTS if n not in FEATURES + MEMORY + RINGS + EVENTS + DEVICE)
ALL = FEATURES + MEMORY + RINGS + EVENTS + DEVICE + OTHERS
assert {REQUESTS[n.partition("=")[0]] for n in ALL} == set(range(1, 44))

# The protocol feature without which a message is refused.
FEATURE_OF = dict(SET_LOG_BASE=fe.P_LOG_SHMFD, GET_MAX_MEM_SLOTS=fe.P_MEM_SLOTS, ADD_MEM_REG=fe.P_MEM_SLOTS,
                  REM_MEM_REG=fe.P_MEM_SLOTS, SEND_RARP=fe.P_RARP, NET_SET_MTU=fe.P_NET_MTU,
                  SET_BACKEND_REQ_FD=fe.P_BACKEND_REQ, GET_CONFIG=fe.P_CONFIG, SET_CONFIG=fe.P_CONFIG,
                  RESET_DEVICE=fe.P_RESET_DEVICE, SET_STATUS=fe.P_STATUS, GET_STATUS=fe.P_STATUS)
REPLY_SIZES = dict(GET_FEATURES=8, GET_PROTOCOL_FEATURES=8, GET_QUEUE_NUM=8, GET_VRING_BASE=8, GET_STATUS=8,
                   GET_MAX_MEM_SLOTS=8, GET_CONFIG=24)


class Model:
    """What the back-end has to know. Messages about rings are about the rx ring."""

    def __init__(self, protocol, running):
        self.protocol = protocol
        self.memory = {"main"}
        self.num = self.addr = self.kicked = running
        self.started = {RX: running, TX: running}
        self.enabled = {RX: running, TX: running}

    def traffic(self):
        return self.started[TX] and self.enabled[TX]

    def reset(self):
        self.num = self.addr = self.kicked = False
        self.started = {RX: False, TX: False}
        self.enabled = {RX: False, TX: False}
        return "ok"

    def try_start(self, undo):
        if not self.started[RX] and self.num and self.addr and self.kicked and self.memory:
            if "main" not in self.memory:
                setattr(self, undo, False)
                return "nack"
            self.started[RX] = True
        return "ok"

    def expect(self, message):
        """The result of one more message: ok, nack, or the size of its reply."""
        name, _, value = message.partition("=")
        need = FEATURE_OF.get(name, 0)
        if self.protocol & need != need or name in OTHERS or name == "SET_CONFIG":
            return "nack"
        if name in REPLY_SIZES:
            if name == "GET_VRING_BASE":
                self.started[RX] = self.kicked = False
            return REPLY_SIZES[name]
        handler = getattr(self, name.lower(), None)
        return handler(value) if handler else "ok"

    def reset_owner(self, _):
        self.enabled = {RX: False, TX: False}
        return "ok"

    def set_mem_table(self, _):
        self.memory = {"main"}
        return "ok"

    def add_mem_reg(self, _):
        self.memory.add("extra")  # again: it is the same
        return "ok"

    def rem_mem_reg(self, _):
        if "main" in self.memory and any(self.started.values()):
            return "nack"
        self.memory.discard("main")  # again: it is gone
        return "ok"

    def set_vring_num(self, _):
        before, self.num = self.num, True
        return self.try_start("num") if not before else "ok"

    def set_vring_addr(self, _):
        if "main" not in self.memory:
            return "nack"
        self.addr = True
        return self.try_start("addr")

    def set_vring_base(self, _):
        return "nack" if self.started[RX] else "ok"

    def set_vring_kick(self, _):
        before = self.kicked
        self.kicked = True
        result = self.try_start("kicked")
        if result == "nack":
            self.kicked = before
        return result

    def set_vring_enable(self, value):
        self.enabled[RX] = value != "0"
        return "ok"

    def set_status(self, value):
        return self.reset() if value == "0" else "ok"

    def reset_device(self, _):
        return self.reset()


class Bench:
    """One guest's memory, fds and payloads, for any number of connections."""

    def __init__(self):
        self.mem, self.extra = Memory(Region(MB)), Region(MB, guest=1 << 32)
        self.w, self.number = wire(), 0
        self.log = os.memfd_create("dirty-log")
        os.ftruncate(self.log, 4096)
        self.socket, self.peer = socket.socketpair()
        self.event = os.eventfd(0)
        with connect() as c:
            self.protocol = c.ask_u64("GET_PROTOCOL_FEATURES")
        self.g = None
        self.tried, self.wrong = 0, []

    def connect(self, running):
        if not self.g:
            self.g = Guest(SOCK, mem=self.mem, protocol=self.protocol)
        else:
            self.g.conn = fe.Connection(SOCK)
        g = self.g
        g.done()  # the last connection is over
        c = g.conn
        c.send("SET_PROTOCOL_FEATURES", self.protocol)
        c.send("SET_OWNER")
        c.send("SET_FEATURES", g.features)
        g.set_memory()
        for i in g.rings():
            g.queues[i].begin()
            if running:
                g.set_up(i)
        g.done()
        return g

    def message(self, name, value):
        """(payload, fds)"""
        g = self.g
        slot = lambda r: bytes(8) + r.words()
        if name in ("SET_VRING_NUM", "SET_VRING_BASE", "GET_VRING_BASE", "SET_VRING_ENABLE"):
            num = dict(SET_VRING_NUM=64, SET_VRING_ENABLE=1).get(name, 0)
            return state(RX, int(value or num)), []
        fixed = dict(
            SET_FEATURES=lambda: (g.features, []), SET_PROTOCOL_FEATURES=lambda: (self.protocol, []),
            SET_MEM_TABLE=lambda: (g.mem.table(), g.mem.fds()),
            SET_LOG_BASE=lambda: (struct.pack("QQ", 4096, 0), [self.log]), SET_LOG_FD=lambda: (b"", [self.event]),
            SET_VRING_ADDR=lambda: (g.address(RX), []), SET_VRING_KICK=lambda: (RX, [g.queues[RX].kick_fd]),
            SET_VRING_CALL=lambda: (RX, [g.queues[RX].call_fd]), SET_VRING_ERR=lambda: (RX, [g.queues[RX].err_fd]),
            ADD_MEM_REG=lambda: (slot(self.extra), [self.extra.fd]), REM_MEM_REG=lambda: (slot(g.mem.regions[0]), []),
            SEND_RARP=lambda: (GUEST_MAC + bytes(2), []), NET_SET_MTU=lambda: (1500, []),
            SET_BACKEND_REQ_FD=lambda: (b"", [self.peer]), GET_CONFIG=lambda: (struct.pack("III", 0, 12, 0) + bytes(12), []),
            SET_CONFIG=lambda: (struct.pack("III", 0, 2, 0) + bytes(2), []),
            SET_STATUS=lambda: (int(value or 15), []),
            # Right in themselves, for back-ends that have them.
            IOTLB_MSG=lambda: (bytes(32), []), SET_VRING_ENDIAN=lambda: (state(RX, 0), []),
            CREATE_CRYPTO_SESSION=lambda: (bytes(64), []), CLOSE_CRYPTO_SESSION=lambda: (bytes(8), []),
            GET_INFLIGHT_FD=lambda: (struct.pack("QQHH", 0, 0, 2, 64), []),
            SET_INFLIGHT_FD=lambda: (struct.pack("QQHH", 4096, 0, 2, 64), [self.log]),
            GPU_SET_SOCKET=lambda: (b"", [self.peer]), VRING_KICK=lambda: (state(RX, 0), []),
            GET_SHARED_OBJECT=lambda: (bytes(16), []), SET_DEVICE_STATE_FD=lambda: (struct.pack("II", 0, 0), [self.event]))
        return fixed.get(name, lambda: (b"", []))()

    def result(self, message):
        name, _, value = message.partition("=")
        payload, fds = self.message(name, value)
        try:
            number = self.g.conn.send(name, payload, fds, fe.VERSION | fe.NEED_REPLY)
            answer = self.g.conn.reply(number)
        except Closed:
            return "closed"
        if name in REPLY_SIZES and len(answer) == REPLY_SIZES[name] and (
                len(answer) != 8 or self.protocol & FEATURE_OF.get(name, 0) == FEATURE_OF.get(name, 0)):
            return len(answer)
        if len(answer) != 8:
            return f"{len(answer)} bytes"
        return "nack" if struct.unpack("Q", answer)[0] else "ok"

    def sequence(self, messages, running):
        """Tries it and notes what is not as the model says."""
        self.tried += 1
        model = Model(self.protocol, running)
        g = self.connect(running)
        for n, message in enumerate(messages):
            want, got = model.expect(message), self.result(message)
            if got != want:
                self.wrong.append(f"{' '.join(messages[:n + 1])}, rings {'running' if running else 'stopped'}: "
                                  f"{got}, not {want}")
                g.close()
                return
        try:
            g.done()
            if model.traffic():
                self.number += 1
                g.send(frame_out(self.number))
                got = numbers(self.w.receive())
                if got != [self.number]:
                    self.wrong.append(f"{' '.join(messages)}: frame {got}, not {self.number}")
                g.sent()
        except (Closed, fe.Timeout) as e:
            self.wrong.append(f"{' '.join(messages)}, rings {'running' if running else 'stopped'}, then: {e!r}")
        g.close()

    def end(self, what):
        print(f"    {self.tried} {what} tried", file=sys.stderr)
        true(viaduct.alive(), "viaduct is dead")
        true(not self.wrong, "\n".join([f"{len(self.wrong)} are wrong:", *self.wrong[:40]]))


def pairs(first):
    bench = Bench()
    for running in False, True:
        for a in first:
            for b in ALL:
                bench.sequence((a, b), running)
    bench.end("pairs")


def test_each_message_after_one_about_features():
    pairs(FEATURES)


def test_each_message_after_one_about_memory():
    pairs(MEMORY)


def test_each_message_after_one_that_describes_a_ring():
    pairs(RINGS)


def test_each_message_after_one_that_starts_or_stops_a_ring():
    pairs(EVENTS)


def test_each_message_after_one_about_the_device():
    pairs(DEVICE)


def test_each_message_after_one_that_is_not_supported():
    pairs(OTHERS)


def test_each_three_messages_that_change_what_a_ring_is():
    bench = Bench()
    changes = ("SET_FEATURES", "SET_MEM_TABLE", "ADD_MEM_REG", "REM_MEM_REG", "SET_VRING_NUM", "SET_VRING_ADDR",
               "SET_VRING_BASE", "GET_VRING_BASE", "SET_VRING_KICK", "SET_VRING_ENABLE", "SET_STATUS=0", "RESET_DEVICE")
    for running in False, True:
        for three in itertools.product(changes, repeat=3):
            bench.sequence(three, running)
    bench.end("sequences")
