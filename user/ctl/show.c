/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The status object for people: "name  value" lines and tables. Whatever comes
 * from a peer or from another version is only ever printed as a value.
 */
#include <string.h>

#include "ctl/show.h"
#include "ctl/show_text.h"

#define N SHOW_N

static void show_head(const json_t *s, FILE *out)
{
	long up = (long)json_number_value(json_object_get(s, "uptime_s"));

	fprintf(out, "viaduct %s  instance %s  process " N, show_str(s, "version"), show_str(s, "name"),
		show_num(s, "pid"));
	if (up >= 86400)
		fprintf(out, "  up %ldd %ldh", up / 86400, up / 3600 % 24);
	else
		fprintf(out, "  up %ld:%02ld:%02ld", up / 3600, up / 60 % 60, up % 60);
	fprintf(out, "  waiting %s\n", show_str(s, "wait"));
}

void show_node(const json_t *o, const char *what, FILE *out)
{
	struct show_text t = { 0 };

	if (!show_has(o, "numa_node"))
		return;
	show_add(&t, "%s on node " N, what, show_num(o, "numa_node"));
	show_line(out, "NUMA", &t);
}

/* Which device it is, where that is not the one that should be. */
static void show_device(const json_t *u, FILE *out)
{
	const json_t *d = json_object_get(u, "device");
	const char *in_use = show_str(d, "in_use");
	const char *want = show_has(d, "mac") ? show_str(d, "mac") : show_str(d, "name");
	struct show_text t = { 0 }, refused = { 0 };

	if (!strcmp(in_use, "none"))
		show_add(&t, "none: waiting for %s%s%s", want, *show_str(d, "standby") ? " or " : "",
			 show_str(d, "standby"));
	else if (!strcmp(in_use, "standby"))
		show_add(&t, "standby in use: the better one is away or down");
	if (t.len && show_num(d, "moves"))
		show_add(&t, "; moved " N " time%s", show_num(d, "moves"), show_num(d, "moves") == 1 ? "" : "s");
	show_line(out, "device", &t);
	show_add(&refused, "%s", show_str(d, "refused"));
	show_line(out, "  not taken", &refused);
}

/* What each trouble comes to, and what mends it. */
static void show_trouble(const json_t *u, FILE *out)
{
	static const struct {
		const char *name, *means;
	} known[] = {
		{ "program", "guests receive nothing from the wire: take the other XDP program off (bpftool net show)" },
		{ "channels", "NIC queues are not served: ethtool -L, or a restart" },
		{ "filter", "guests may receive only what is sent to all: stop the tool that takes addresses out (bridge fdb)" },
		{ "offload", "VLAN tags may be lost: stop the tool that does it, then ethtool -K rxvlan off rx-vlan-filter off" },
		{ "mtu", "longer frames than buffers hold are dropped: a smaller MTU (ip link set)" },
		{ "device", "there is one, but it cannot be used; it is tried again" },
	};
	struct show_text why = { 0 }, repaired = { 0 };
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(u, "trouble"), i, v) {
		const char *name = json_string_value(v);
		struct show_text t = { 0 };

		show_add(&t, "%s", name ? name : "");
		for (size_t k = 0; name && k < sizeof(known) / sizeof(known[0]); k++)
			if (!strcmp(name, known[k].name))
				show_add(&t, ": %s", known[k].means);
		show_line(out, "trouble", &t);
	}
	show_add(&why, "%s", show_str(u, "trouble_why"));
	show_line(out, "  why", &why);
	show_counters(&repaired, json_object_get(u, "repaired"));
	show_line(out, "put right", &repaired);
}

static void show_link(const json_t *u, FILE *out)
{
	struct show_text t = { 0 };

	if (show_num(u, "speed_mbps"))
		show_add(&t, N " Mbit/s, ", show_num(u, "speed_mbps"));
	if (*show_str(u, "duplex") && strcmp(show_str(u, "duplex"), "unknown"))
		show_add(&t, "%s duplex, ", show_str(u, "duplex"));
	show_add(&t, "MTU " N ", %s", show_num(u, "mtu"), show_str(u, "mac"));
	show_line(out, "link", &t);
	show_node(u, "frames", out);
}

static void show_helper(const json_t *h, const char *name, FILE *out)
{
	struct show_text t = { 0 };

	if (!h)
		return;
	show_add(&t, "by %s", show_str(h, "by"));
	if (*show_str(h, "why_not_driver"))
		show_add(&t, " (%s)", show_str(h, "why_not_driver"));
	show_line(out, name, &t);
}

static void show_xdp(const json_t *x, FILE *out)
{
	struct show_text t = { 0 }, why = { 0 }, meta = { 0 };

	if (!x)
		return;
	show_add(&t, "%s, attached by %s, program " N "%s", show_str(x, "mode"), show_str(x, "attach"),
		 show_num(x, "program_id"), show_yes(x, "adopted") ? ", adopted from an earlier instance" : "");
	show_line(out, "XDP", &t);
	show_add(&why, "%s", show_str(x, "why_not_better"));
	show_line(out, "  not better", &why);
	show_add(&meta, "%s%s", show_str(x, "metadata"),
		 show_yes(x, "multi_buffer") ? "; frames longer than a buffer come in pieces" : "");
	show_line(out, "metadata", &meta);
	show_helper(json_object_get(x, "rx_hash"), "flow hash", out);
	show_helper(json_object_get(x, "tx_checksum"), "checksums", out);
}

static void show_nic(const json_t *u, FILE *out)
{
	const json_t *f = json_object_get(u, "receive_filter"), *v = json_object_get(u, "vlan");
	struct show_text ft = { 0 }, vt = { 0 };

	if (f) {
		show_add(&ft, N " guest address%s, all-multicast %s", show_num(f, "entries"),
			 show_num(f, "entries") == 1 ? "" : "es", show_yes(f, "allmulti") ? "on" : "off");
		show_line(out, "receive filter", &ft);
	}
	if (v) {
		show_add(&vt, "tag stripping %s (was %s), tag filter %s (was %s)%s", show_str(v, "rxvlan_now"),
			 show_str(v, "rxvlan_before"), show_str(v, "filter_now"), show_str(v, "filter_before"),
			 !strcmp(show_str(v, "tags"), "restored") ? "; tags are put back" : "");
		if (!strcmp(show_str(v, "tags"), "lost"))
			show_add(&vt, "; tags are lost: %s", show_str(v, "tags_why_lost"));
		show_line(out, "VLAN", &vt);
	}
}

/* "name on", or why it is off although it was asked for. */
static void add_switch(struct show_text *t, const char *name, const json_t *o)
{
	const char *why = show_str(o, "why_not");

	if (show_yes(o, "on"))
		show_add(t, "%s%s on", t->len ? ", " : "", name);
	else if (*why && strcmp(why, "not asked for"))
		show_add(t, "%s%s off (%s)", t->len ? ", " : "", name, why);
}

static void show_settings(const json_t *u, FILE *out)
{
	const json_t *steer = json_object_get(u, "hw_steer");
	struct show_text t = { 0 };

	if (*show_str(u, "channels_set"))
		show_add(&t, "%s set until the end", show_str(u, "channels_set"));
	add_switch(&t, "busy polling", json_object_get(u, "busy_poll"));
	add_switch(&t, "rules for addresses", steer);
	if (show_yes(steer, "on"))
		show_add(&t, ": " N, show_num(steer, "rules"));
	show_line(out, "NIC", &t);
}

static void show_current_device(const json_t *u, FILE *out)
{
	show_link(u, out);
	show_xdp(json_object_get(u, "xdp"), out);
	show_nic(u, out);
	show_settings(u, out);
}

static void show_host(const json_t *u, FILE *out)
{
	const json_t *h = json_object_get(u, "host"), *m = json_object_get(u, "multicast");
	struct show_text t = { 0 }, mt = { 0 };

	if (h) {
		show_add(&t, N " packets, " N " of them multicast", show_num(h, "packets"), show_num(h, "multicast"));
		if (json_object_size(json_object_get(h, "drops"))) {
			show_add(&t, "; dropped: ");
			show_counters(&t, json_object_get(h, "drops"));
		}
		show_line(out, "to the host", &t);
	}
	if (m) {
		show_counters(&mt, m);
		show_line(out, "multicast", &mt);
	}
}

/* The host as one more participant, and what becomes of addresses. */
static void show_forwarding(const json_t *status, const json_t *u, FILE *out)
{
	const json_t *h = json_object_get(u, "host_port"), *f = json_object_get(status, "forwarding");
	struct show_text ht = { 0 }, ft = { 0 };

	if (h) {
		show_add(&ht, "%s (%s), " N " packets, " N " dropped", show_str(h, "interface"), show_str(h, "attach"),
			 show_num(h, "packets"), show_num(h, "dropped"));
		show_line(out, "from the host", &ht);
	}
	if (f) {
		show_add(&ft, "unknown addresses: %s%s%s; learned ones ", show_str(f, "unknown"),
			 *show_str(f, "unknown_port") ? " " : "", show_str(f, "unknown_port"));
		if (show_num(f, "aging_s"))
			show_add(&ft, "go after " N " s", show_num(f, "aging_s"));
		else
			show_add(&ft, "stay");
		if (show_num(u, "address_moves"))
			show_add(&ft, "; " N " moved", show_num(u, "address_moves"));
		show_line(out, "forwarding", &ft);
	}
}

static void show_queues(const json_t *list, FILE *out)
{
	struct show_table t = { .text_columns = 4 }, f = { .text_columns = 1 };
	size_t i;
	json_t *q;

	show_row(&t, "NIC queue|mode|state|worker|ring|rx packets|tx packets|tx wakeups|tx errors");
	show_row(&f, "NIC queue|frames free|receiving|held|sending|lost|total");
	json_array_foreach((json_t *)list, i, q) {
		const json_t *fr = json_object_get(q, "frames");

		show_row(&t, N "|%s|%s|" N "|" N "|" N "|" N "|" N "|" N, show_num(q, "queue"), show_str(q, "mode"),
			 show_str(q, "state"), show_num(q, "worker"), show_num(q, "ring_size"),
			 show_num(q, "rx_packets"), show_num(q, "tx_packets"), show_num(q, "tx_wakeups"),
			 show_num(q, "tx_errors"));
		show_row(&f, N "|" N "|" N "|" N "|" N "|" N "|" N, show_num(q, "queue"), show_num(fr, "free"),
			 show_num(fr, "fill"), show_num(fr, "held"), show_num(fr, "tx"), show_num(fr, "lost"),
			 show_num(fr, "total"));
	}
	show_table(out, &t);
	show_table(out, &f);
	json_array_foreach((json_t *)list, i, q)
		if (*show_str(q, "last_error"))
			fprintf(out, "  NIC queue " N ": %s\n", show_num(q, "queue"), show_str(q, "last_error"));
}

static void show_workers(const json_t *list, FILE *out)
{
	struct show_table t = { .text_columns = 2 };
	size_t i;
	json_t *w;

	show_row(&t, "worker|cpu|loops|sleeps");
	json_array_foreach((json_t *)list, i, w) {
		char cpu[24] = "any";

		if (show_num(w, "cpu") >= 0)
			snprintf(cpu, sizeof(cpu), N, show_num(w, "cpu"));
		show_row(&t, N "|%s|" N "|" N, show_num(w, "worker"), cpu, show_num(w, "loops"), show_num(w, "sleeps"));
	}
	show_table(out, &t);
}

void show_updown(const json_t *o, FILE *out)
{
	const char *why = show_str(o, "reason");

	fprintf(out, "%s", show_yes(o, "up") ? "up" : "down");
	if (!show_yes(o, "up") && *why && strcmp(why, "none"))
		fprintf(out, " (%s)", why);
	fputc('\n', out);
}

void show_status(const json_t *status, FILE *out)
{
	const json_t *u = json_object_get(status, "uplink"), *ports = json_object_get(status, "ports");

	show_head(status, out);
	if (u) {
		fprintf(out, "\nuplink %s (%s, index " N "): ", show_str(u, "interface"), show_str(u, "driver"),
			show_num(u, "ifindex"));
		show_updown(u, out);
		show_device(u, out);
		show_trouble(u, out);
		if (strcmp(show_str(json_object_get(u, "device"), "in_use"), "none"))	/* else it is the last one's */
			show_current_device(u, out);
		show_host(u, out);
		show_forwarding(status, u, out);
		show_queues(json_object_get(u, "queues"), out);
	}
	show_workers(json_object_get(status, "workers"), out);
	if (json_array_size(ports) == 1)
		show_port(json_array_get(ports, 0), out);
	else if (json_array_size(ports))
		show_ports(ports, out);
}

void show_one_port(const json_t *status, FILE *out)
{
	size_t i;
	json_t *p;

	json_array_foreach(json_object_get(status, "ports"), i, p)
		show_port(p, out);
}
