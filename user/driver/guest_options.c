// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "driver/guest_options.h"
#include "driver/traffic.h"

#define MTU_MIN 68u	/* what IPv4 asks of any link */
#define MTU_MAX 9000u

struct parse {
	struct guest_options *o;
	char *err;
	size_t errlen;
};

const char guest_usage[] =
	"usage: viaduct-guest path=SOCKET[,mac=MAC][,queues=N][,queue_size=N][,server=0|1][,mrg_rxbuf=0|1]\n"
	"                     [,packed_vq=0|1][,in_order=0|1][,offloads=0|1]\n"
	"                     --tap IFNAME [--netns NAME|PID] [--mtu N] | --echo | --answer | --sink |\n"
	"                     --generate LEN[,PPS]\n"
	"\n"
	"A guest without a virtual machine: a virtio-net driver on a vhost-user back-end.\n"
	"\n"
	"  --tap IFNAME         an ordinary interface, in the network namespace of --netns\n"
	"  --echo               swap Ethernet addresses and return\n"
	"  --answer             the same, and swap IP addresses and ports of generated frames, too\n"
	"  --sink               count, and check generated frames\n"
	"  --generate LEN[,PPS] send UDP frames of LEN bytes (without FCS), and check those that come back\n"
	"\n"
	"  --mtu N              of the interface, 68 to 9000 (default 1500)\n"
	"  --time SECONDS       end after so long\n"
	"  --count N            frames to send\n"
	"  --window N           closed loop: send only while fewer than N frames are out\n"
	"  --flows N            UDP source ports, spread over the queue pairs (default 1)\n"
	"  --dst MAC            where to send (default 02:00:00:00:00:01)\n"
	"  --enable N           use only N queue pairs (SIGUSR1: all, SIGUSR2: one)\n"
	"  --busy               poll, never sleep\n"
	"  --cpu N              run on this CPU\n"
	"  --json               last line on stdout: the totals\n"
	"  --help, --version\n";

static int bad(struct parse *p, const char *fmt, const char *value)
{
	char line[200];

	snprintf(line, sizeof(line), fmt, value);
	snprintf(p->err, p->errlen, "%s; see viaduct-guest --help", line);
	return -EINVAL;
}

static int number(struct parse *p, const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end = NULL;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *out >= min && *out <= max)
		return 0;
	snprintf(p->err, p->errlen, "%s %s: give a number from %llu to %llu", name, text, (unsigned long long)min,
		 (unsigned long long)max);
	return -EINVAL;
}

static int number32(struct parse *p, const char *name, const char *text, uint64_t min, uint64_t max, uint32_t *out)
{
	uint64_t n;
	int ret = number(p, name, text, min, max, &n);

	if (!ret)
		*out = (uint32_t)n;
	return ret;
}

static int seconds(struct parse *p, const char *text, uint64_t *ns)
{
	char *end = NULL;
	double s = strtod(text, &end);

	if (*end || end == text || !(s > 0 && s < 1e9))
		return bad(p, "--time %s: give seconds", text);
	*ns = (uint64_t)(s * NSEC_PER_SEC);
	return 0;
}

static int what_to_send(struct parse *p, const char *text)
{
	const char *comma = strchr(text, ',');
	char len[12];
	int ret;

	snprintf(len, sizeof(len), "%.*s", comma ? (int)(comma - text) : 11, text);
	ret = number32(p, "--generate", len, TRAFFIC_HEAD, PAIR_MAX_FRAME, &p->o->len);
	return ret || !comma ? ret : number(p, "--generate LEN,", comma + 1, 1, 1000000000, &p->o->pps);
}

static int set_mode(struct parse *p, enum guest_mode mode)
{
	if (p->o->mode != GUEST_NONE)
		return bad(p, "only one of --tap, --echo, --answer, --sink, --generate%s", "");
	p->o->mode = mode;
	return 0;
}

enum option_code { OPT_TAP = 256, OPT_NETNS, OPT_ECHO, OPT_ANSWER, OPT_SINK, OPT_GENERATE, OPT_TIME, OPT_COUNT, OPT_ENABLE,
		   OPT_BUSY, OPT_CPU, OPT_JSON, OPT_DST, OPT_WINDOW, OPT_FLOWS, OPT_MTU, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
	{ "tap", required_argument, NULL, OPT_TAP },	   { "netns", required_argument, NULL, OPT_NETNS },
	{ "echo", no_argument, NULL, OPT_ECHO },	   { "sink", no_argument, NULL, OPT_SINK },
	{ "generate", required_argument, NULL, OPT_GENERATE }, { "time", required_argument, NULL, OPT_TIME },
	{ "count", required_argument, NULL, OPT_COUNT },   { "enable", required_argument, NULL, OPT_ENABLE },
	{ "busy", no_argument, NULL, OPT_BUSY },	   { "cpu", required_argument, NULL, OPT_CPU },
	{ "json", no_argument, NULL, OPT_JSON },	   { "dst", required_argument, NULL, OPT_DST },
	{ "window", required_argument, NULL, OPT_WINDOW }, { "flows", required_argument, NULL, OPT_FLOWS },
	{ "mtu", required_argument, NULL, OPT_MTU },	   { "answer", no_argument, NULL, OPT_ANSWER },
	{ "help", no_argument, NULL, OPT_HELP },	   { "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static int one_option(struct parse *p, int opt)
{
	struct guest_options *o = p->o;
	int ret = 0;

	switch (opt) {
	case OPT_TAP:
		o->tap = optarg;
		return set_mode(p, GUEST_TAP);
	case OPT_NETNS:
		o->netns = optarg;
		return 0;
	case OPT_ANSWER:
		o->answer = true;
		/* fallthrough */
	case OPT_ECHO:
		return set_mode(p, GUEST_ECHO);
	case OPT_SINK:
		return set_mode(p, GUEST_SINK);
	case OPT_GENERATE:
		ret = set_mode(p, GUEST_GENERATE);
		return ret ? ret : what_to_send(p, optarg);
	case OPT_TIME:
		return seconds(p, optarg, &o->time_ns);
	case OPT_COUNT:
		return number(p, "--count", optarg, 1, UINT64_MAX, &o->count);
	case OPT_ENABLE:
		return number32(p, "--enable", optarg, 1, DRIVER_MAX_PAIRS, &o->enable);
	case OPT_BUSY:
		o->busy = true;
		return 0;
	case OPT_CPU:
		return number32(p, "--cpu", optarg, 0, CPU_SETSIZE - 1, (uint32_t *)&o->cpu);
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_DST:
		return driver_parse_mac(optarg, o->dst) ? bad(p, "--dst %s: not an Ethernet address", optarg) : 0;
	case OPT_WINDOW:
		return number32(p, "--window", optarg, 1, 1u << 22, &o->window);
	case OPT_FLOWS:
		return number32(p, "--flows", optarg, 1, TRAFFIC_MAX_FLOWS, &o->flows);
	case OPT_MTU:
		return number32(p, "--mtu", optarg, MTU_MIN, MTU_MAX, &o->mtu);
	case OPT_HELP:
		o->help = true;
		return 0;
	case OPT_VERSION:
		o->version = true;
		return 0;
	}
	return bad(p, "unknown option, or its value is missing%s", "");
}

/* Options that do not go together. */
static int check(struct parse *p)
{
	struct guest_options *o = p->o;

	if (o->mode == GUEST_NONE)
		return bad(p, "give one of --tap, --echo, --answer, --sink, --generate%s", "");
	if (o->mode != GUEST_TAP && (o->netns || o->mtu))
		return bad(p, "--netns and --mtu go with --tap%s", "");
	if (o->mode != GUEST_GENERATE && (o->count || o->window || o->flows != 1))
		return bad(p, "--count, --window and --flows go with --generate%s", "");
	if (o->enable > o->dev.queues)
		return bad(p, "--enable is more than queues=%s", "");
	return 0;
}

int guest_options_parse(int argc, char **argv, struct guest_options *o, char *err, size_t errlen)
{
	struct parse p = { o, err, errlen };
	int opt, ret;

	if (errlen)
		err[0] = '\0';
	*o = (struct guest_options){ .cpu = -1, .flows = 1, .dst = { 0x02, 0, 0, 0, 0, 0x01 } };
	opterr = optind = 0;	/* 0: getopt begins anew */
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		ret = one_option(&p, opt);
		if (ret || o->help || o->version)
			return ret;
	}
	if (optind + 1 != argc)
		return bad(&p, "give the device arguments, path=SOCKET[,...], once%s", "");
	ret = driver_args_parse(argv[optind], &o->dev, err, errlen);
	if (!ret)
		ret = check(&p);
	if (ret)
		return ret;
	if (!o->mtu)
		o->mtu = 1500;
	/* More cannot be out than there are buffers. */
	if (o->window > o->dev.queues * o->dev.queue_size)
		o->window = o->dev.queues * o->dev.queue_size;
	return 0;
}
