// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The same program, bound to one device: only such a program may ask the driver
 * for the hash that the NIC computed, and for the VLAN tag that it took out of the
 * frame. It can be neither test-run nor attached in generic mode, so it is used
 * where the driver offers one of them and nowhere else.
 */
#define VD_DEVICE_BOUND
#include "viaduct.bpf.c"
