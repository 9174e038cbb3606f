/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages that only a network device has. */
#include <string.h>

#include "vhost/session_internal.h"

#define MTU_MIN 68		/* virtio 1.3, 5.1.4.1 */
#define MTU_MAX 65535

/* The address is the payload's first six bytes, in their order in memory. */
int session_send_rarp(struct session *s, struct request *rq)
{
	static const uint8_t zero[6];
	uint8_t mac[6];
	int ret;

	memcpy(mac, rq->msg->payload.raw, sizeof(mac));
	if (mac[0] & 1 || !memcmp(mac, zero, sizeof(mac)))
		return session_refuse(s, rq, -1, "no guest can have this address");
	ret = s->ops->rarp(s->ctx, mac);
	return ret < 0 ? session_refuse(s, rq, -1, strerror(-ret)) : 0;
}

/* Not compared with the uplink's MTU: what a port takes today it takes tomorrow, on another NIC. */
int session_net_set_mtu(struct session *s, struct request *rq)
{
	uint64_t mtu = rq->msg->payload.u64;

	if (mtu < MTU_MIN || mtu > MTU_MAX)
		return session_refuse(s, rq, -1, "the MTU is not from 68 to 65535");
	s->ops->mtu(s->ctx, (uint32_t)mtu);
	s->st.mtu = (uint16_t)mtu;
	return 0;
}
