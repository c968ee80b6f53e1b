/* Shared by the tests of the C ABI. Each function sets something up; its callbacks check, and stop
 * the loop. Static state is per thread, since tests run in threads. */
#ifndef STAGE_H
#define STAGE_H

#include "check.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000

static inline void pair(int ends[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
}

static inline int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Data that a test's callbacks share. */
static _Thread_local struct {
    int ends[2];
    int calls;
    int destroyed;
    int inside; /* a call into the loop that must not call back */
    oneloop_id id, other;
    int64_t start;
} t;

static inline void destroy(void *user) {
    CHECK(!t.inside);
    CHECK(user == &t);
    t.destroyed++;
}

static inline void begin(void) {
    memset(&t, 0, sizeof t);
    t.start = now();
}

static inline void end(oneloop_t *loop) {
    if (t.ends[0] > 0)
        close(t.ends[0]), close(t.ends[1]);
    CHECK(oneloop_stop(loop) == 0);
}

/* A handler that is not called. */
static inline int never(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)loop, (void)id, (void)fd, (void)ready, (void)user;
    CHECK(!"called");
    return ONELOOP_REMOVE;
}

#endif
