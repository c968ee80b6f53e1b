/* An allocator that knows how much is taken from it. */

#ifndef COUNTED_H
#define COUNTED_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Before each block, as large as alignment demands. */
union counted {
    size_t size;
    max_align_t align;
};

static size_t counted_bytes;

/* Size 0 frees. */
static void *counted_resize(void *block, size_t size) {
    union counted *old = block ? (union counted *)block - 1 : NULL;
    size_t before = old ? old->size : 0;
    if (!size) {
        counted_bytes -= before;
        free(old);
        return NULL;
    }
    union counted *new = realloc(old, sizeof *new + size);
    if (!new)
        return NULL;
    counted_bytes += size - before;
    new->size = size;
    return new + 1;
}

#endif
