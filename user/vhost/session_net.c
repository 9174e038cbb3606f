/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages that only a network device has. */
#include <string.h>

#include "vhost/session_internal.h"

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
