/* Common to the C loops: descriptors to watch, and a callback for them. */

#ifndef C_LOOPS_H
#define C_LOOPS_H

#include <stddef.h>

enum { C_LOOPS_READ = 1, C_LOOPS_WRITE = 2, C_LOOPS_STOP = 4 };

/* Told which descriptor is ready. Says what that one is to be watched for from now on, and whether
 * the loop is to stop. */
typedef int c_loops_ready(void *work, size_t which);

/* Watches the descriptors, for reading at first, until told to stop or until nothing is watched.
 * Nonzero: the loop could not be made, or could not watch one of them. */
int c_loops_libev(const int *fds, size_t number, c_loops_ready *ready, void *work);
int c_loops_libevent(const int *fds, size_t number, c_loops_ready *ready, void *work);
int c_loops_libuv(const int *fds, size_t number, c_loops_ready *ready, void *work);

#endif
