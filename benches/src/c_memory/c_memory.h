/* The memory that the C loops take while so many descriptors are watched for reading, or so many timers are set:
 * what they allocate, and the structures that they have a program provide. 0: it failed. */

#ifndef C_MEMORY_H
#define C_MEMORY_H

#include <stddef.h>

size_t c_memory_libev(const int *fds, size_t handlers, size_t timers);
size_t c_memory_libevent(const int *fds, size_t handlers, size_t timers);
size_t c_memory_libuv(const int *fds, size_t handlers, size_t timers);

/* Timers are set for an hour later than this, each for another second. */
enum { C_MEMORY_LATER = 3600 };

#endif
