/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "vhost/session_internal.h"

void session_complain(struct session *s, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->ops->complaint)
		s->ops->complaint(s->ctx, text);
}

/* A refusal with its reason; @index < 0 where no ring is concerned. */
int session_refuse(struct session *s, const struct request *rq, int index, const char *why)
{
	const char *name = message_name(rq->msg->hdr.request);

	if (index < 0)
		session_complain(s, "%s refused: %s", name, why);
	else
		session_complain(s, "%s refused for ring %d: %s", name, index, why);
	return -EINVAL;
}

int session_reply_u64(struct request *rq, uint64_t value)
{
	rq->reply->payload.u64 = value;
	rq->reply->hdr.size = sizeof(value);
	return 0;
}

bool session_any_started(const struct session *s)
{
	for (unsigned i = 0; i < s->st.rings; i++)
		if (s->st.ring[i].started)
			return true;
	return false;
}
