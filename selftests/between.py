#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Stands between a viaduct that hands over and the one that takes over.

between.py LISTEN CONNECT ACTION

Passes every parcel (user/base/parcel.h) on as it came, fds included, and does
ACTION when its time has come:

  pass                     nothing
  kill-old@PHASE           SIGKILL for the old process when PHASE was passed on (old: the one at CONNECT)
  kill-new@PHASE           the same for the new one
  stop-new@PHASE           SIGSTOP for the new one, just before it has PHASE
  drop-commit              takes COMMIT away, and kills the new process: nobody ever hears of it
  version=N                says another version in the new one's HELLO

PHASE: hello, lasting, prepared, moving, ready, commit. It ends when either side has closed.
"""
import array
import os
import select
import signal
import socket
import struct
import sys

HEAD = struct.Struct("=IIQQ")
KINDS = {1: "hello", 2: "lasting", 3: "prepared", 4: "moving", 5: "ready", 6: "refused"}


class Gone(Exception):
    pass


def take(sock, n, fds=None):
    data = b""
    while len(data) < n:
        part, control, _, _ = sock.recvmsg(n - len(data), socket.CMSG_SPACE(200 * 4) if fds is not None else 0)
        for level, kind, value in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                got = array.array("i")
                got.frombytes(value[:len(value) - len(value) % 4])
                fds.extend(got)
        if not part:
            raise Gone
        data += part
    return data


def peer_pid(sock):
    return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def forward_parcel(source, target, change):
    head = take(source, HEAD.size)
    _, kind, length, nfds = HEAD.unpack(head)
    target.sendall(head)
    while nfds:
        fds = []
        count = take(source, 4, fds)
        socket.send_fds(target, [count], fds)
        for fd in fds:
            os.close(fd)
        nfds -= len(fds)
    left = length
    while left:
        data = take(source, min(left, 1 << 20))
        left -= len(data)
        target.sendall(change(KINDS.get(kind), data))
    return KINDS.get(kind, str(kind))


def main():
    listen, connect, action = sys.argv[1:4]
    what, _, phase = action.partition("@")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(listen)
    server.listen(1)
    print("listening", flush=True)
    new, _ = server.accept()
    old = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old.connect(connect)
    pid = {"new": peer_pid(new), "old": int(os.environ.get("OLD_PID", "0")) or peer_pid(old)}

    def change(kind, data):
        if kind == "hello" and what.startswith("version="):
            return data[:8] + struct.pack("=I", int(what[8:])) + data[12:]
        if what == "stop-new" and kind == phase:	# before it has all of it: it would be done with it in no time
            os.kill(pid["new"], signal.SIGSTOP)
        return data

    def act(passed):
        print(passed, flush=True)
        verb, _, who = what.partition("-")
        if passed != phase or verb != "kill":
            return
        os.kill(pid[who], signal.SIGKILL)
        raise Gone		# what it may have said meanwhile is not passed on

    try:
        while True:
            for sock in select.select([new, old], [], [])[0]:
                if sock is new:
                    act(forward_parcel(new, old, change))
                    continue
                byte = old.recv(1, socket.MSG_PEEK)
                if not byte:
                    raise Gone
                if byte in b"CA":	# single bytes, not parcels: those begin with "vdap"
                    byte = take(old, 1)
                    if what == "drop-commit" and byte == b"C":
                        os.kill(pid["new"], signal.SIGKILL)
                        raise Gone
                    new.sendall(byte)
                    act("commit" if byte == b"C" else "abort")
                    continue
                act(forward_parcel(old, new, change))
    except (Gone, ConnectionError):
        pass


main()
