/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of viaduct-guest(1). */
#ifndef VIADUCT_DRIVER_GUEST_OPTIONS_H
#define VIADUCT_DRIVER_GUEST_OPTIONS_H

#include "driver/args.h"

enum guest_mode { GUEST_NONE, GUEST_TAP, GUEST_ECHO, GUEST_SINK, GUEST_GENERATE };

struct guest_options {
	struct driver_args dev;
	enum guest_mode mode;
	const char *tap, *netns;	/* point into argv */
	uint32_t mtu;			/* of the tap interface */
	uint32_t len;			/* --generate: bytes of a frame */
	uint64_t pps;			/* 0 = as fast as it goes */
	uint64_t time_ns, count;	/* 0 = no end */
	uint32_t enable, window, flows;
	int cpu;			/* -1 = any */
	bool busy, json;
	bool answer;			/* with GUEST_ECHO: IP addresses and ports change places, too */
	uint8_t dst[6];
	bool help, version;		/* show that, and nothing else counts */
};

extern const char guest_usage[];

/**
 * guest_options_parse() - read the command line
 * @o: filled
 * @err, @errlen: on failure one line that says what is wrong
 *
 * One thread at a time (it uses getopt). Return: 0 or -errno.
 */
int guest_options_parse(int argc, char **argv, struct guest_options *o, char *err, size_t errlen);

#endif
