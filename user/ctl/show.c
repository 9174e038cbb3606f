/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The status object for people: "name  value" lines and tables. Whatever comes
 * from a peer or from another version is only ever printed as a value.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/show.h"

/* ---- reading without surprises: absent means empty ---- */

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_int_t num(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool yes(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static bool has(const json_t *o, const char *key)
{
	return json_object_get(o, key) != NULL;
}

/* ---- "name  value" lines ---- */

struct text {
	char s[1024];
	size_t len;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len = t->len + (size_t)n < sizeof(t->s) ? t->len + (size_t)n : sizeof(t->s) - 1;
}

static void line(FILE *out, const char *name, const struct text *t)
{
	if (t->len)
		fprintf(out, "  %-15s %s\n", name, t->s);
}

/* "a 1, b 2" of an object of counters. */
static void add_counters(struct text *t, const json_t *o)
{
	const char *key, *sep = "";
	json_t *v;

	json_object_foreach((json_t *)o, key, v) {
		add(t, "%s%s %" JSON_INTEGER_FORMAT, sep, key, json_integer_value(v));
		sep = ", ";
	}
}

static void line_list(FILE *out, const char *name, const json_t *list)
{
	struct text t = { 0 };
	size_t i;
	json_t *v;

	json_array_foreach((json_t *)list, i, v)
		add(&t, "%s%s", i ? " " : "", json_string_value(v));
	line(out, name, &t);
}

/* ---- tables: rows of cells, columns as wide as their widest ---- */

#define COLUMNS 12
#define CELL 24

struct table {
	unsigned columns, rows;
	unsigned text_columns;	/* the first ones are text and go left, the others right */
	unsigned width[COLUMNS];
	char (*cell)[COLUMNS][CELL];
};

static void row(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One row; cells are separated by '|'. */
static void row(struct table *t, const char *fmt, ...)
{
	char text[512], *rest = text, *cell;
	unsigned col = 0;
	va_list ap;
	void *more;

	more = reallocarray(t->cell, t->rows + 1, sizeof(*t->cell));
	if (!more)
		return;
	t->cell = more;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memset(t->cell[t->rows], 0, sizeof(*t->cell));
	for (; col < COLUMNS && (cell = strsep(&rest, "|")); col++) {
		unsigned n = (unsigned)snprintf(t->cell[t->rows][col], CELL, "%s", cell);

		if (n >= CELL)
			n = CELL - 1;
		if (n > t->width[col])
			t->width[col] = n;
	}
	if (col > t->columns)
		t->columns = col;
	t->rows++;
}

static void print_table(FILE *out, struct table *t)
{
	for (unsigned r = 0; t->rows > 1 && r < t->rows; r++) {
		fputs("  ", out);
		for (unsigned c = 0; c < t->columns; c++) {
			int width = (int)t->width[c];

			if (c + 1 == t->columns && c < t->text_columns)
				width = 0;	/* no blanks at the end of a line */
			fprintf(out, "%s%*s", c ? "  " : "", c < t->text_columns ? -width : width, t->cell[r][c]);
		}
		fputc('\n', out);
	}
	free(t->cell);
}

/* ---- the parts ---- */

#define N "%" JSON_INTEGER_FORMAT

static void show_head(const json_t *s, FILE *out)
{
	long up = (long)json_number_value(json_object_get(s, "uptime_s"));

	fprintf(out, "viaduct %s  instance %s  process " N, str(s, "version"), str(s, "name"), num(s, "pid"));
	if (up >= 86400)
		fprintf(out, "  up %ldd %ldh", up / 86400, up / 3600 % 24);
	else
		fprintf(out, "  up %ld:%02ld:%02ld", up / 3600, up / 60 % 60, up % 60);
	fprintf(out, "  waiting %s\n", str(s, "wait"));
}

static void show_node(const json_t *o, const char *what, FILE *out)
{
	struct text t = { 0 };

	if (!has(o, "numa_node"))
		return;
	add(&t, "%s on node " N, what, num(o, "numa_node"));
	line(out, "NUMA", &t);
}

static void show_link(const json_t *u, FILE *out)
{
	struct text t = { 0 };

	if (num(u, "speed_mbps"))
		add(&t, N " Mbit/s, ", num(u, "speed_mbps"));
	if (*str(u, "duplex") && strcmp(str(u, "duplex"), "unknown"))
		add(&t, "%s duplex, ", str(u, "duplex"));
	add(&t, "MTU " N ", %s", num(u, "mtu"), str(u, "mac"));
	line(out, "link", &t);
	show_node(u, "frames", out);
}

static void show_helper(const json_t *h, const char *name, FILE *out)
{
	struct text t = { 0 };

	if (!h)
		return;
	add(&t, "by %s", str(h, "by"));
	if (*str(h, "why_not_driver"))
		add(&t, " (%s)", str(h, "why_not_driver"));
	line(out, name, &t);
}

static void show_xdp(const json_t *x, FILE *out)
{
	struct text t = { 0 }, why = { 0 }, meta = { 0 };

	if (!x)
		return;
	add(&t, "%s, attached by %s, program " N "%s", str(x, "mode"), str(x, "attach"), num(x, "program_id"),
	    yes(x, "adopted") ? ", adopted from an earlier instance" : "");
	line(out, "XDP", &t);
	add(&why, "%s", str(x, "why_not_better"));
	line(out, "  not better", &why);
	add(&meta, "%s%s", str(x, "metadata"), yes(x, "multi_buffer") ? "; frames longer than a buffer come in pieces" : "");
	line(out, "metadata", &meta);
	show_helper(json_object_get(x, "rx_hash"), "flow hash", out);
	show_helper(json_object_get(x, "tx_checksum"), "checksums", out);
}

static void show_nic(const json_t *u, FILE *out)
{
	const json_t *f = json_object_get(u, "receive_filter"), *v = json_object_get(u, "vlan");
	struct text ft = { 0 }, vt = { 0 };

	if (f) {
		add(&ft, N " guest address%s, all-multicast %s", num(f, "entries"), num(f, "entries") == 1 ? "" : "es",
		    yes(f, "allmulti") ? "on" : "off");
		line(out, "receive filter", &ft);
	}
	if (v) {
		add(&vt, "tag stripping %s (was %s), tag filter %s (was %s)%s", str(v, "rxvlan_now"),
		    str(v, "rxvlan_before"), str(v, "filter_now"), str(v, "filter_before"),
		    yes(v, "fixed") ? "; cannot be switched off: tagged frames lose their tag" : "");
		line(out, "VLAN", &vt);
	}
}

static void show_host(const json_t *u, FILE *out)
{
	const json_t *h = json_object_get(u, "host"), *m = json_object_get(u, "multicast");
	struct text t = { 0 }, mt = { 0 };

	if (h) {
		add(&t, N " packets, " N " of them multicast", num(h, "packets"), num(h, "multicast"));
		if (json_object_size(json_object_get(h, "drops"))) {
			add(&t, "; dropped: ");
			add_counters(&t, json_object_get(h, "drops"));
		}
		line(out, "to the host", &t);
	}
	if (m) {
		add_counters(&mt, m);
		line(out, "multicast", &mt);
	}
}

static void show_queues(const json_t *list, FILE *out)
{
	struct table t = { .text_columns = 4 }, f = { .text_columns = 1 };
	size_t i;
	json_t *q;

	row(&t, "NIC queue|mode|state|worker|ring|rx packets|tx packets|tx wakeups|tx errors");
	row(&f, "NIC queue|frames free|receiving|held|sending|lost|total");
	json_array_foreach((json_t *)list, i, q) {
		const json_t *fr = json_object_get(q, "frames");

		row(&t, N "|%s|%s|" N "|" N "|" N "|" N "|" N "|" N, num(q, "queue"), str(q, "mode"), str(q, "state"),
		    num(q, "worker"), num(q, "ring_size"), num(q, "rx_packets"), num(q, "tx_packets"),
		    num(q, "tx_wakeups"), num(q, "tx_errors"));
		row(&f, N "|" N "|" N "|" N "|" N "|" N "|" N, num(q, "queue"), num(fr, "free"), num(fr, "fill"),
		    num(fr, "held"), num(fr, "tx"), num(fr, "lost"), num(fr, "total"));
	}
	print_table(out, &t);
	print_table(out, &f);
	json_array_foreach((json_t *)list, i, q)
		if (*str(q, "last_error"))
			fprintf(out, "  NIC queue " N ": %s\n", num(q, "queue"), str(q, "last_error"));
}

static void show_workers(const json_t *list, FILE *out)
{
	struct table t = { .text_columns = 2 };
	size_t i;
	json_t *w;

	row(&t, "worker|cpu|loops|sleeps");
	json_array_foreach((json_t *)list, i, w) {
		char cpu[24] = "any";

		if (num(w, "cpu") >= 0)
			snprintf(cpu, sizeof(cpu), N, num(w, "cpu"));
		row(&t, N "|%s|" N "|" N, num(w, "worker"), cpu, num(w, "loops"), num(w, "sleeps"));
	}
	print_table(out, &t);
}

static void show_peer(const json_t *p, FILE *out)
{
	struct text t = { 0 }, pairs = { 0 };
	const json_t *pr = json_object_get(p, "pairs");

	add(&t, yes(p, "connected") ? "connected" : "not connected");
	if (num(p, "peer_pid"))
		add(&t, ", process " N, num(p, "peer_pid"));
	add(&t, ", " N " connection%s", num(p, "connections"), num(p, "connections") == 1 ? "" : "s");
	if (num(p, "refused"))
		add(&t, ", " N " refused", num(p, "refused"));
	if (num(p, "closed_for_bad_input"))
		add(&t, ", " N " closed for bad input", num(p, "closed_for_bad_input"));
	line(out, "front-end", &t);
	show_node(p, "guest memory and rings", out);
	line_list(out, "features", json_object_get(p, "features"));
	line_list(out, "protocol", json_object_get(p, "protocol_features"));
	line_list(out, "device status", json_object_get(p, "device_status"));
	if (pr) {
		add(&pairs, N " of " N " enabled", num(pr, "enabled"), num(pr, "max"));
		line(out, "queue pairs", &pairs);
	}
}

static void show_addresses(const json_t *p, FILE *out)
{
	struct text t = { 0 }, refused = { 0 };
	size_t i;
	json_t *a;

	json_array_foreach(json_object_get(p, "addresses"), i, a)
		add(&t, "%s%s %s", i ? ", " : "", str(a, "mac"), str(a, "kind"));
	line(out, "addresses", &t);
	add_counters(&refused, json_object_get(p, "addresses_refused"));
	line(out, "  not learned", &refused);
}

static void ring_row(struct table *t, json_int_t pair, const char *dir, const json_t *r)
{
	json_int_t dropped = 0;
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(r, "drops"), key, v)
		dropped += json_integer_value(v);
	row(t, N "|%s|%s|%s|" N "|" N "|" N "|" N "|" N, pair, dir, str(r, "kind"), str(r, "state"), num(r, "size"),
	    num(r, "packets"), num(r, "bytes"), num(r, "calls"), dropped);
}

static void ring_counters(FILE *out, json_int_t pair, const char *dir, const char *what, const json_t *counters)
{
	struct text text = { 0 };

	if (!json_object_size(counters))
		return;
	add_counters(&text, counters);
	fprintf(out, "  pair " N " %s %s: %s\n", pair, dir, what, text.s);
}

static void show_rings(const json_t *list, FILE *out)
{
	struct table t = { .text_columns = 4 };
	size_t i;
	json_t *p;

	row(&t, "pair|ring|kind|state|size|packets|bytes|calls|drops");
	json_array_foreach((json_t *)list, i, p) {
		ring_row(&t, num(p, "pair"), "rx", json_object_get(p, "rx"));
		ring_row(&t, num(p, "pair"), "tx", json_object_get(p, "tx"));
	}
	print_table(out, &t);
	json_array_foreach((json_t *)list, i, p) {
		for (int d = 0; d < 2; d++) {
			const char *dir = d ? "tx" : "rx";
			const json_t *ring = json_object_get(p, dir);

			ring_counters(out, num(p, "pair"), dir, "offloads", json_object_get(ring, "offloads"));
			ring_counters(out, num(p, "pair"), dir, "drops", json_object_get(ring, "drops"));
		}
	}
}

static void show_wire(const json_t *p, FILE *out)
{
	const json_t *x = json_object_get(p, "xdp");
	struct text t = { 0 }, drops = { 0 };

	if (x) {
		add(&t, N " packets, " N " bytes", num(x, "packets"), num(x, "bytes"));
		if (json_object_size(json_object_get(x, "drops"))) {
			add(&t, "; dropped: ");
			add_counters(&t, json_object_get(x, "drops"));
		}
		if (has(p, "lost_in_ring"))
			add(&t, "; lost on the way to the worker: " N, num(p, "lost_in_ring"));
		line(out, "from the wire", &t);
	}
	add_counters(&drops, json_object_get(p, "drops"));
	line(out, "worker drops", &drops);
}

static void show_updown(const json_t *o, FILE *out)
{
	const char *why = str(o, "reason");

	fprintf(out, "%s", yes(o, "up") ? "up" : "down");
	if (!yes(o, "up") && *why && strcmp(why, "none"))
		fprintf(out, " (%s)", why);
	fputc('\n', out);
}

void show_status(const json_t *status, FILE *out)
{
	const json_t *u = json_object_get(status, "uplink");
	size_t i;
	json_t *p;

	show_head(status, out);
	if (u) {
		fprintf(out, "\nuplink %s (%s, index " N "): ", str(u, "interface"), str(u, "driver"),
			num(u, "ifindex"));
		show_updown(u, out);
		show_link(u, out);
		show_xdp(json_object_get(u, "xdp"), out);
		show_nic(u, out);
		show_host(u, out);
		show_queues(json_object_get(u, "queues"), out);
	}
	show_workers(json_object_get(status, "workers"), out);
	json_array_foreach(json_object_get(status, "ports"), i, p) {
		fprintf(out, "\nport %s (%s on %s): ", str(p, "name"), str(p, "role"), str(p, "socket"));
		show_updown(p, out);
		show_peer(p, out);
		show_addresses(p, out);
		show_wire(p, out);
		show_rings(json_object_get(p, "pair"), out);
	}
}
