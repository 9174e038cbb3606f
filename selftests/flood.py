#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""flood.py IFACE LENGTH[,RATE] MAC...: frames to each address in turn, so many a second or as fast as they go, until SIGTERM;
then prints how many went."""
import signal
import socket
import sys
import time


def main(iface, length, *addresses):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((iface, 0))
    length, _, rate = length.partition(",")
    frames = []
    for address in addresses:
        frame = bytes.fromhex(address.replace(":", "")) + bytes.fromhex("02000000000f") + b"\x88\xb5"
        frames.append(frame.ljust(int(length), b"\0"))
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    sent = [0] * len(frames)
    start = time.monotonic()
    while going:
        if rate and sum(sent) > (time.monotonic() - start) * int(rate):
            time.sleep(0.001)
            continue
        for n, frame in enumerate(frames):
            try:
                sock.send(frame)
                sent[n] += 1
            except OSError:  # the device's queue was full: it did not go
                pass
    print(sum(sent))


main(*sys.argv[1:])
