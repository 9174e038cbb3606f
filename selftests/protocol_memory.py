# SPDX-License-Identifier: BSD-2-Clause
"""Guest memory: kinds of files, tables, slots, and their change while packets pass."""
import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import threading

import frontend as fe
from frontend import Memory, Region, state
from protocol_scene import (
    WORK, Skip, both_ways, closes, frame_in, frame_out, guest, needs, negotiated, ok, refused, same, true, verdict,
    viaduct, wire)

RX, TX = 0, 1
MB = 1 << 20
PAGE = fe.PAGE
HUGE = 2 * MB


@contextlib.contextmanager
def huge_pages(count):
    """So many more than there are, for as long as the block lasts."""
    path = "/proc/sys/vm/nr_hugepages"
    if not os.path.exists(path):
        raise Skip("this kernel has no hugetlbfs")

    def change(by):
        with open(path) as f:
            now = int(f.read())
        with open(path, "w") as f:
            f.write(str(max(0, now + by)))
        with open(path) as f:
            return int(f.read()) - now
    got = change(count)
    try:
        if got < count:
            raise Skip(f"no memory for {count} huge pages")
        yield
    finally:
        change(-got)


@contextlib.contextmanager
def hugetlbfs(count):
    folder = f"{WORK}/huge"
    os.mkdir(folder)
    with huge_pages(count):
        subprocess.run(["mount", "-t", "hugetlbfs", "none", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def memory_carries_packets(*regions):
    w = wire()
    for packed in False, True:
        mem = Memory(*regions)
        with guest(mem=mem, packed=packed, region=regions[-1]).run() as g:
            both_ways(g, w, count=10)
        same(mem.region(g.queues[RX].desc), regions[-1], "the region of the rings")
    for r in regions:
        r.close()


# --- kinds of files --------------------------------------------------------------------------------------------------

def test_guest_memory_may_be_a_memfd():
    memory_carries_packets(Region(), Region(guest=1 << 32))


def test_guest_memory_may_be_a_file_on_tmpfs():
    memory_carries_packets(Region(kind="file", folder=WORK), Region(kind="file", folder=WORK, guest=1 << 32))


def test_guest_memory_may_be_a_file_on_hugetlbfs():
    with hugetlbfs(4) as folder:
        memory_carries_packets(Region(HUGE, kind="file", folder=folder),
                               Region(HUGE, kind="file", folder=folder, guest=1 << 32, offset=HUGE))


def test_guest_memory_may_be_a_memfd_of_huge_pages():
    with huge_pages(4):
        memory_carries_packets(Region(HUGE, kind="hugetlb"), Region(HUGE, kind="hugetlb", guest=1 << 32, offset=HUGE))


def test_a_region_may_begin_anywhere_in_its_file():
    for offset in PAGE, 3 * PAGE, 2 * MB, 5 * MB + PAGE:
        memory_carries_packets(Region(offset=offset))


def test_several_regions_may_be_parts_of_one_file():
    """As QEMU cuts its memory: below and above the hole."""
    low = Region(MB)
    os.ftruncate(low.fd, 3 * MB)
    high = Region.part(low, MB, 2 * MB, guest=1 << 32)
    memory_carries_packets(low, high)


def test_a_buffer_may_lie_in_several_regions():
    w = wire()
    for cut in (PAGE, 2 * PAGE):
        mem = Memory(Region(MB, guest=0), Region(PAGE, guest=MB, user=0x600000000000),
                     Region(MB, guest=MB + PAGE, user=0x500000000000))
        with guest(mem=mem).run() as g:
            for n, start in enumerate((MB - 20, MB - 12, MB - 1, MB + PAGE - 20, MB - 100)):
                length = 2048 if n < 4 else 9000
                frame = frame_out(n, 1514)
                mem.write(start, bytes(fe.HDR) + frame)
                g.queues[TX].add((start, fe.HDR + len(frame), False))
                g.queues[TX].kick()
                same(w.receive(), [frame], f"frame from {start:#x}")
                g.queues[TX].used()
                mem.write(start, bytes(length))
                g.queues[RX].add((start, length, True))
                frame = frame_in(n, 1514)
                w.send(frame)
                _, got, _ = g.queues[RX].used()[0]
                same(mem.read(start, got)[fe.HDR:], frame, f"frame to {start:#x}")


# --- addresses of rings ----------------------------------------------------------------------------------------------

def ring_address(index, desc, avail, used):
    return struct.pack("IIQQQQ", index, 0, desc, used, avail, 0)


def test_ring_addresses_are_checked_to_the_last_byte():
    r = Region(MB)
    size, end, user = 256, r.user + r.size, r.user
    good = dict(desc=user, avail=user + 0x4000, used=user + 0x8000)
    for packed in False, True:
        spans = dict(desc=(16 * size, 16), avail=(4, 4) if packed else (6 + 2 * size, 2),
                     used=(4, 4) if packed else (6 + 8 * size, 4))
        with negotiated(mem=Memory(r), packed=packed) as g:
            ok(g.conn, "SET_VRING_NUM", state(RX, size))
            for part, (span, align) in spans.items():
                last = (end - span) // align * align
                bad = [last + align, end - align, end, end + PAGE, user - align, 0, good[part] + align // 2,
                       good[part] + 1, (1 << 64) - align, (1 << 64) - span, 1 << 63]
                for address in set(bad) - {last}:
                    refused(g.conn, "SET_VRING_ADDR", ring_address(RX, **(good | {part: address})),
                            what=f"{part} at {address:#x}, packed {packed}")
                ok(g.conn, "SET_VRING_ADDR", ring_address(RX, **(good | {part: last})))


def test_a_size_that_comes_after_the_addresses_is_checked_by_the_start():
    """KICK is refused, and the ring stays stopped."""
    r = Region(MB)
    with negotiated(mem=Memory(r)) as g:
        end = r.user + r.size
        ok(g.conn, "SET_VRING_ADDR", ring_address(TX, end - 64, r.user, r.user + 0x8000))
        first = verdict(g.conn, "SET_VRING_NUM", state(TX, 256))
        second = verdict(g.conn, "SET_VRING_KICK", TX, [g.queues[TX].kick_fd])
        true("nack" in (first, second), f"{first}, then {second}")
        same(viaduct.port()["pair"][0]["tx"]["state"], "stopped", "state of the ring")
        g.set_up(TX), g.set_up(RX), g.done()
        both_ways(g, wire())


def test_ring_addresses_need_a_memory_table():
    with negotiated(memory=False) as g:
        g.num(RX)
        refused(g.conn, "SET_VRING_ADDR", g.address(RX))


def test_unknown_flags_of_a_ring_address_are_refused():
    with negotiated() as g:
        g.num(RX)
        for flags in 2, 3, 1 << 31, fe.F_LOG:  # logging was not negotiated
            refused(g.conn, "SET_VRING_ADDR", g.address(RX, flags=flags), what=f"flags {flags:#x}")


# --- the table -------------------------------------------------------------------------------------------------------

def table(*regions):
    return struct.pack("II", len(regions), 0) + b"".join(struct.pack("QQQQ", *r) for r in regions)


def bad_fds():
    a, b = socket.socketpair()
    b.close()
    read, write = os.pipe()
    return dict(directory=os.open(WORK, os.O_RDONLY), null=os.open("/dev/null", os.O_RDWR), eventfd=os.eventfd(0),
                pipe=write, socket=a, proc=os.open("/proc/self/mem", os.O_RDWR), reader=read,
                disk=os.open("/etc/passwd", os.O_RDONLY), read_only=os.open(f"/proc/self/fd/{Region().fd}", os.O_RDONLY))


def test_a_memory_table_that_cannot_be_is_refused_and_the_one_in_force_stays():
    w = wire()
    fd = os.memfd_create("guest-memory")
    os.ftruncate(fd, MB)
    top = 1 << 64
    one = {"of size 0": (0, 0, 0, 0), "longer than its file": (0, MB + 1, 0, 0),
           "beyond its file by its offset": (0, MB, 0, PAGE), "with an offset beyond its file": (0, PAGE, 0, 2 * MB),
           "that wraps in the guest": (top - PAGE, MB, 0, 0), "that wraps in the front-end": (0, MB, top - PAGE, 0),
           "with an offset that wraps": (0, MB, 0, top - PAGE), "as large as can be": (0, top - 1, 0, 0),
           "with all ones": (top - 1, top - 1, top - 1, top - 1)}
    a = (0, MB, 0x10000000, 0)
    two = {"overlapping in the guest": (MB - 1, MB, 0x20000000, 0), "twice the same": a,
           "overlapping in the front-end": (1 << 32, MB, 0x10000000 + MB - PAGE, 0),
           "one inside the other": (PAGE, PAGE, 0x20000000, 0)}
    with guest().run() as g:
        before = viaduct.fds(), viaduct.guest_maps()
        for what, region in one.items():
            refused(g.conn, "SET_MEM_TABLE", table(region), [fd], what=what)
        for what, region in two.items():
            refused(g.conn, "SET_MEM_TABLE", table(a, region), [fd, fd], what=what)
            refused(g.conn, "SET_MEM_TABLE", table(region, a), [fd, fd], what=what)
        for what, bad in bad_fds().items():
            refused(g.conn, "SET_MEM_TABLE", table((0, PAGE, 0, 0)), [bad], what=f"with a {what}")
            refused(g.conn, "SET_MEM_TABLE", table(a, (1 << 32, PAGE, 0, 0)), [fd, bad], what=f"with a {what}")
        refused(g.conn, "SET_MEM_TABLE", table(), what="of no region")
        same((viaduct.fds(), viaduct.guest_maps()), before, "open files and mappings")
        both_ways(g, w)
    closes(lambda c: c.send("SET_MEM_TABLE", table(*[(n << 32, PAGE, n << 32, 0) for n in range(9)]), [fd] * 8),
           "nine regions")


def test_a_memory_table_that_does_not_cover_a_running_ring_is_refused():
    w = wire()
    other = Region(MB, guest=1 << 32)
    with guest().run() as g:
        mem = g.mem.regions[0]
        for words in (other.words(), struct.pack("QQQQ", 0, mem.size, mem.user + PAGE, 0),
                      struct.pack("QQQQ", 0, PAGE, mem.user, 0)):
            refused(g.conn, "SET_MEM_TABLE", struct.pack("II", 1, 0) + words, [mem.fd])
        both_ways(g, w)
        for i in g.rings():
            g.stop(i)
        ok(g.conn, "SET_MEM_TABLE", Memory(other).table(), [other.fd])
        refused(g.conn, "SET_VRING_KICK", TX, [g.queues[TX].kick_fd], what="with its addresses gone")


def while_packets_pass(g, change, rounds=150):
    """change() again and again in a thread of its own, and numbered frames both ways meanwhile: none is lost."""
    w, over, failure = wire(), threading.Event(), []

    def loop():
        try:
            while not over.is_set():
                change()
        except Exception as e:
            failure.append(e)
    thread = threading.Thread(target=loop)
    thread.start()
    try:
        for n in range(rounds):
            both_ways(g, w, 16 * n, count=16)
    finally:
        over.set()
        thread.join()
    if failure:
        raise failure[0]


def counted(step):
    """step, and a number of how often it was done."""
    def change():
        change.times += 1
        step()
    change.times = 0
    return change


def test_the_memory_table_is_replaced_while_packets_pass_and_none_is_lost():
    for packed in False, True:
        with guest(packed=packed).run() as g:
            more = Memory(*g.mem.regions, Region(guest=1 << 32), Region(guest=1 << 33, offset=PAGE))
            first = counted(lambda: (ok(g.conn, "SET_MEM_TABLE", more.table(), more.fds()),
                                     ok(g.conn, "SET_MEM_TABLE", g.mem.table(), g.mem.fds())))
            while_packets_pass(g, first)
            true(first.times > 10, f"only {first.times} changes")


def test_memory_that_is_truncated_ends_this_connection_and_nothing_else():
    w = wire()
    for what in "rings", "buffers":
        rings, buffers = Region(MB), Region(MB, guest=1 << 32)
        mem = Memory(buffers, rings)
        g = guest(mem=mem, region=rings).run()
        both_ways(g, w)
        g.post_rx(8)
        for n in range(8):
            g.send(frame_out(n), kick=False)
        victim = rings if what == "rings" else buffers
        os.ftruncate(victim.fd, 0)
        g.queues[TX].kick()
        w.send(*(frame_in(n) for n in range(4)))
        true(g.conn.is_closed(), f"{what} are gone and the connection is not")
        g.close()
        while not w.nothing():
            w.receive()
    with guest().run() as g:
        both_ways(g, w)


def punch(fd, at, length):
    libc = ctypes.CDLL(None, use_errno=True)
    same(libc.fallocate(fd, 3, ctypes.c_long(at), ctypes.c_long(length)), 0, "fallocate")


def test_memory_with_holes_punched_is_contained():
    """Pages come back as zeroes: the guest's ring may break for it, and nothing else does."""
    w = wire()
    mem = Memory(Region(4 * MB))
    with guest(mem=mem).run() as g:
        both_ways(g, w)
        punch(mem.regions[0].fd, 0, 4 * MB)
        g.queues[TX].kick()
        w.send(frame_in(1))
        g.conn.ask("GET_FEATURES")
    with guest().run() as g:
        both_ways(g, w)


def test_huge_pages_that_are_not_there_end_this_connection_and_nothing_else():
    w = wire()
    with huge_pages(1):
        rings, buffers = Region(), Region(HUGE, guest=1 << 32, kind="hugetlb")
        g = guest(mem=Memory(buffers, rings), region=rings).run()
        both_ways(g, w)
        g.post_rx(8)
        punch(buffers.fd, 0, HUGE)
        with open("/proc/sys/vm/nr_hugepages") as f:
            total = f.read()
        with open("/proc/sys/vm/nr_hugepages", "w") as f:
            f.write("0")
        try:
            w.send(frame_in(1))
            true(g.conn.is_closed(), "the connection stays")
        finally:
            g.close()
            with open("/proc/sys/vm/nr_hugepages", "w") as f:
                f.write(total)
    with guest().run() as g:
        both_ways(g, w)


# --- slots -----------------------------------------------------------------------------------------------------------

def slot(r, **other):
    """The payload of ADD_MEM_REG and REM_MEM_REG."""
    v = dict(guest=r.guest, size=r.size, user=r.user, offset=r.offset) | other
    return struct.pack("QQQQQ", 0, v["guest"], v["size"], v["user"], v["offset"])


def slots(**more):
    return needs(negotiated(memory=False, **more), fe.P_MEM_SLOTS)


def test_memory_may_come_in_slots_only_and_packets_pass():
    w = wire()
    mem = Memory(Region(), Region(guest=1 << 32))
    with slots(mem=mem, region=mem.regions[1]) as g:
        for r in mem.regions:
            ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
        g.set_up(RX), g.set_up(TX), g.done()
        both_ways(g, w)


def test_there_are_509_memory_slots_and_not_one_more():
    w = wire()
    base = Region()
    os.ftruncate(base.fd, 4 * MB)
    with slots(mem=Memory(base)) as g:
        same(g.conn.ask_u64("GET_MAX_MEM_SLOTS"), 509, "slots")
        ok(g.conn, "ADD_MEM_REG", slot(base), [base.fd])
        g.set_up(RX), g.set_up(TX), g.done()
        part = lambda n: slot(base, guest=(1 << 32) + n * PAGE, user=(1 << 40) + n * PAGE, size=PAGE, offset=n * PAGE)
        for n in range(508):
            ok(g.conn, "ADD_MEM_REG", part(n), [base.fd])
        same(g.conn.ask_u64("GET_MAX_MEM_SLOTS"), 509, "slots")
        refused(g.conn, "ADD_MEM_REG", part(508), [base.fd], what="of slot 510")
        both_ways(g, w)
        ok(g.conn, "REM_MEM_REG", part(100))
        ok(g.conn, "ADD_MEM_REG", part(508), [base.fd])
        refused(g.conn, "ADD_MEM_REG", part(509), [base.fd], what="of slot 510")
        both_ways(g, w)


def test_a_slot_may_be_added_and_removed_once_per_queue_pair_as_qemu_7_does():
    r, other = Region(), Region(guest=1 << 32)
    with slots() as g:
        for _ in range(3):
            ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
        ok(g.conn, "ADD_MEM_REG", slot(other), [other.fd])
        for _ in range(3):
            ok(g.conn, "REM_MEM_REG", slot(other))
        ok(g.conn, "ADD_MEM_REG", slot(other), [other.fd])


def test_a_slot_that_overlaps_another_or_is_another_file_is_refused():
    r, other = Region(), Region()
    with slots() as g:
        ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
        refused(g.conn, "ADD_MEM_REG", slot(r), [other.fd], what="another file in the same place")
        for what, words in {"in the guest": slot(r, user=1 << 40),
                            "in the front-end": slot(r, guest=1 << 40),
                            "by a byte": slot(r, guest=r.size - 1, user=1 << 40)}.items():
            refused(g.conn, "ADD_MEM_REG", words, [r.fd], what=what)


def test_a_slot_that_is_unknown_is_not_removed():
    r = Region()
    with slots() as g:
        refused(g.conn, "REM_MEM_REG", slot(r), what="of no memory at all")
        ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
        for other in dict(guest=PAGE), dict(user=r.user + PAGE), dict(size=PAGE):
            refused(g.conn, "REM_MEM_REG", slot(r, **other), what=str(other))
        ok(g.conn, "REM_MEM_REG", slot(r, offset=PAGE), what="the offset is not looked at")
        refused(g.conn, "REM_MEM_REG", slot(r, guest=PAGE), what="another than the one that went")


def test_a_slot_is_removed_with_or_without_an_fd_which_is_closed():
    r = Region()
    with slots() as g:
        before = viaduct.fds()
        for fds in [], [r.fd], []:
            ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
            ok(g.conn, "REM_MEM_REG", slot(r), fds)
        same((viaduct.fds(), viaduct.guest_maps()), (before, 0), "open files and mappings")


def test_a_slot_that_holds_a_running_ring_is_not_removed():
    w = wire()
    mem = Memory(Region(), Region(guest=1 << 32))
    with slots(mem=mem, region=mem.regions[1]) as g:
        for r in mem.regions:
            ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
        g.set_up(RX), g.set_up(TX), g.done()
        refused(g.conn, "REM_MEM_REG", slot(mem.regions[1]))
        both_ways(g, w)
        g.stop(RX)
        refused(g.conn, "REM_MEM_REG", slot(mem.regions[1]))
        g.stop(TX)
        ok(g.conn, "REM_MEM_REG", slot(mem.regions[1]))


def test_slots_follow_the_rules_for_regions_and_fds():
    r = Region()
    with slots() as g:
        before = viaduct.fds()
        for other in (dict(size=0), dict(size=r.size + PAGE), dict(offset=PAGE), dict(guest=(1 << 64) - PAGE),
                      dict(user=(1 << 64) - PAGE), dict(offset=(1 << 64) - PAGE)):
            refused(g.conn, "ADD_MEM_REG", slot(r, **other), [r.fd], what=str(other))
        for what, fd in bad_fds().items():
            refused(g.conn, "ADD_MEM_REG", slot(r, size=PAGE), [fd], what=what)
        same(viaduct.fds(), before, "open files")
    for count in 0, 2, 8:
        closes(lambda c: c.send("ADD_MEM_REG", slot(r), [r.fd] * count), f"ADD_MEM_REG with {count} fds")
    closes(lambda c: c.send("REM_MEM_REG", slot(r), [r.fd] * 2), "REM_MEM_REG with two fds")
    for size in 0, 8, 32, 39, 41:
        closes(lambda c: c.send("ADD_MEM_REG", bytes(size), [r.fd]), f"ADD_MEM_REG of {size} bytes")


def test_slots_are_added_and_removed_while_packets_pass_and_none_is_lost():
    mem, extra = Memory(Region()), [Region(guest=n << 32) for n in range(1, 9)]
    with slots(mem=mem) as g:
        ok(g.conn, "ADD_MEM_REG", slot(mem.regions[0]), mem.fds())
        g.set_up(RX), g.set_up(TX), g.done()

        def step():
            for r in extra:
                ok(g.conn, "ADD_MEM_REG", slot(r), [r.fd])
            for r in extra:
                ok(g.conn, "REM_MEM_REG", slot(r))
        change = counted(step)
        while_packets_pass(g, change)
        true(change.times > 5, f"only {change.times} rounds")


def test_a_memory_table_replaces_all_slots_and_slots_are_added_to_a_table():
    w = wire()
    mem, more = Memory(Region()), Region(guest=1 << 32)
    with slots(mem=mem) as g:
        ok(g.conn, "ADD_MEM_REG", slot(more), [more.fd])
        ok(g.conn, "SET_MEM_TABLE", mem.table(), mem.fds())
        refused(g.conn, "REM_MEM_REG", slot(more), what="of a slot that the table replaced")
        ok(g.conn, "ADD_MEM_REG", slot(more), [more.fd])
        ok(g.conn, "REM_MEM_REG", slot(mem.regions[0]))
        ok(g.conn, "ADD_MEM_REG", slot(mem.regions[0]), mem.fds())
        g.set_up(RX), g.set_up(TX), g.done()
        both_ways(g, w)
