#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Known bytes in datagrams of one size; the last one is shorter.

datagrams.py send ADDRESS PORT FILE SIZE plain|large    large: up to 40 at once, for kernel or device to cut
datagrams.py receive PORT FILE SIZE plain|joined        joined: take several at once where they come so
datagrams.py echo PORT                                  return each, until killed
"""
import socket
import struct
import sys

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
SO_RCVBUFFORCE = 33


def send(address, port, path, size, how):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    step = size
    if how == "large":
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, size)
        step = 40 * size
    with open(path, "rb") as f:
        while part := f.read(step):
            sock.sendto(part, (address, port))


def datagrams(sock):
    """One datagram after the other, also out of what came joined."""
    while True:
        data, ancillary, _, _ = sock.recvmsg(65536, 64)
        size = len(data)
        for level, kind, value in ancillary:
            if (level, kind) == (SOL_UDP, UDP_GRO):
                size = struct.unpack("i", value[:4])[0]
        for at in range(0, len(data), size):
            yield data[at:at + size]


def receive(port, path, size, how):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    if how == "joined":
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    sock.settimeout(20)
    sock.bind(("", port))
    with open(path, "wb") as f:
        for number, data in enumerate(datagrams(sock)):
            if len(data) > size:
                sys.exit(f"datagram {number} has {len(data)} bytes")
            f.write(data)
            if len(data) < size:
                return


def echo(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    sock.bind(("", port))
    while True:
        data, peer = sock.recvfrom(65536)
        sock.sendto(data, peer)


if sys.argv[1] == "echo":
    echo(int(sys.argv[2]))
elif sys.argv[1] == "send":
    address, port, path, size, how = sys.argv[2:]
    send(address, int(port), path, int(size), how)
else:
    port, path, size, how = sys.argv[2:]
    receive(int(port), path, int(size), how)
