# SPDX-License-Identifier: BSD-2-Clause
"""A vhost-user front-end for scripts: sends what it is told to, legal or not.

Written from the specification and from virtio 1.3 ("Split Virtqueues", "Packed Virtqueues"); it shares nothing with
user/driver/ on purpose, so that a misreading there is not made here once more.

    Memory      regions of guest memory (memfd, file on tmpfs or hugetlbfs), found by guest address
    SplitQueue, PackedQueue     one virtqueue in such memory, the driver's side
    Connection  raw messages: any header, payload and fds out; replies in, with a deadline
    Guest       a virtio-net driver of them, in steps that a test can put into any order
"""
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import termios
import time

DEADLINE = 10  # seconds for anything that is sure to come

# "Front-end message types"
REQUESTS = dict(
    GET_FEATURES=1, SET_FEATURES=2, SET_OWNER=3, RESET_OWNER=4, SET_MEM_TABLE=5, SET_LOG_BASE=6, SET_LOG_FD=7,
    SET_VRING_NUM=8, SET_VRING_ADDR=9, SET_VRING_BASE=10, GET_VRING_BASE=11, SET_VRING_KICK=12, SET_VRING_CALL=13,
    SET_VRING_ERR=14, GET_PROTOCOL_FEATURES=15, SET_PROTOCOL_FEATURES=16, GET_QUEUE_NUM=17, SET_VRING_ENABLE=18,
    SEND_RARP=19, NET_SET_MTU=20, SET_BACKEND_REQ_FD=21, IOTLB_MSG=22, SET_VRING_ENDIAN=23, GET_CONFIG=24,
    SET_CONFIG=25, CREATE_CRYPTO_SESSION=26, CLOSE_CRYPTO_SESSION=27, POSTCOPY_ADVISE=28, POSTCOPY_LISTEN=29,
    POSTCOPY_END=30, GET_INFLIGHT_FD=31, SET_INFLIGHT_FD=32, GPU_SET_SOCKET=33, RESET_DEVICE=34, VRING_KICK=35,
    GET_MAX_MEM_SLOTS=36, ADD_MEM_REG=37, REM_MEM_REG=38, SET_STATUS=39, GET_STATUS=40, GET_SHARED_OBJECT=41,
    SET_DEVICE_STATE_FD=42, CHECK_DEVICE_STATE=43)
NAMES = {number: name for name, number in REQUESTS.items()}

VERSION, REPLY, NEED_REPLY = 1, 4, 8
NO_FD = 1 << 8  # KICK, CALL, ERR
F_LOG = 1  # SET_VRING_ADDR

# Virtio and vhost feature bits
F_MTU, F_MAC, F_MRG_RXBUF, F_STATUS, F_MQ = 1 << 3, 1 << 5, 1 << 15, 1 << 16, 1 << 22
F_LOG_ALL, F_INDIRECT, F_EVENT_IDX, F_PROTOCOL = 1 << 26, 1 << 28, 1 << 29, 1 << 30
F_VERSION_1, F_PACKED, F_IN_ORDER = 1 << 32, 1 << 34, 1 << 35
# Protocol features
P_MQ, P_LOG_SHMFD, P_RARP, P_REPLY_ACK, P_NET_MTU, P_BACKEND_REQ = (1 << n for n in range(6))
P_CONFIG, P_RESET_DEVICE, P_MEM_SLOTS, P_STATUS = 1 << 9, 1 << 13, 1 << 15, 1 << 16

PAGE = 4096


class Closed(Exception):
    """The back-end closed the connection."""


class Timeout(Exception):
    """Something that had to come did not."""


def until(condition, what, seconds=DEADLINE):
    """Waits for a condition that nothing announces."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise Timeout(f"gave up waiting: {what() if callable(what) else what}")
        time.sleep(0.005)
    return value


def readable(fd, seconds):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def fd_number(fd):
    return fd if isinstance(fd, int) else fd.fileno()


# --- guest memory ----------------------------------------------------------------------------------------------------

class Region:
    """One file of guest memory. user: the front-end's address of it; offset: where in the file it begins."""

    def __init__(self, size=2 << 20, guest=0, user=None, offset=0, kind="memfd", folder=None):
        self.size, self.guest, self.offset = size, guest, offset
        self.user = 0x7f0000000000 + guest if user is None else user
        if kind == "memfd":
            self.fd = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        elif kind == "hugetlb":
            self.fd = os.memfd_create("guest-memory", os.MFD_CLOEXEC | os.MFD_HUGETLB)
        else:
            path = os.path.join(folder, f"guest-memory-{guest:x}")
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.unlink(path)
        os.ftruncate(self.fd, offset + size)
        self._map()

    @classmethod
    def part(cls, other, offset, size, guest):
        """One more region of the other's file."""
        self = cls.__new__(cls)
        self.size, self.guest, self.offset, self.user = size, guest, offset, 0x7f0000000000 + guest
        self.fd = os.dup(other.fd)
        self._map()
        return self

    def _map(self):
        whole = memoryview(mmap.mmap(self.fd, self.offset + self.size))[self.offset:]
        self.bytes, self.u16, self.u32, self.u64 = whole, whole.cast("H"), whole.cast("I"), whole.cast("Q")

    def close(self):
        """The mapping goes with the last of what points into it."""
        os.close(self.fd)
        self.bytes = self.u16 = self.u32 = self.u64 = None

    def words(self):
        """As ADD_MEM_REG and SET_MEM_TABLE describe it."""
        return struct.pack("QQQQ", self.guest, self.size, self.user, self.offset)


class Memory:
    def __init__(self, *regions):
        self.regions = list(regions) or [Region()]
        self.top = {}

    def region(self, guest, length=1):
        for r in self.regions:
            if r.guest <= guest and guest + length <= r.guest + r.size:
                return r
        raise ValueError(f"no guest memory at {guest:#x}")

    def alloc(self, length, align=PAGE, region=None):
        """A guest address, never given out before."""
        r = region or self.regions[0]
        at = (self.top.get(id(r), r.guest) + align - 1) // align * align
        if at + length > r.guest + r.size:
            raise MemoryError("guest memory is used up")
        self.top[id(r)] = at + length
        return at

    def user(self, guest):
        r = self.region(guest)
        return r.user + guest - r.guest

    def read(self, guest, length):
        out = b""
        while length:  # over the border of regions that follow each other
            r = self.region(guest)
            part = min(length, r.guest + r.size - guest)
            out += bytes(r.bytes[guest - r.guest:guest - r.guest + part])
            guest, length = guest + part, length - part
        return out

    def write(self, guest, data):
        while data:
            r = self.region(guest)
            part = data[:r.guest + r.size - guest]
            r.bytes[guest - r.guest:guest - r.guest + len(part)] = part
            guest, data = guest + len(part), data[len(part):]

    # One aligned access of its natural width each, as the other side needs it. x86 keeps their order.
    def _at(self, guest, width):
        r = self.region(guest)
        return {2: r.u16, 4: r.u32, 8: r.u64}[width], (guest - r.guest) // width

    def load(self, guest, width):
        view, i = self._at(guest, width)
        return view[i]

    def store(self, guest, width, value):
        view, i = self._at(guest, width)
        view[i] = value

    def table(self):
        return struct.pack("II", len(self.regions), 0) + b"".join(r.words() for r in self.regions)

    def fds(self):
        return [r.fd for r in self.regions]

    def pages(self):
        """Contents by guest page number."""
        return {(r.guest + at) // PAGE: bytes(r.bytes[at:at + PAGE])
                for r in self.regions for at in range(0, r.size, PAGE)}


# --- virtqueues ------------------------------------------------------------------------------------------------------

class Queue:
    """What both kinds share: event fds, and waiting for them."""

    def __init__(self, mem, size):
        self.mem, self.size = mem, size
        self.kick_fd, self.call_fd, self.err_fd = (os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(3))
        self.done = []  # (id, length) read from the used ring and not yet asked for
        self.chains = {}  # id -> buffers

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def called(self, seconds=0):
        """How often the back-end has signalled the call fd; resets it."""
        return os.eventfd_read(self.call_fd) if readable(self.call_fd, seconds) else 0

    def failed(self, seconds=DEADLINE):
        return readable(self.err_fd, seconds)

    def used(self, count=1, seconds=DEADLINE):
        """So many completed chains as (id, length, buffers); waits for calls."""
        end = time.monotonic() + seconds
        while True:
            self.done += self.collect()
            if len(self.done) < count and self.ask_for_call():
                self.done += self.collect()
            if len(self.done) >= count:
                break
            left = end - time.monotonic()
            if left <= 0:
                raise Timeout(f"{len(self.done)} of {count} buffers came back")
            self.called(left)
        out, self.done = self.done[:count], self.done[count:]
        return [(i, length, self.chains.pop(i)) for i, length in out]

    def ask_for_call(self):
        """Of the next completion. True: look again, it may have been before."""
        return False

    def nothing_used(self):
        self.done += self.collect()
        return not self.done


class SplitQueue(Queue):
    def __init__(self, mem, size=256, region=None, at=None):
        super().__init__(mem, size)
        # Each part in pages of its own, so that a dirty log can tell them apart.
        self.desc, self.avail, self.used_ring = at or [
            mem.alloc(n, PAGE, region) for n in (16 * size, 6 + 2 * size, 6 + 8 * size)]
        self.begin()

    def begin(self, base=0):
        """Forgets what was posted."""
        self.next_avail = self.last_used = base
        self.free = list(range(self.size))
        self.mem.store(self.avail, 2, 0)
        self.mem.store(self.avail + 2, 2, base)
        self.mem.store(self.used_ring, 4, base << 16)
        self.chains, self.done = {}, []

    def base(self):
        return self.next_avail

    def ask_for_call(self):
        """used_event; nobody reads it without EVENT_IDX."""
        self.mem.store(self.avail + 4 + 2 * self.size, 2, self.last_used)
        return True

    def add(self, *buffers, publish=True):
        """One chain of (guest address, length, device writes); returns its head."""
        heads = [self.free.pop(0) for _ in buffers]
        for n, (address, length, writes) in enumerate(buffers):
            last = n + 1 == len(buffers)
            self.mem.write(self.desc + 16 * heads[n], struct.pack(
                "QIHH", address, length, (not last) | 2 * writes, 0 if last else heads[n + 1]))
        self.chains[heads[0]] = buffers
        self.mem.store(self.avail + 4 + 2 * (self.next_avail % self.size), 2, heads[0])
        self.next_avail = (self.next_avail + 1) & 0xffff
        if publish:
            self.publish()
        return heads[0]

    def publish(self):
        self.mem.store(self.avail + 2, 2, self.next_avail)

    def used_index(self):
        return self.mem.load(self.used_ring + 2, 2)

    def collect(self):
        out = []
        while self.last_used != self.used_index():
            at = self.used_ring + 4 + 8 * (self.last_used % self.size)
            head = self.mem.load(at, 4)
            out.append((head, self.mem.load(at + 4, 4)))
            self.last_used = (self.last_used + 1) & 0xffff
            nxt = head
            for _ in self.chains.get(head, ()):
                self.free.append(nxt)
                nxt = self.mem.load(self.desc + 16 * nxt + 14, 2)
        return out


class PackedQueue(Queue):
    def __init__(self, mem, size=256, region=None):
        super().__init__(mem, size)
        self.desc, self.avail, self.used_ring = (mem.alloc(n, PAGE, region) for n in (16 * size, 4, 4))
        self.begin()

    def begin(self, base=0x8000):
        self.position, self.wrap = base & 0x7fff, base >> 15 & 1
        self.used_position, self.used_wrap = self.position, self.wrap
        self.ids = list(range(self.size))
        self.chains, self.done = {}, []
        self.mem.write(self.desc, bytes(16 * self.size))
        # Flags that are neither available nor used with the wrap counters as they are.
        for n in range(self.size):
            old = self.wrap ^ (n >= self.position)
            self.mem.store(self.desc + 16 * n + 14, 2, (0x8080 if old else 0))
        self.mem.store(self.avail, 4, 0)
        self.mem.store(self.used_ring, 4, 0)

    def base(self):
        return self.position | self.wrap << 15

    def add(self, *buffers):
        ident, first = self.ids.pop(0), None
        for n, (address, length, writes) in enumerate(buffers):
            at = self.desc + 16 * self.position
            flags = (n + 1 < len(buffers)) | 2 * writes | (0x80 if self.wrap else 0x8000)
            self.mem.write(at, struct.pack("QIH", address, length, ident))
            if n:
                self.mem.store(at + 14, 2, flags)
            else:
                first = at + 14, flags
            self.position += 1
            if self.position == self.size:
                self.position, self.wrap = 0, self.wrap ^ 1
        self.mem.store(first[0], 2, first[1])  # last: the chain is whole now
        self.chains[ident] = buffers
        return ident

    def collect(self):
        out = []
        while True:
            at = self.desc + 16 * self.used_position
            flags = self.mem.load(at + 14, 2)
            if (flags >> 7 & 1, flags >> 15) != (self.used_wrap, self.used_wrap):
                return out
            ident = self.mem.load(at + 12, 2)
            out.append((ident, self.mem.load(at + 8, 4)))
            self.ids.append(ident)
            self.used_position += len(self.chains.get(ident, (0,)))
            if self.used_position >= self.size:
                self.used_position, self.used_wrap = self.used_position - self.size, self.used_wrap ^ 1


# --- messages --------------------------------------------------------------------------------------------------------

class Connection:
    def __init__(self, path=None, sock=None):
        self.path = path
        self.sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if path:
            self.sock.connect(path)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def raw(self, data, fds=()):
        try:
            if fds:
                sent = socket.send_fds(self.sock, [data], [fd_number(f) for f in fds])
                data = data[sent:]
            if data:
                self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed() from None

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        """A number as payload is a u64."""
        number = REQUESTS[request] if isinstance(request, str) else request
        body = struct.pack("Q", payload) if isinstance(payload, int) else payload
        self.raw(struct.pack("III", number, flags, len(body) if size is None else size) + body, fds)
        return number

    def _read(self, length, end):
        data = b""
        while len(data) < length:
            left = end - time.monotonic()
            if left <= 0 or not readable(self.sock, left):
                raise Timeout(f"{len(data)} of {length} bytes of a reply came")
            try:
                part = self.sock.recv(length - len(data))
            except ConnectionResetError:
                raise Closed() from None
            if not part:
                raise Closed()
            data += part
        return data

    def reply(self, request=None, seconds=DEADLINE):
        """The payload of the next reply. request: whose it has to be."""
        end = time.monotonic() + seconds
        number, flags, size = struct.unpack("III", self._read(12, end))
        payload = self._read(size, end)
        if request is not None and number != request:
            raise AssertionError(f"reply to {NAMES.get(number, number)}, not {NAMES.get(request, request)}")
        if flags != VERSION | REPLY:
            raise AssertionError(f"flags of a reply: {flags:#x}")
        return payload

    def ask(self, request, payload=b"", fds=(), flags=VERSION):
        """A message that has a reply of its own."""
        return self.reply(self.send(request, payload, fds, flags))

    def ask_u64(self, request, payload=b"", fds=()):
        return struct.unpack("Q", self.ask(request, payload, fds))[0]

    def ack(self, request, payload=b"", fds=()):
        """NEED_REPLY: the u64 that comes back."""
        return struct.unpack("Q", self.ask(request, payload, fds, VERSION | NEED_REPLY))[0]

    def is_closed(self, seconds=DEADLINE):
        """Closed, or becomes so; what is still to be read before is thrown away."""
        end = time.monotonic() + seconds
        while readable(self.sock, end - time.monotonic()):
            try:
                if not self.sock.recv(65536):
                    return True
            except ConnectionResetError:
                return True
        return False

    def unread(self):
        """0 when the back-end has read all that was sent; see SIOCOUTQ in unix(7)."""
        return struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0]

    def nothing_to_read(self):
        return not readable(self.sock, 0)


def listen(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen(8)
    return server


def accept(server, seconds=DEADLINE):
    if not readable(server, seconds):
        raise Timeout("nobody connects")
    return Connection(sock=server.accept()[0])


def state(index, num=0):
    return struct.pack("II", index, num)


# --- a driver --------------------------------------------------------------------------------------------------------

HDR = 12  # with VERSION_1
BUFFER = 2048


class Guest:
    """Queues rx0, tx0, rx1, tx1, ... and the steps that make them run."""

    def __init__(self, path=None, conn=None, pairs=1, packed=False, features=F_VERSION_1 | F_PROTOCOL, protocol=None,
                 size=64, mem=None, region=None):
        self.conn = conn or Connection(path)
        self.mem = mem or Memory()
        self.features = features | (F_PACKED if packed else 0)
        self.protocol = protocol  # None: whatever is offered
        make = PackedQueue if packed else SplitQueue
        self.queues = [make(self.mem, size, region) for _ in range(2 * pairs)]
        self.pairs = pairs
        self.spare = []  # tx buffers that came back
        self.posted = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.conn.close()

    def negotiate(self, **more):
        """more: replaces features, protocol."""
        self.features = more.get("features", self.features)
        self.protocol = more.get("protocol", self.protocol)
        c = self.conn
        offered = c.ask_u64("GET_FEATURES")
        if self.features & F_PROTOCOL:
            offers = c.ask_u64("GET_PROTOCOL_FEATURES")
            self.protocol = offers if self.protocol is None else self.protocol & offers
            c.send("SET_PROTOCOL_FEATURES", self.protocol)
        else:
            self.protocol = 0
        c.send("SET_OWNER")
        assert self.features & ~offered == 0, f"not offered: {self.features & ~offered:#x}"
        c.send("SET_FEATURES", self.features)
        return self

    def done(self):
        """All messages before were taken."""
        self.conn.ask("GET_FEATURES")

    def set_memory(self):
        self.conn.send("SET_MEM_TABLE", self.mem.table(), self.mem.fds())

    def num(self, i, num=None):
        self.conn.send("SET_VRING_NUM", state(i, self.queues[i].size if num is None else num))

    def base(self, i, base=None):
        self.conn.send("SET_VRING_BASE", state(i, self.queues[i].base() if base is None else base))

    def address(self, i, flags=0, log=0):
        """The payload of SET_VRING_ADDR."""
        q, user = self.queues[i], self.mem.user
        return struct.pack("IIQQQQ", i, flags, user(q.desc), user(q.used_ring), user(q.avail), log)

    def addr(self, i, **more):
        self.conn.send("SET_VRING_ADDR", self.address(i, **more))

    def call(self, i):
        self.conn.send("SET_VRING_CALL", i, [self.queues[i].call_fd])

    def err(self, i):
        self.conn.send("SET_VRING_ERR", i, [self.queues[i].err_fd])

    def start(self, i):
        self.conn.send("SET_VRING_KICK", i, [self.queues[i].kick_fd])

    def start_polled(self, i):
        self.conn.send("SET_VRING_KICK", i | NO_FD)

    def enable(self, i, on=1):
        self.conn.send("SET_VRING_ENABLE", state(i, on))

    def stop(self, i):
        """GET_VRING_BASE; the base."""
        index, base = struct.unpack("II", self.conn.ask("GET_VRING_BASE", state(i)))
        assert index == i, f"index {index} in the reply for {i}"
        return base

    def rings(self):
        return range(len(self.queues))

    def set_up(self, i, enable=True):
        """One ring, all of it."""
        self.num(i)
        self.base(i)
        self.addr(i)
        self.call(i)
        self.err(i)
        self.start(i)
        if enable and self.features & F_PROTOCOL:
            self.enable(i)

    def run(self, enable=True):
        """From nothing to running, in an order that all back-ends know."""
        self.negotiate()
        self.set_memory()
        for i in self.rings():
            self.set_up(i, enable)
        self.done()
        return self

    # --- packets

    def buffer(self):
        return self.spare.pop() if self.spare else self.mem.alloc(BUFFER, 64)

    def post_rx(self, count=16, pair=0):
        q = self.queues[2 * pair]
        for _ in range(count):
            q.add((self.buffer(), BUFFER, True))
        q.kick()

    def receive(self, count=1, pair=0, seconds=DEADLINE):
        """So many frames; their buffers are not posted again."""
        frames = []
        for _, length, buffers in self.queues[2 * pair].used(count, seconds):
            data = self.mem.read(buffers[0][0], length)
            assert struct.unpack_from("H", data, 10)[0] == 1, "num_buffers is not 1"
            frames.append(data[HDR:])
            self.spare.append(buffers[0][0])
        return frames

    def send(self, *frames, pair=0, kick=True):
        q = self.queues[2 * pair + 1]
        for frame in frames:
            at = self.buffer()
            self.mem.write(at, bytes(HDR) + frame)
            q.add((at, HDR + len(frame), False))
        if kick:
            q.kick()

    def sent(self, count=1, pair=0, seconds=DEADLINE):
        """Waits until so many came back."""
        for _, _, buffers in self.queues[2 * pair + 1].used(count, seconds):
            self.spare.append(buffers[0][0])


# --- the wire --------------------------------------------------------------------------------------------------------

CLONE_NEWNET = 0x40000000


class Wire:
    """A packet socket in another network namespace; of received frames only those of one type."""

    def __init__(self, netns, iface, ethertype):
        libc = ctypes.CDLL(None, use_errno=True)
        here, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(netns, os.O_RDONLY)
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sock.bind((iface, ethertype))
        finally:
            libc.setns(here, CLONE_NEWNET)
            os.close(here)
            os.close(there)

    def send(self, *frames):
        for frame in frames:
            self.sock.send(frame)

    def receive(self, count=1, seconds=DEADLINE):
        end, frames = time.monotonic() + seconds, []
        while len(frames) < count:
            if not readable(self.sock, end - time.monotonic()):
                raise Timeout(f"{len(frames)} of {count} frames came from the wire")
            frames.append(self.sock.recv(65536))
        return frames

    def nothing(self):
        return not readable(self.sock, 0)
