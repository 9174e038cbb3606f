/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports for people: all there is of one, a line for each of many, and a steering table. */
#include <stdlib.h>
#include <string.h>

#include "ctl/show.h"
#include "ctl/show_text.h"
#include "ctl/steer.h"

#define N SHOW_N

static void line_list(FILE *out, const char *name, const json_t *list)
{
	struct show_text t = { 0 };
	size_t i;
	json_t *v;

	json_array_foreach((json_t *)list, i, v)
		show_add(&t, "%s%s", i ? " " : "", json_string_value(v));
	show_line(out, name, &t);
}

/* "follow, set down; the guest's is down, told by qmp" */
static void add_link(struct show_text *t, const json_t *l)
{
	const char *guest = show_str(l, "guest");

	show_add(t, "%s", show_str(l, "policy"));
	if (!strcmp(show_str(l, "admin"), "down"))
		show_add(t, ", set down");
	if (*guest && strcmp(guest, "none"))
		show_add(t, "; the guest's is %s", strcmp(guest, "untold") ? guest : "down, but it does not know");
	if (!strcmp(guest, "down"))
		show_add(t, ", told by %s", show_str(l, "told_by"));
	if (*show_str(l, "why"))
		show_add(t, ": %s", show_str(l, "why"));
}

static void show_guest_link(const json_t *p, FILE *out)
{
	const json_t *l = json_object_get(p, "link");
	struct show_text t = { 0 };

	if (l)
		add_link(&t, l);
	show_line(out, "link", &t);
}

void show_link_state(const json_t *link, FILE *out)
{
	fprintf(out, "port %s: ", show_str(link, "port"));
	show_updown(link, out);
	show_guest_link(link, out);
}

static void show_peer(const json_t *p, FILE *out)
{
	struct show_text t = { 0 }, pairs = { 0 };
	const json_t *pr = json_object_get(p, "pairs");

	show_add(&t, show_yes(p, "connected") ? "connected" : "not connected");
	if (show_num(p, "peer_pid"))
		show_add(&t, ", process " N, show_num(p, "peer_pid"));
	show_add(&t, ", " N " connection%s", show_num(p, "connections"), show_num(p, "connections") == 1 ? "" : "s");
	if (show_num(p, "refused"))
		show_add(&t, ", " N " refused", show_num(p, "refused"));
	if (show_num(p, "closed_for_bad_input"))
		show_add(&t, ", " N " closed for bad input", show_num(p, "closed_for_bad_input"));
	show_line(out, "front-end", &t);
	show_node(p, "guest memory and rings", out);
	line_list(out, "features", json_object_get(p, "features"));
	line_list(out, "protocol", json_object_get(p, "protocol_features"));
	line_list(out, "device status", json_object_get(p, "device_status"));
	if (pr) {
		show_add(&pairs, N " of " N " enabled", show_num(pr, "enabled"), show_num(pr, "max"));
		show_line(out, "queue pairs", &pairs);
	}
}

static void show_addresses(const json_t *p, FILE *out)
{
	struct show_text t = { 0 }, refused = { 0 };
	size_t i;
	json_t *a;

	json_array_foreach(json_object_get(p, "addresses"), i, a) {
		show_add(&t, "%s%s %s", i ? ", " : "", show_str(a, "mac"), show_str(a, "kind"));
		if (show_num(a, "vlan"))
			show_add(&t, " in VLAN " N, show_num(a, "vlan"));
		if (show_num(a, "age_s"))
			show_add(&t, ", silent for " N " s", show_num(a, "age_s"));
	}
	show_line(out, "addresses", &t);
	show_counters(&refused, json_object_get(p, "addresses_refused"));
	show_line(out, "  not learned", &refused);
}

/* "10", "trunk 10,20-29", or both. */
static void add_vlans(struct show_text *t, const json_t *config)
{
	if (show_num(config, "vlan"))
		show_add(t, N, show_num(config, "vlan"));
	if (*show_str(config, "trunk"))
		show_add(t, "%strunk %s", t->len ? ", " : "", show_str(config, "trunk"));
}

/* "100M" rather than "100000000" */
static void add_amount(struct show_text *t, const char *name, json_int_t n)
{
	static const char *const unit[] = { "", "K", "M", "G" };
	unsigned u = 0;

	if (!n)
		return;
	for (; u < 3 && n % 1000 == 0; u++)
		n /= 1000;
	show_add(t, "%s%s " N "%s", t->len ? ", " : "", name, n, unit[u]);
}

static void show_config(const json_t *p, FILE *out)
{
	const json_t *c = json_object_get(p, "config");
	struct show_text vlan = { 0 }, limits = { 0 }, rules = { 0 };

	add_vlans(&vlan, c);
	show_line(out, "VLAN", &vlan);
	add_amount(&limits, "tx-rate", show_num(c, "tx_rate"));
	add_amount(&limits, "rx-rate", show_num(c, "rx_rate"));
	add_amount(&limits, "tx-pps", show_num(c, "tx_pps"));
	add_amount(&limits, "rx-pps", show_num(c, "rx_pps"));
	add_amount(&limits, "storm", show_num(c, "storm"));
	show_line(out, "limits", &limits);
	if (show_yes(c, "isolated"))
		show_add(&rules, "isolated, ");
	if (show_yes(c, "mac_lock"))
		show_add(&rules, "mac-lock, ");
	if (*show_str(c, "steering"))
		show_add(&rules, "steering %s", show_str(c, "steering"));
	show_line(out, "policy", &rules);
}

static void ring_row(struct show_table *t, json_int_t pair, const char *dir, const json_t *r)
{
	json_int_t dropped = 0;
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(r, "drops"), key, v)
		dropped += json_integer_value(v);
	show_row(t, N "|%s|%s|%s|" N "|" N "|" N "|" N "|" N, pair, dir, show_str(r, "kind"), show_str(r, "state"),
		 show_num(r, "size"), show_num(r, "packets"), show_num(r, "bytes"), show_num(r, "calls"), dropped);
}

static void ring_counters(FILE *out, json_int_t pair, const char *dir, const char *what, const json_t *counters)
{
	struct show_text text = { 0 };

	if (!json_object_size(counters))
		return;
	show_counters(&text, counters);
	fprintf(out, "  pair " N " %s %s: %s\n", pair, dir, what, text.s);
}

static void show_rings(const json_t *list, FILE *out)
{
	struct show_table t = { .text_columns = 4 };
	size_t i;
	json_t *p;

	show_row(&t, "pair|ring|kind|state|size|packets|bytes|calls|drops");
	json_array_foreach((json_t *)list, i, p) {
		ring_row(&t, show_num(p, "pair"), "rx", json_object_get(p, "rx"));
		ring_row(&t, show_num(p, "pair"), "tx", json_object_get(p, "tx"));
	}
	show_table(out, &t);
	json_array_foreach((json_t *)list, i, p) {
		for (int d = 0; d < 2; d++) {
			const char *dir = d ? "tx" : "rx";
			const json_t *ring = json_object_get(p, dir);

			ring_counters(out, show_num(p, "pair"), dir, "offloads", json_object_get(ring, "offloads"));
			ring_counters(out, show_num(p, "pair"), dir, "drops", json_object_get(ring, "drops"));
		}
	}
}

static void show_wire(const json_t *p, FILE *out)
{
	const json_t *x = json_object_get(p, "xdp");
	struct show_text t = { 0 }, drops = { 0 }, forwarded = { 0 };

	if (x) {
		show_add(&t, N " packets, " N " bytes", show_num(x, "packets"), show_num(x, "bytes"));
		if (json_object_size(json_object_get(x, "drops"))) {
			show_add(&t, "; dropped: ");
			show_counters(&t, json_object_get(x, "drops"));
		}
		if (show_has(p, "lost_in_ring"))
			show_add(&t, "; lost on the way to the worker: " N, show_num(p, "lost_in_ring"));
		show_line(out, "from the wire", &t);
	}
	show_counters(&forwarded, json_object_get(p, "forwarded"));
	show_line(out, "on this host", &forwarded);
	show_counters(&drops, json_object_get(p, "drops"));
	show_line(out, "worker drops", &drops);
}

void show_port(const json_t *p, FILE *out)
{
	fprintf(out, "\nport %s (%s on %s): ", show_str(p, "name"), show_str(p, "role"), show_str(p, "socket"));
	show_updown(p, out);
	show_guest_link(p, out);
	show_peer(p, out);
	show_config(p, out);
	show_addresses(p, out);
	show_wire(p, out);
	show_rings(json_object_get(p, "pair"), out);
}

/* ---- several ports, a line each ---- */

/* What fits into a cell; the rest is three dots. */
static void fit(char cell[SHOW_CELL], const char *text)
{
	if (snprintf(cell, SHOW_CELL, "%s", *text ? text : "-") >= SHOW_CELL)
		memcpy(cell + SHOW_CELL - 4, "...", 4);
}

static void link_cell(char cell[SHOW_CELL], const json_t *p)
{
	const char *guest = show_str(json_object_get(p, "link"), "guest");
	struct show_text t = { 0 };

	show_add(&t, "%s", show_yes(p, "up") ? "up" : "down");
	if (!show_yes(p, "up") && *show_str(p, "reason"))
		show_add(&t, " (%s)", show_str(p, "reason"));
	else if (!strcmp(guest, "down") || !strcmp(guest, "untold"))
		show_add(&t, " (guest: %s)", guest);
	fit(cell, t.s);
}

static void vlan_cell(char cell[SHOW_CELL], const json_t *p)
{
	struct show_text t = { 0 };

	add_vlans(&t, json_object_get(p, "config"));
	fit(cell, t.s);
}

static void session_cell(char cell[SHOW_CELL], const json_t *p)
{
	struct show_text t = { 0 };

	if (show_yes(p, "connected"))
		show_add(&t, "process " N, show_num(p, "peer_pid"));
	fit(cell, t.s);
}

/* The first one, and how many more there are. */
static void mac_cell(char cell[SHOW_CELL], const json_t *p)
{
	const json_t *list = json_object_get(p, "addresses");
	struct show_text t = { 0 };

	show_add(&t, "%s", show_str(json_array_get(list, 0), "mac"));
	if (json_array_size(list) > 1)
		show_add(&t, " +%zu", json_array_size(list) - 1);
	fit(cell, t.s);
}

void show_port_list(const json_t *list, FILE *out)
{
	struct show_table t = { .text_columns = 6 };
	size_t i;
	json_t *p;

	show_row(&t, "port|link|pairs|VLAN|session|addresses");
	json_array_foreach(json_object_get(list, "ports"), i, p) {
		char link[SHOW_CELL], vlan[SHOW_CELL], session[SHOW_CELL], mac[SHOW_CELL];
		const json_t *pairs = json_object_get(p, "pairs");

		link_cell(link, p);
		vlan_cell(vlan, p);
		session_cell(session, p);
		mac_cell(mac, p);
		show_row(&t, "%s|%s|" N "/" N "|%s|%s|%s", show_str(p, "name"), link, show_num(pairs, "enabled"),
			 show_num(pairs, "max"), vlan, session, mac);
	}
	if (t.rows == 1)
		fprintf(out, "no ports: `viaduct port add` makes one\n");
	show_table(out, &t);
}

static json_int_t sum(const json_t *counters)
{
	json_int_t n = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)counters, key, v)
		n += json_integer_value(v);
	return n;
}

/* Everything that did not arrive, whoever lost it. */
static json_int_t all_drops(const json_t *p)
{
	const json_t *totals = json_object_get(p, "totals");

	return sum(json_object_get(json_object_get(p, "xdp"), "drops")) + sum(json_object_get(p, "drops")) +
	       show_num(p, "lost_in_ring") + show_num(totals, "rx_drops") + show_num(totals, "tx_drops");
}

void show_ports(const json_t *list, FILE *out)
{
	struct show_table t = { .text_columns = 4 };
	size_t i;
	json_t *p;

	show_row(&t, "port|link|VLAN|pairs|rx packets|tx packets|drops");
	json_array_foreach((json_t *)list, i, p) {
		const json_t *pairs = json_object_get(p, "pairs"), *totals = json_object_get(p, "totals");
		char link[SHOW_CELL], vlan[SHOW_CELL];

		link_cell(link, p);
		vlan_cell(vlan, p);
		show_row(&t, "%s|%s|%s|" N "/" N "|" N "|" N "|" N, show_str(p, "name"), link, vlan,
			 show_num(pairs, "enabled"), show_num(pairs, "max"), show_num(totals, "rx_packets"),
			 show_num(totals, "tx_packets"), all_drops(p));
	}
	fprintf(out, "\n%zu ports; all of one: viaduct status --port PORT\n", json_array_size(list));
	show_table(out, &t);
}

/* ---- viaduct steer ---- */

void show_steering(const json_t *s, FILE *out)
{
	const json_t *pairs = json_object_get(s, "pairs");
	json_int_t max = show_num(s, "max");
	char *text = steer_text(pairs, max > 0 ? (unsigned)max : 0);
	size_t column = 0;

	fprintf(out, "port %s: mode %s, " N " of " N " queue pairs enabled\n", show_str(s, "port"), show_str(s, "mode"),
		show_num(s, "enabled"), max);
	fprintf(out, "  flow hash modulo %zu = queue pair: ", json_array_size(pairs));
	for (char *rest = text, *item; (item = strsep(&rest, ",")); column += strlen(item) + 1) {
		if (column > 80)
			fprintf(out, "\n    "), column = 0;
		fprintf(out, "%s%s", item, rest ? "," : "\n");
	}
	free(text);
}
