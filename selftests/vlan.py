#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""vlan.py IFACE TAP ID: a tap interface whose frames cross IFACE with a VLAN tag, for kernels without VLAN interfaces."""
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
ETH_P_ALL, ETH_P_8021Q = 3, 0x8100
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING, TP_STATUS_VLAN_VALID = 263, 8, 4, 0x10
SO_RCVBUFFORCE = 33


def tag_of(ancillary):
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and struct.unpack_from("I", value)[0] & TP_STATUS_VLAN_VALID:
            return struct.unpack_from("H", value, 16)[0] & 0xFFF
    return None


iface, name, vlan = sys.argv[1], sys.argv[2], int(sys.argv[3])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
link.bind((iface, ETH_P_ALL))
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
tag = struct.pack("!HH", ETH_P_8021Q, vlan)
while True:
    ready, _, _ = select.select([link, tap], [], [])
    if tap in ready:
        frame = os.read(tap, 65536)
        link.send(frame[:12] + tag + frame[12:])
    if link in ready:
        frame, ancillary, _, source = link.recvmsg(65536, 256)
        if source[2] != PACKET_OUTGOING and tag_of(ancillary) == vlan:
            try:
                os.write(tap, frame)
            except OSError:  # not up yet: nobody is there to receive
                pass
