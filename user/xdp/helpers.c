/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "xdp/devfeat.h"
#include "xdp/helpers.h"

/*
 * veth and tun have no hash of a NIC: theirs is computed for the purpose, and not faster than ours. Where the driver's
 * hash is asked for by name it is used there too.
 */
static bool computes_hash_itself(const char *driver)
{
	return !strcmp(driver, "veth") || !strcmp(driver, "tun");
}

static void choose_hash(struct helpers *h, const struct devfeat *f, const struct uplink_config *cfg,
			struct uplink_info *info)
{
	const size_t len = sizeof(info->driver_hash_why);
	char *why = info->driver_hash_why;

	if (cfg->rx_hash == UPLINK_HELPER_SOFTWARE)
		snprintf(why, len, "as asked");
	else if (cfg->attach != UPLINK_ATTACH_LINK)
		snprintf(why, len, "not with the dispatcher");
	else if (!(f->rx_metadata & DEVFEAT_RX_HASH))
		snprintf(why, len, "the driver does not offer it");
	else if (cfg->rx_hash == UPLINK_HELPER_AUTO && computes_hash_itself(info->driver))
		snprintf(why, len, "%s has no NIC to compute it", info->driver);
	else
		h->want_hash = true;
}

void helpers_no_checksum(struct helpers *h, struct uplink_info *info, const char *why)
{
	h->checksum = AFXDP_CHECKSUM_US;
	snprintf(info->nic_checksum_why, sizeof(info->nic_checksum_why), "%s", why);
}

static void choose_checksum(struct helpers *h, const struct devfeat *f, const struct uplink_config *cfg,
			    struct uplink_info *info)
{
	if (cfg->tx_checksum == UPLINK_HELPER_SOFTWARE) {
		helpers_no_checksum(h, info, "as asked");
	} else if (f->xsk & DEVFEAT_TX_CHECKSUM) {
		h->checksum = AFXDP_CHECKSUM_NIC;
	} else {
		helpers_no_checksum(h, info, "the driver does not offer it");
		if (cfg->tx_checksum == UPLINK_HELPER_DRIVER)
			h->checksum = AFXDP_CHECKSUM_KERNEL;
	}
}

void helpers_choose(struct helpers *h, const struct host_ops *host, int ifindex, const struct uplink_config *cfg,
		    struct uplink_info *info)
{
	struct devfeat f;

	memset(h, 0, sizeof(*h));
	devfeat_read(host, ifindex, &f);
	choose_hash(h, &f, cfg, info);
	choose_checksum(h, &f, cfg, info);
	h->offers_tag = cfg->attach == UPLINK_ATTACH_LINK && f.rx_metadata & DEVFEAT_RX_VLAN_TAG;
}

/*
 * veth has no NIC that strips tags, but hands over the sender's packet as it is: the kernel keeps tags that it has added,
 * or seen, beside the packet.
 */
static bool has_tags_beside(const struct uplink_info *info)
{
	return info->rxvlan_now == 1 || !strcmp(info->driver, "veth");
}

static void choose_tags(const struct helpers *h, bool bound, const struct uplink_config *cfg, struct uplink_info *info)
{
	const char *mend = NULL;

	info->vlan_tags_why[0] = '\0';
	if (!has_tags_beside(info))
		info->vlan_tags = UPLINK_TAGS_INLINE;
	else if (h->offers_tag && bound)
		info->vlan_tags = UPLINK_TAGS_RESTORED;
	else if (cfg->attach != UPLINK_ATTACH_LINK)
		mend = "only without --xdp-attach dispatcher can the program put them back";
	else if (info->mode == VD_MODE_GENERIC)
		mend = "only in native mode can the program put them back (--xdp-mode auto)";
	else if (!h->offers_tag)
		mend = "this driver does not tell them to the program (Linux 6.8 or newer; veth, mlx5, ice)";
	else
		mend = "the kernel refused the program that puts them back";
	if (!mend)
		return;
	info->vlan_tags = UPLINK_TAGS_LOST;
	snprintf(info->vlan_tags_why, sizeof(info->vlan_tags_why), "the driver hands VLAN tags beside the frame, and %s",
		 mend);
	if (info->rxvlan_fixed)
		log_warn("%s: the driver keeps VLAN tag stripping on: tagged frames reach guests without their tag: %s",
			 cfg->ifname, mend);
}

void helpers_loaded(const struct helpers *h, bool bound, const struct uplink_config *cfg, struct uplink_info *info)
{
	info->driver_hash = h->want_hash && bound;
	if (!info->driver_hash && !info->driver_hash_why[0])
		snprintf(info->driver_hash_why, sizeof(info->driver_hash_why), "%s",
			 info->mode == VD_MODE_GENERIC ? "not in generic mode" : "the kernel refused the program for it");
	choose_tags(h, bound, cfg, info);
}
