/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <numa.h>
#include <numaif.h>

#include "base/node.h"

#define MASK_WORDS 16
#define MASK_BITS (MASK_WORDS * 8 * sizeof(unsigned long))

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
	static unsigned long mask[MASK_WORDS];
	static int mode = -1;

	if (node_count() < 2)
		return;
	/* Whoever started us may have had a policy in mind (numactl): it counts wherever we have none. */
	if (mode < 0 && get_mempolicy(&mode, mask, MASK_BITS, NULL, 0) < 0)
		mode = MPOL_DEFAULT;
	if (node < 0)
		set_mempolicy(mode, mode == MPOL_DEFAULT ? NULL : mask, MASK_BITS);
	else
		numa_set_preferred(node);
}

int node_move(void *p, size_t len, int node)
{
	const unsigned bits = 8 * sizeof(unsigned long);
	unsigned long mask[MASK_WORDS] = { 0 };

	if (node_count() < 2 || node < 0 || (unsigned)node >= MASK_BITS)
		return -EINVAL;
	mask[(unsigned)node / bits] = 1ul << (unsigned)node % bits;
	/* Preferred, not bound: a node that is full is no reason to fail. */
	return mbind(p, len, MPOL_PREFERRED, mask, MASK_BITS, MPOL_MF_MOVE) < 0 ? -errno : 0;
}
