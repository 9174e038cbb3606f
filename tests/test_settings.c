/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is changed at a NIC and put back, on a NIC that the test plays: channels,
 * RSS table, features, rules, put-off interrupts.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/ethtool.h>

#include "base/log.h"
#include "xdp/settings.h"

#define TABLE 16
#define STRINGS 40		/* features that the kernel knows: two blocks */
#define RXVLAN 3
#define FILTER 31
#define NTUPLE 35
#define PLACES 8

static struct nic {
	struct host_ops ops;
	char dir[32];			/* stands for / */
	uint32_t rx, tx, combined;
	int refuse_channels;		/* error of ETHTOOL_SCHANNELS, for so many times */
	unsigned refusals;
	uint32_t table_size, table[TABLE];
	bool table_reset;
	int refuse_table;
	bool rules, any_place;
	int refuse_rule;
	struct ethtool_rx_flow_spec rule[PLACES];
	bool used[PLACES];
	unsigned inserted;
	bool features, has[STRINGS], on[STRINGS], fixed[STRINGS];
	unsigned feature_sets;
} nic;

static struct settings s;
static struct uplink_info info;
static char err[256];
static const struct fail why = { err, sizeof(err) };
static const uint8_t mac_a[6] = { 2, 0, 0, 0, 0, 1 }, mac_b[6] = { 2, 0, 0, 0, 0, 2 };

static const char *real(const char *path, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%s", nic.dir, strrchr(path, '/') + 1);
	return buf;
}

static int fake_open(const struct host_ops *h, const char *path, int flags, mode_t mode)
{
	char buf[256];
	int fd = open(real(path, buf, sizeof(buf)), flags | O_CLOEXEC, mode);

	(void)h;
	return fd < 0 ? -errno : fd;
}

static int no_open(const struct host_ops *h, const char *path, int flags, mode_t mode)
{
	(void)h;
	(void)path;
	(void)flags;
	(void)mode;
	return -EROFS;
}

static int fake_mkdir(const struct host_ops *h, const char *path, mode_t mode)
{
	(void)h;
	(void)path;
	(void)mode;
	return 0;
}

static int fake_unlink(const struct host_ops *h, const char *path)
{
	char buf[256];

	(void)h;
	return unlink(real(path, buf, sizeof(buf))) < 0 ? -errno : 0;
}

static int channels(struct ethtool_channels *c)
{
	if (c->cmd == ETHTOOL_GCHANNELS) {
		c->max_combined = nic.combined ? 16 : 0;
		c->rx_count = nic.rx;
		c->tx_count = nic.tx;
		c->combined_count = nic.combined;
		return 0;
	}
	if (nic.refuse_channels && nic.refusals) {
		nic.refusals--;
		return nic.refuse_channels;
	}
	nic.rx = c->rx_count;
	nic.tx = c->tx_count;
	nic.combined = c->combined_count;
	return 0;
}

static int rss(struct ethtool_rxfh_indir *t)
{
	if (!nic.table_size)
		return -EOPNOTSUPP;
	if (t->cmd == ETHTOOL_GRXFHINDIR) {
		if (t->size)
			memcpy(t->ring_index, nic.table, nic.table_size * sizeof(nic.table[0]));
		t->size = nic.table_size;
		return 0;
	}
	if (nic.refuse_table)
		return nic.refuse_table;
	nic.table_reset = !t->size;
	if (t->size)
		memcpy(nic.table, t->ring_index, nic.table_size * sizeof(nic.table[0]));
	for (uint32_t i = 0; !t->size && i < nic.table_size; i++)
		nic.table[i] = i % nic.combined;
	return 0;
}

static int insert(struct ethtool_rxnfc *c)
{
	uint32_t place = c->fs.location;

	if (nic.refuse_rule)
		return nic.refuse_rule;
	if (nic.any_place) {
		assert_int_equal(place, RX_CLS_LOC_ANY);
		for (place = 0; place < PLACES && nic.used[place]; place++)
			;
	}
	if (place >= PLACES || nic.used[place])
		return -ENOSPC;
	c->fs.location = place;
	nic.rule[place] = c->fs;
	nic.used[place] = true;
	nic.inserted++;
	return 0;
}

static int rules(struct ethtool_rxnfc *c)
{
	uint32_t n = 0, i;

	if (!nic.rules)
		return -EOPNOTSUPP;
	switch (c->cmd) {
	case ETHTOOL_GRXCLSRLCNT:
	case ETHTOOL_GRXCLSRLALL:
		for (i = 0; i < PLACES; i++)
			if (nic.used[i]) {
				if (c->cmd == ETHTOOL_GRXCLSRLALL)
					c->rule_locs[n] = i;
				n++;
			}
		c->data = PLACES | (nic.any_place ? RX_CLS_LOC_SPECIAL : 0);
		c->rule_cnt = n;
		return 0;
	case ETHTOOL_SRXCLSRLINS:
		return insert(c);
	case ETHTOOL_SRXCLSRLDEL:
		if (c->fs.location >= PLACES || !nic.used[c->fs.location])
			return -ENOENT;
		nic.used[c->fs.location] = false;
		return 0;
	case ETHTOOL_GRXCLSRULE:
		i = c->fs.location;
		if (i >= PLACES || !nic.used[i])
			return -ENOENT;
		c->fs = nic.rule[i];
		return 0;
	}
	return -EOPNOTSUPP;
}

static int get_features(struct ethtool_gfeatures *g)
{
	memset(g->features, 0, g->size * sizeof(g->features[0]));
	for (int i = 0; i < STRINGS; i++) {
		if (nic.has[i] && !nic.fixed[i])
			g->features[i / 32].available |= 1u << i % 32;
		if (nic.on[i])
			g->features[i / 32].active |= 1u << i % 32;
	}
	return 0;
}

static int set_features(const struct ethtool_sfeatures *f)
{
	nic.feature_sets++;
	for (int i = 0; i < STRINGS; i++)
		if (f->features[i / 32].valid & 1u << i % 32 && nic.has[i] && !nic.fixed[i])
			nic.on[i] = f->features[i / 32].requested & 1u << i % 32;
	return 0;
}

static int features(void *cmd)
{
	struct ethtool_sset_info *info = cmd;
	struct ethtool_gstrings *s = cmd;

	if (!nic.features)
		return -EOPNOTSUPP;
	switch (*(uint32_t *)cmd) {
	case ETHTOOL_GSSET_INFO:
		info->data[0] = STRINGS;
		return 0;
	case ETHTOOL_GSTRINGS:
		memset(s->data, 0, STRINGS * ETH_GSTRING_LEN);
		strcpy((char *)s->data + RXVLAN * ETH_GSTRING_LEN, "rx-vlan-hw-parse");
		strcpy((char *)s->data + FILTER * ETH_GSTRING_LEN, "rx-vlan-filter");
		strcpy((char *)s->data + NTUPLE * ETH_GSTRING_LEN, "rx-ntuple-filter");
		return 0;
	case ETHTOOL_GFEATURES:
		return get_features(cmd);
	}
	return set_features(cmd);
}

static int fake_ethtool(const struct host_ops *h, const char *ifname, void *cmd)
{
	(void)h;
	assert_string_equal(ifname, "nic");
	switch (*(uint32_t *)cmd) {
	case ETHTOOL_GCHANNELS:
	case ETHTOOL_SCHANNELS:
		return channels(cmd);
	case ETHTOOL_GRXFHINDIR:
	case ETHTOOL_SRXFHINDIR:
		return rss(cmd);
	case ETHTOOL_GSSET_INFO:
	case ETHTOOL_GSTRINGS:
	case ETHTOOL_GFEATURES:
	case ETHTOOL_SFEATURES:
		return features(cmd);
	case ETHTOOL_GRXCLSRLCNT:
	case ETHTOOL_GRXCLSRLALL:
	case ETHTOOL_GRXCLSRULE:
	case ETHTOOL_SRXCLSRLINS:
	case ETHTOOL_SRXCLSRLDEL:
		return rules(cmd);
	}
	return -EOPNOTSUPP;
}

static void put(const char *file, const char *text)
{
	int fd = fake_open(NULL, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *get(const char *file)
{
	static char text[256];
	int fd = fake_open(NULL, file, O_RDONLY, 0);
	ssize_t n;

	if (fd < 0)
		return "none";
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

#define NOTES "/run/viaduct/t.restore"
#define DEFER "/sys/class/net/nic/napi_defer_hard_irqs"
#define FLUSH "/sys/class/net/nic/gro_flush_timeout"

static int setup(void **state)
{
	(void)state;
	nic = (struct nic){
		.ops = { .open = fake_open, .mkdir = fake_mkdir, .unlink = fake_unlink, .ethtool = fake_ethtool },
		.dir = "/tmp/viaduct-settings-XXXXXX",
		.combined = 8, .table_size = TABLE,
	};
	for (int i = 0; i < TABLE; i++)
		nic.table[i] = (uint32_t)i % 8;
	memset(&s, 0, sizeof(s));
	memset(&info, 0, sizeof(info));
	log_set_level(LOG_LEVEL_ERROR);
	return mkdtemp(nic.dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char cmd[64];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", nic.dir);
	return system(cmd);
}

static int open_with(struct uplink_config cfg)
{
	snprintf(cfg.ifname, sizeof(cfg.ifname), "nic");
	snprintf(cfg.name, sizeof(cfg.name), "t");
	return settings_open(&s, &nic.ops, &cfg, &info, &why);
}

static void apply_with(struct uplink_config cfg, struct nicq *q, uint32_t n)
{
	assert_int_equal(settings_apply(&s, &cfg, q, n, &info, &why), 0);
}

static void close_all(void)
{
	settings_restore(&s, "nic");
	settings_close(&s);
}

/* As a killed process leaves it: memory is gone, file and NIC are not. */
static void die(void)
{
	struct restore *r = &s.restore;

	for (int i = 0; i < RESTORE_ENTRIES; i++)
		free(r->entry[i].value);
	free(s.hwsteer.rule);
	memset(&s, 0, sizeof(s));
}

static void channels_are_set_and_put_back(void **state)
{
	(void)state;
	assert_int_equal(open_with((struct uplink_config){ .set_channels = 2 }), 2);
	assert_int_equal(nic.combined, 2);
	assert_string_equal(info.channels, "channels");
	assert_string_equal(get(NOTES), "nic channels 0,0,8\n");
	close_all();
	assert_int_equal(nic.combined, 8);
	assert_string_equal(get(NOTES), "none");
}

static void a_driver_that_counts_each_direction_gets_both(void **state)
{
	(void)state;
	nic.combined = 0;
	nic.rx = nic.tx = 4;
	assert_int_equal(open_with((struct uplink_config){ .set_channels = 2, .queues = 1 }), 1);
	assert_true(nic.rx == 2 && nic.tx == 2);
	close_all();
	assert_true(nic.rx == 4 && nic.tx == 4);
}

static void channels_that_are_right_are_left_alone(void **state)
{
	(void)state;
	assert_int_equal(open_with((struct uplink_config){ .set_channels = 8 }), 0);
	nic.combined = 5;		/* the operator's doing */
	close_all();
	assert_int_equal(nic.combined, 5);
	assert_int_equal(open_with((struct uplink_config){ 0 }), 0);
	close_all();
	assert_int_equal(nic.combined, 5);
	assert_string_equal(get(NOTES), "none");
}

static void putting_back_waits_for_sockets_that_are_being_closed(void **state)
{
	(void)state;
	open_with((struct uplink_config){ .set_channels = 2 });
	nic.refuse_channels = -EINVAL;
	nic.refusals = 3;
	close_all();
	assert_int_equal(nic.combined, 8);
}

static void without_channels_to_set_the_table_spreads_over_the_first_queues(void **state)
{
	(void)state;
	nic.refuse_channels = -EOPNOTSUPP;
	nic.refusals = 1;
	assert_int_equal(open_with((struct uplink_config){ .set_channels = 3 }), 3);
	assert_string_equal(info.channels, "rss");
	for (uint32_t i = 0; i < TABLE; i++)
		assert_int_equal(nic.table[i], i % 3);
	close_all();
	assert_true(nic.table_reset);
	assert_int_equal(nic.table[7], 7);
	assert_string_equal(get(NOTES), "none");
}

static void a_table_of_the_operators_is_put_back_entry_by_entry(void **state)
{
	uint32_t before[TABLE];

	(void)state;
	for (uint32_t i = 0; i < TABLE; i++)
		nic.table[i] = before[i] = (i * 5 + 1) % 8;
	nic.refuse_channels = -EOPNOTSUPP;
	nic.refusals = 1;
	assert_int_equal(open_with((struct uplink_config){ .set_channels = 2 }), 2);
	assert_int_equal(nic.table[3], 1);
	die();
	assert_int_equal(open_with((struct uplink_config){ 0 }), 0);
	assert_false(nic.table_reset);
	assert_memory_equal(nic.table, before, sizeof(before));
	close_all();
}

static void what_neither_channels_nor_table_can_do_is_refused(void **state)
{
	(void)state;
	nic.refuse_channels = -EINVAL;
	nic.refusals = 1;
	nic.refuse_table = -EOPNOTSUPP;
	assert_true(open_with((struct uplink_config){ .set_channels = 2 }) < 0);
	assert_non_null(strstr(err, "--set-channels 2"));
	assert_non_null(strstr(err, "ethtool -l nic"));
	close_all();
	assert_int_equal(nic.combined, 8);
	assert_string_equal(get(NOTES), "none");
	nic.refusals = 1;
	nic.table_size = 0;
	assert_true(open_with((struct uplink_config){ .set_channels = 2 }) < 0);
	close_all();
	/* More than there are: only channels could do it. */
	nic.table_size = TABLE;
	nic.refuse_table = 0;
	nic.refusals = 1;
	assert_true(open_with((struct uplink_config){ .set_channels = 9 }) < 0);
	close_all();
	assert_true(open_with((struct uplink_config){ .set_channels = VD_MAX_QUEUES + 1 }) < 0);
	close_all();
}

static void a_successor_puts_back_what_stood_before_the_dead_instance(void **state)
{
	(void)state;
	open_with((struct uplink_config){ .set_channels = 2 });
	die();
	assert_int_equal(open_with((struct uplink_config){ .set_channels = 4 }), 4);
	assert_int_equal(nic.combined, 4);
	close_all();
	assert_int_equal(nic.combined, 8);
	open_with((struct uplink_config){ .set_channels = 2 });
	die();
	assert_int_equal(open_with((struct uplink_config){ 0 }), 0);
	assert_int_equal(nic.combined, 8);
	assert_string_equal(get(NOTES), "none");
	close_all();
}

static void notes_of_another_interface_or_without_sense_are_not_followed(void **state)
{
	static const char *const notes[] = {
		"eth7 channels 0,0,3\n", "nic\n", "nic channels\n", "nic channels x\n", "nic rss 1,2\n nonsense 3", "", "\n",
		"nic rules ,,\n", "nic rules 99999999999999999999,-3\n", "nic busy-poll 1\n",
	};

	(void)state;
	nic.rules = true;
	for (unsigned i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		put(NOTES, notes[i]);
		if (strstr(notes[i], "rss"))
			nic.refuse_table = -EINVAL;
		assert_int_equal(open_with((struct uplink_config){ 0 }), 0);
		apply_with((struct uplink_config){ 0 }, NULL, 0);
		close_all();
		assert_int_equal(nic.combined, 8);
		assert_string_equal(get(NOTES), "none");
	}
}

static void busy_polling_puts_interrupts_off_and_back(void **state)
{
	const struct uplink_config cfg = { .busy_poll = true };
	struct nicq q[2] = { { .busy_poll = true }, { .busy_poll = true } };

	(void)state;
	put(DEFER, "0\n");
	put(FLUSH, "7000\n");
	open_with(cfg);
	apply_with(cfg, q, 2);
	assert_true(info.busy_poll && q[0].busy_poll && q[1].busy_poll);
	assert_int_equal(atoi(get(DEFER)), 2);
	assert_int_equal(atoi(get(FLUSH)), 200000);
	assert_string_equal(get(NOTES), "nic busy-poll 0,7000\n");
	die();
	/* A successor that does not want it puts it back at its start. */
	open_with((struct uplink_config){ 0 });
	apply_with((struct uplink_config){ 0 }, q, 2);
	assert_false(info.busy_poll || q[0].busy_poll);
	assert_int_equal(atoi(get(FLUSH)), 7000);
	assert_string_equal(get(NOTES), "none");
	close_all();
	open_with(cfg);
	q[0].busy_poll = q[1].busy_poll = true;
	apply_with(cfg, q, 2);
	close_all();
	assert_int_equal(atoi(get(DEFER)), 0);
	assert_int_equal(atoi(get(FLUSH)), 7000);
}

static void busy_polling_that_a_socket_or_the_interface_refuses_is_off(void **state)
{
	const struct uplink_config cfg = { .busy_poll = true };
	struct nicq q[2] = { { .busy_poll = true }, { .busy_poll = false } };

	(void)state;
	put(DEFER, "0\n");
	put(FLUSH, "0\n");
	open_with(cfg);
	apply_with(cfg, q, 2);
	assert_false(info.busy_poll || q[0].busy_poll);
	assert_string_not_equal(info.busy_poll_why, "");
	assert_int_equal(atoi(get(FLUSH)), 0);
	close_all();
	nic.ops.unlink(&nic.ops, DEFER);	/* an older kernel */
	q[0].busy_poll = q[1].busy_poll = true;
	open_with(cfg);
	apply_with(cfg, q, 2);
	assert_false(info.busy_poll || q[0].busy_poll || q[1].busy_poll);
	assert_int_equal(atoi(get(FLUSH)), 0);
	assert_string_equal(get(NOTES), "none");
	close_all();
}

static void open_rules(void)
{
	const struct uplink_config cfg = { .hw_steer = true };

	open_with(cfg);
	apply_with(cfg, NULL, 0);
	settings_read(&s, "nic", &info);
}

static void a_rule_is_for_one_address_and_moves_with_it(void **state)
{
	(void)state;
	nic.rules = true;
	open_rules();
	assert_true(info.hw_steer);
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 3), 0);
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_b, 4), 0);
	/* From the end, where the operator's rules go first. */
	assert_true(nic.used[7] && nic.used[6]);
	assert_int_equal(nic.rule[7].flow_type, ETHER_FLOW);
	assert_int_equal(nic.rule[7].ring_cookie, 3);
	assert_memory_equal(nic.rule[7].h_u.ether_spec.h_dest, mac_a, 6);
	assert_memory_equal(nic.rule[7].m_u.ether_spec.h_dest, "\xff\xff\xff\xff\xff\xff", 6);
	assert_int_equal(nic.rule[7].m_u.ether_spec.h_proto, 0);
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 3), 0);
	assert_int_equal(nic.inserted, 2);
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 5), 0);
	assert_int_equal(nic.inserted, 3);
	assert_int_equal(nic.rule[7].ring_cookie, 5);
	assert_int_equal(hwsteer_del(&s.hwsteer, mac_b), 0);
	assert_int_equal(hwsteer_del(&s.hwsteer, mac_b), -ENOENT);
	settings_read(&s, "nic", &info);
	assert_int_equal(info.hw_rules, 1);
	close_all();
	assert_false(nic.used[7] || nic.used[6]);
	assert_string_equal(get(NOTES), "none");
}

static void a_driver_that_finds_places_itself_is_left_to(void **state)
{
	(void)state;
	nic.rules = nic.any_place = true;
	open_rules();
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 1), 0);
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_b, 1), 0);
	assert_true(nic.used[0] && nic.used[1]);
	assert_int_equal(hwsteer_del(&s.hwsteer, mac_a), 0);
	assert_false(nic.used[0]);
	close_all();
	assert_false(nic.used[1]);
}

static void rules_of_a_dead_instance_go_and_others_stay(void **state)
{
	(void)state;
	nic.rules = true;
	open_rules();
	hwsteer_set(&s.hwsteer, mac_a, 1);
	hwsteer_set(&s.hwsteer, mac_b, 1);
	die();
	assert_string_equal(get(NOTES), "nic rules 7,6\n");
	nic.rule[6].flow_type = TCP_V4_FLOW;	/* the operator's by now */
	open_with((struct uplink_config){ 0 });
	apply_with((struct uplink_config){ 0 }, NULL, 0);
	assert_false(nic.used[7]);
	assert_true(nic.used[6]);
	assert_string_equal(get(NOTES), "none");
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 1), -EOPNOTSUPP);
	close_all();
}

static void a_full_table_is_no_reason_to_give_up(void **state)
{
	uint8_t mac[6] = { 2 };

	(void)state;
	nic.rules = true;
	open_rules();
	for (mac[5] = 0; mac[5] < PLACES; mac[5]++)
		assert_int_equal(hwsteer_set(&s.hwsteer, mac, 0), 0);
	assert_int_equal(hwsteer_set(&s.hwsteer, mac, 0), -ENOSPC);
	mac[5] = 3;
	assert_int_equal(hwsteer_del(&s.hwsteer, mac), 0);
	mac[5] = 99;
	assert_int_equal(hwsteer_set(&s.hwsteer, mac, 0), 0);
	assert_true(s.hwsteer.on);
	close_all();
}

static void a_driver_without_rules_is_asked_once(void **state)
{
	(void)state;
	open_rules();
	assert_false(info.hw_steer);
	assert_string_not_equal(info.hw_steer_why, "");
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 1), -EOPNOTSUPP);
	close_all();
	nic.rules = true;
	nic.refuse_rule = -EINVAL;
	open_rules();
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 1), -EINVAL);
	settings_read(&s, "nic", &info);
	assert_false(info.hw_steer);
	nic.refuse_rule = 0;
	assert_int_equal(hwsteer_set(&s.hwsteer, mac_a, 1), -EOPNOTSUPP);
	close_all();
}

/* The NIC takes tags out and filters; the rules are off. */
static void open_features(bool rules)
{
	const struct uplink_config cfg = { .hw_steer = rules };

	nic.features = true;
	nic.has[RXVLAN] = nic.has[FILTER] = nic.has[NTUPLE] = true;
	open_with(cfg);
	apply_with(cfg, NULL, 0);
	assert_false(nic.on[RXVLAN] || nic.on[FILTER]);
	assert_true(nic.on[NTUPLE] == rules);
}

static struct nicset_found check(void)
{
	return settings_check(&s, "nic", &info);
}

static void what_nobody_changed_is_not_touched(void **state)
{
	(void)state;
	nic.on[RXVLAN] = nic.on[FILTER] = true;
	open_features(false);
	nic.feature_sets = 0;
	nic.on[NTUPLE] = true;		/* we do not care */
	assert_false(check().changed);
	assert_int_equal(nic.feature_sets, 0);
	close_all();
	assert_true(nic.on[RXVLAN] && nic.on[FILTER] && nic.on[NTUPLE]);
}

static void a_feature_that_is_switched_back_is_switched_again(void **state)
{
	struct nicset_found found;

	(void)state;
	nic.on[RXVLAN] = nic.on[FILTER] = true;
	open_features(true);
	nic.on[RXVLAN] = true;
	nic.on[NTUPLE] = false;
	found = check();
	assert_true(found.changed && found.repaired);
	assert_false(nic.on[RXVLAN]);
	assert_true(nic.on[NTUPLE]);
	assert_int_equal(info.rxvlan_now, 0);
	assert_false(check().changed);
	/* What it was before still counts at the end. */
	close_all();
	assert_true(nic.on[RXVLAN] && nic.on[FILTER]);
	assert_false(nic.on[NTUPLE]);
	assert_string_equal(get(NOTES), "none");
}

static void a_feature_that_had_been_right_gets_the_other_tools_wish_at_the_end(void **state)
{
	struct nicset_found found;

	(void)state;
	open_features(false);
	assert_string_equal(get(NOTES), "none");
	nic.on[FILTER] = true;
	found = check();
	assert_true(found.changed && found.repaired);
	assert_false(nic.on[FILTER]);
	assert_string_equal(get(NOTES), "nic rx-vlan-filter 1\n");
	close_all();
	assert_true(nic.on[FILTER]);
	assert_string_equal(get(NOTES), "none");
}

static void a_feature_that_the_driver_keeps_is_no_change(void **state)
{
	(void)state;
	nic.features = true;
	nic.has[RXVLAN] = nic.on[RXVLAN] = nic.fixed[RXVLAN] = true;
	open_with((struct uplink_config){ 0 });
	apply_with((struct uplink_config){ 0 }, NULL, 0);
	nic.feature_sets = 0;
	assert_false(check().changed);
	assert_int_equal(info.rxvlan_now, 1);
	assert_int_equal(nic.feature_sets, 0);
	close_all();
}

static void what_cannot_be_switched_again_is_told(void **state)
{
	struct nicset_found found;

	(void)state;
	open_features(false);
	nic.on[RXVLAN] = nic.fixed[RXVLAN] = true;
	nic.on[FILTER] = true;
	found = check();
	assert_true(found.changed);
	assert_false(found.repaired);
	assert_false(nic.on[FILTER]);
	assert_int_equal(info.rxvlan_now, 1);
	assert_int_equal(info.rxvlan_filter_now, 0);
	close_all();
}

static void a_tool_that_does_not_stop_is_left_to_it(void **state)
{
	const uint64_t second = 1000000000, at = 100 * second;
	struct nicset_found found;

	(void)state;
	open_features(false);
	for (unsigned i = 0; i < NICSET_REPAIRS; i++) {
		nic.on[RXVLAN] = true;
		found = nicset_check(&s.nicset, at + i * second);
		assert_true(found.changed && found.repaired);
	}
	nic.on[RXVLAN] = nic.on[FILTER] = true;
	found = nicset_check(&s.nicset, at + 10 * second);
	assert_true(found.changed && !found.repaired);
	assert_true(nic.on[RXVLAN]);
	assert_false(nic.on[FILTER]);		/* another feature has its own count */
	nic.feature_sets = 0;
	found = nicset_check(&s.nicset, at + 1000 * second);
	assert_true(found.changed && !found.repaired);
	assert_int_equal(nic.feature_sets, 0);
	/* It, or the operator, switched it off: now it is watched again. */
	nic.on[RXVLAN] = false;
	assert_false(nicset_check(&s.nicset, at + 1001 * second).changed);
	nic.on[RXVLAN] = true;
	found = nicset_check(&s.nicset, at + 1002 * second);
	assert_true(found.changed && found.repaired);
	close_all();
}

static void repairs_that_are_long_ago_do_not_count(void **state)
{
	struct nicset_found found;
	uint64_t at = 1;

	(void)state;
	open_features(false);
	for (unsigned i = 0; i < 10 * NICSET_REPAIRS; i++, at += NICSET_REPAIRS_NS / 3) {
		nic.on[RXVLAN] = true;
		found = nicset_check(&s.nicset, at);
		assert_true(found.changed && found.repaired);
	}
	close_all();
}

static void a_change_that_cannot_be_noted_is_left(void **state)
{
	struct nicset_found found;

	(void)state;
	open_features(false);
	nic.on[RXVLAN] = true;
	nic.ops.open = no_open;
	found = check();
	assert_true(found.changed && !found.repaired);
	assert_true(nic.on[RXVLAN]);
	nic.ops.open = fake_open;
	assert_true(check().repaired);
	close_all();
	assert_true(nic.on[RXVLAN]);
}

static void a_nic_that_does_not_answer_has_not_changed(void **state)
{
	(void)state;
	assert_false(settings_check(&s, "nic", &info).changed);	/* not even applied */
	open_features(false);
	nic.on[RXVLAN] = true;
	nic.features = false;
	assert_false(check().changed);
	nic.features = true;
	assert_true(check().repaired);
	close_all();
}

#define t(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(channels_are_set_and_put_back),
		t(a_driver_that_counts_each_direction_gets_both),
		t(channels_that_are_right_are_left_alone),
		t(putting_back_waits_for_sockets_that_are_being_closed),
		t(without_channels_to_set_the_table_spreads_over_the_first_queues),
		t(a_table_of_the_operators_is_put_back_entry_by_entry),
		t(what_neither_channels_nor_table_can_do_is_refused),
		t(a_successor_puts_back_what_stood_before_the_dead_instance),
		t(notes_of_another_interface_or_without_sense_are_not_followed),
		t(busy_polling_puts_interrupts_off_and_back),
		t(busy_polling_that_a_socket_or_the_interface_refuses_is_off),
		t(a_rule_is_for_one_address_and_moves_with_it),
		t(a_driver_that_finds_places_itself_is_left_to),
		t(rules_of_a_dead_instance_go_and_others_stay),
		t(a_full_table_is_no_reason_to_give_up),
		t(a_driver_without_rules_is_asked_once),
		t(what_nobody_changed_is_not_touched),
		t(a_feature_that_is_switched_back_is_switched_again),
		t(a_feature_that_had_been_right_gets_the_other_tools_wish_at_the_end),
		t(a_feature_that_the_driver_keeps_is_no_change),
		t(what_cannot_be_switched_again_is_told),
		t(a_tool_that_does_not_stop_is_left_to_it),
		t(repairs_that_are_long_ago_do_not_count),
		t(a_change_that_cannot_be_noted_is_left),
		t(a_nic_that_does_not_answer_has_not_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
