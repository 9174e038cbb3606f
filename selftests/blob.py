#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Known bytes from here to there.

blob.py send|receive PORT FILE   one TCP connection that carries a file
blob.py echoed PORT FILE         one TCP connection to an echo: sends until FILE exists; fails unless the same came back
blob.py tftp PORT DIRECTORY      files over UDP (RFC 1350, with the blksize option of RFC 2348), until killed
"""
import os
import socket
import struct
import sys
import threading


def accept(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", port))
    server.listen(1)
    peer, _ = server.accept()
    peer.settimeout(30)
    return peer


def tcp(verb, port, path):
    peer = accept(port)
    if verb == "send":
        with open(path, "rb") as f:
            peer.sendall(f.read())
    else:
        with open(path, "wb") as f:
            while True:
                part = peer.recv(65536)
                if not part:
                    break
                f.write(part)
    peer.close()


def echoed(port, path):
    peer = accept(port)
    block = os.urandom(65521)
    sent = 0

    def send():
        nonlocal sent
        while not os.path.exists(path):
            peer.sendall(block)
            sent += len(block)
        peer.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    came = 0
    while True:
        data = peer.recv(65536)
        if not data:
            break
        at = came % len(block)
        if data != (block[at:] + block + block)[:len(data)]:
            sys.exit(f"other bytes than were sent, after {came}")
        came += len(data)
    sender.join()
    if came != sent:
        sys.exit(f"{came} bytes of {sent} came back")


def ask(sock, peer, packet, opcode, number):
    """Sends until the answer with this number comes."""
    for _ in range(60):
        sock.sendto(packet, peer)
        try:
            while True:
                data, peer_now = sock.recvfrom(65536)
                if peer_now == peer and struct.unpack("!HH", data[:4]) == (opcode, number & 0xFFFF):
                    return data[4:]
        except socket.timeout:
            continue
    raise OSError("no answer")


def transfer(sock, peer, request, directory):
    writing = struct.unpack("!H", request[:2])[0] == 2
    fields = request[2:].split(b"\0")
    path = os.path.join(directory, os.path.basename(fields[0].decode()))
    options = dict(zip(fields[2::2], fields[3::2]))
    size = int(options.get(b"blksize", 512))
    first = struct.pack("!HH", 4, 0)
    if b"blksize" in options:
        first = struct.pack("!H", 6) + b"blksize\0%d\0" % size
    if writing:
        with open(path, "wb") as f:
            part = ask(sock, peer, first, 3, 1)
            number = 1
            while True:
                f.write(part)
                if len(part) < size:
                    break
                part = ask(sock, peer, struct.pack("!HH", 4, number & 0xFFFF), 3, number + 1)
                number += 1
        sock.sendto(struct.pack("!HH", 4, number & 0xFFFF), peer)
        return
    with open(path, "rb") as f:
        data = f.read()
    if b"blksize" in options:
        ask(sock, peer, first, 4, 0)
    for number in range(len(data) // size + 1):
        part = data[number * size:(number + 1) * size]
        ask(sock, peer, struct.pack("!HH", 3, (number + 1) & 0xFFFF) + part, 4, number + 1)


def tftp(port, directory):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    while True:
        request, peer = server.recvfrom(65536)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.3)
        try:
            transfer(sock, peer, request, directory)
        except OSError as e:
            print("tftp:", e, file=sys.stderr)


verb, port, path = sys.argv[1:]
if verb == "tftp":
    tftp(int(port), path)
elif verb == "echoed":
    echoed(int(port), path)
else:
    tcp(verb, int(port), path)
