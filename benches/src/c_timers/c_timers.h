/* Shared by the C loops: timers that lie in one array, as they would in structures of the
 * program's own. Times are in nanoseconds since the loop was made. */

#ifndef C_TIMERS_H
#define C_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct c_timers {
    /* A loop and so many timers, none of which is set. NULL: it could not be made. */
    void *(*make)(size_t number);
    /* Nonzero here and below: it failed. */
    int (*set)(void *loop, size_t which, uint64_t deadline);
    int (*put_off)(void *loop, size_t which, uint64_t deadline);
    int (*cancel)(void *loop, size_t which);
    /* Until so many have fired, each of which adds one to a count. */
    int (*fire)(void *loop, size_t number);
    void (*end)(void *loop);
};

extern const struct c_timers c_timers_libev, c_timers_libevent, c_timers_libuv;

#endif
