/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "ctl/limits.h"

#define OF_THE_PROCESS 256	/* maps, sockets of NIC queues, control clients */
#define OF_A_PORT 16		/* listener, connection, memory regions, log, and for a moment QEMU's monitor */
#define OF_A_PAIR 6		/* kick, call and err of two rings */

uint64_t limits_files(const struct port_config *ports, unsigned n)
{
	uint64_t need = OF_THE_PROCESS;

	for (unsigned i = 0; i < n; i++)
		need += OF_A_PAIR * (uint64_t)ports[i].pairs + OF_A_PORT;
	return need;
}

int limits_raise_files(uint64_t need, char *err, size_t errlen)
{
	struct rlimit now = { 0 }, wish;

	if (getrlimit(RLIMIT_NOFILE, &now) || now.rlim_cur >= need)
		return 0;
	wish = (struct rlimit){ .rlim_cur = now.rlim_max, .rlim_max = now.rlim_max };
	if (wish.rlim_cur < need)
		wish = (struct rlimit){ .rlim_cur = need, .rlim_max = need };
	if (!setrlimit(RLIMIT_NOFILE, &wish))
		return 0;
	snprintf(err, errlen, "%llu open files are allowed, these ports may need %llu: raise the limit (ulimit -n %llu, "
		 "LimitNOFILE= in the unit, and fs.nr_open by sysctl where that is less)",
		 (unsigned long long)now.rlim_max, (unsigned long long)need, (unsigned long long)need);
	return -EMFILE;
}
