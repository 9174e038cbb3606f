#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""frames.py IFACE COUNT MAC...: so many frames of 64 bytes to each address in turn, as fast as it goes; COUNT 0: until killed."""
import itertools
import socket
import sys

iface, count, macs = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((iface, 0))
frames = [bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x0f\x88\xb5" + bytes(50) for mac in macs]
for _ in range(count) if count else itertools.count():
    for frame in frames:
        while True:
            try:
                link.send(frame)
                break
            except OSError:  # the queue is full for a moment
                pass
