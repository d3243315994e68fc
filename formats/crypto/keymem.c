/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for keys: see keymem.h. */
#include <sys/mman.h>

#include "keymem.h"

uint8_t *keymem_new(size_t len, struct err *e)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		err_nomem(e);
		return NULL;
	}
	/* Where the system refuses them the key is still good. */
	(void)mlock(p, len);
	(void)madvise(p, len, MADV_DONTDUMP);
	return p;
}

void keymem_free(uint8_t *p, size_t len)
{
	if (!p)
		return;
	keymem_wipe(p, len);
	munmap(p, len);
}
