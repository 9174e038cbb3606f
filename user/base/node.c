/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <numa.h>
#include <numaif.h>

#include "base/node.h"

int node_count(void)
{
	static int count;

	if (!count)
		count = numa_available() < 0 ? 1 : numa_num_configured_nodes();
	return count > 1 ? count : 1;
}

bool node_exists(int node)
{
	if (node_count() < 2)
		return node == 0;
	return node >= 0 && node <= numa_max_node() && numa_bitmask_isbitset(numa_nodes_ptr, (unsigned)node);
}

int node_of_cpu(int cpu)
{
	int node = node_count() > 1 && cpu >= 0 ? numa_node_of_cpu(cpu) : -1;

	return node < 0 ? NODE_NONE : node;
}

int node_of_memory(const void *p)
{
	void *page = (void *)(size_t)p;
	int node = -1;

	if (node_count() < 2)
		return NODE_NONE;
	*(volatile const char *)p;	/* only a page that is mapped has a node */
	if (move_pages(0, 1, &page, NULL, &node, 0) < 0 || node < 0)
		return NODE_NONE;
	return node;
}

void node_prefer(int node)
{
	if (node_count() < 2)
		return;
	if (node < 0)
		numa_set_localalloc();
	else
		numa_set_preferred(node);
}

int node_move(void *p, size_t len, int node)
{
	unsigned long mask[16] = { 0 };
	const unsigned bits = 8 * sizeof(mask[0]);

	if (node_count() < 2 || node < 0 || (unsigned)node >= bits * 16)
		return -EINVAL;
	mask[(unsigned)node / bits] = 1ul << (unsigned)node % bits;
	/* Preferred, not bound: a node that is full is no reason to fail. */
	return mbind(p, len, MPOL_PREFERRED, mask, bits * 16, MPOL_MF_MOVE) < 0 ? -errno : 0;
}
