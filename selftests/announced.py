#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""announced.py MAC IFACE...: ARP and RARP frames from this address that come in there, one a line, until killed:
seconds since the epoch, interface, and "rarp", "arp-announcement" (of the sender's own address) or "arp"."""
import ctypes
import select
import socket
import struct
import sys
import time

SO_ATTACH_FILTER = 26
ETH_P_ALL, ARP, RARP = 3, 0x0806, 0x8035


def listen(iface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    # Nothing but these two types is copied: traffic goes on beside it.
    code = [(0x28, 0, 0, 12), (0x15, 1, 0, ARP), (0x15, 0, 1, RARP), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(text)))
    sock.bind((iface, ETH_P_ALL))
    return sock


def kind(frame):
    if struct.unpack("!H", frame[12:14])[0] == RARP:
        return "rarp"
    return "arp-announcement" if frame[28:32] == frame[38:42] else "arp"


mac = bytes.fromhex(sys.argv[1].replace(":", ""))
socks = [listen(iface) for iface in sys.argv[2:]]
print("listening", flush=True)
while True:
    for s in select.select(socks, [], [])[0]:
        frame, address = s.recvfrom(2048)
        if address[2] != socket.PACKET_OUTGOING and frame[6:12] == mac:
            print(f"{time.time():.3f} {address[0]} {kind(frame)}", flush=True)
