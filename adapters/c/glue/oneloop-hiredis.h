/* hiredis on a oneloop loop: for 0.14 as well as 1.x. The timeouts of 1.x work, too.
 *
 *   #include <oneloop-hiredis.h>
 *
 *   static void got(redisAsyncContext *ac, void *reply, void *user) {
 *       (void)user;
 *       if (reply)
 *           puts(((redisReply *)reply)->str);
 *       redisAsyncDisconnect(ac);
 *   }
 *
 *   int main(void) {
 *       oneloop_t *loop = oneloop_new();
 *       redisAsyncContext *ac = redisAsyncConnect("127.0.0.1", 6379);
 *       if (redisOneloopAttach(ac, loop) == REDIS_OK)
 *           redisAsyncCommand(ac, got, NULL, "PING");
 *       else
 *           redisAsyncFree(ac);
 *       oneloop_run(loop);
 *       oneloop_free(loop);
 *   }
 *
 * Attach first, then set the callbacks. Threads: hiredis has no locks, so a context belongs to the
 * thread that drives the loop; before the loop is driven, any one thread may set it up. A context may
 * outlive the loop: it then hears nothing more, and is to be freed by redisAsyncFree as ever. hiredis
 * wants SIGPIPE to be ignored (Rust programs do).
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef ONELOOP_HIREDIS_H
#define ONELOOP_HIREDIS_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <oneloop.h>

#include <stdlib.h>
#include <sys/time.h>

typedef struct redisOneloopEvents {
    redisAsyncContext *context; /* NULL once hiredis is done with it */
    oneloop_t *loop;            /* NULL once the loop is gone */
    oneloop_id handler;
    oneloop_id timer; /* 0 until one is needed */
    uint32_t interest;
} redisOneloopEvents;

static inline int redisOneloopReady(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                    void *user) {
    redisOneloopEvents *e = (redisOneloopEvents *)user;
    (void)loop, (void)id, (void)fd;
    if (ready & ONELOOP_READABLE)
        redisAsyncHandleRead(e->context);
    /* That may have freed the context, or have left nothing to write. */
    if (e->context && ready & e->interest & ONELOOP_WRITABLE)
        redisAsyncHandleWrite(e->context);
    return ONELOOP_CONTINUE;
}

/* The handler is gone: because of the cleanup, which leaves the memory to this, or with the loop. */
static inline void redisOneloopGone(void *user) {
    redisOneloopEvents *e = (redisOneloopEvents *)user;
    e->loop = NULL;
    if (!e->context)
        free(e);
}

static inline void redisOneloopInterest(redisOneloopEvents *e, uint32_t interest) {
    if (e->interest == interest || !e->loop)
        return;
    e->interest = interest;
    oneloop_update_handler(e->loop, e->handler, interest);
}

static inline void redisOneloopAddRead(void *data) {
    redisOneloopEvents *e = (redisOneloopEvents *)data;
    redisOneloopInterest(e, e->interest | ONELOOP_READABLE);
}

static inline void redisOneloopDelRead(void *data) {
    redisOneloopEvents *e = (redisOneloopEvents *)data;
    redisOneloopInterest(e, e->interest & ~(uint32_t)ONELOOP_READABLE);
}

static inline void redisOneloopAddWrite(void *data) {
    redisOneloopEvents *e = (redisOneloopEvents *)data;
    redisOneloopInterest(e, e->interest | ONELOOP_WRITABLE);
}

static inline void redisOneloopDelWrite(void *data) {
    redisOneloopEvents *e = (redisOneloopEvents *)data;
    redisOneloopInterest(e, e->interest & ~(uint32_t)ONELOOP_WRITABLE);
}

/* hiredis calls this last, maybe inside a handler. */
static inline void redisOneloopCleanup(void *data) {
    redisOneloopEvents *e = (redisOneloopEvents *)data;
    e->context = NULL;
    if (!e->loop) {
        free(e);
        return;
    }
    if (e->timer)
        oneloop_cancel_timer(e->loop, e->timer);
    oneloop_remove_handler(e->loop, e->handler);
}

#if HIREDIS_MAJOR >= 1
static inline void redisOneloopTimeout(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id;
    redisAsyncHandleTimeout(((redisOneloopEvents *)user)->context);
}

/* Called whenever hiredis waits for something: puts off what was scheduled before. */
static inline void redisOneloopScheduleTimer(void *data, struct timeval tv) {
    redisOneloopEvents *e = (redisOneloopEvents *)data;
    int64_t delay = ONELOOP_NEVER;
    if (tv.tv_sec < ONELOOP_NEVER / 1000000000 - 1)
        delay = tv.tv_sec * INT64_C(1000000000) + tv.tv_usec * INT64_C(1000);
    if (!e->loop)
        return;
    if (e->timer)
        oneloop_reset_timer(e->loop, e->timer, delay);
    else
        oneloop_add_timer(e->loop, delay, 0, redisOneloopTimeout, e, NULL, &e->timer);
}
#endif

/* Puts a context that is connecting on the loop. REDIS_ERR if it is on one already, or if it has
 * failed to connect at once: see ac->err. It is the caller's to free then. */
static inline int redisOneloopAttach(redisAsyncContext *ac, oneloop_t *loop) {
    redisOneloopEvents *e;
    if (ac->err || ac->ev.data)
        return REDIS_ERR;
    e = (redisOneloopEvents *)calloc(1, sizeof *e);
    if (!e)
        return REDIS_ERR;
    e->context = ac;
    e->loop = loop;
    if (oneloop_add_handler(loop, ac->c.fd, 0, ONELOOP_LEVEL, redisOneloopReady, e,
                            redisOneloopGone, &e->handler) < 0) {
        free(e);
        return REDIS_ERR;
    }
    ac->ev.data = e;
    ac->ev.addRead = redisOneloopAddRead;
    ac->ev.delRead = redisOneloopDelRead;
    ac->ev.addWrite = redisOneloopAddWrite;
    ac->ev.delWrite = redisOneloopDelWrite;
    ac->ev.cleanup = redisOneloopCleanup;
#if HIREDIS_MAJOR >= 1
    ac->ev.scheduleTimer = redisOneloopScheduleTimer;
#endif
    return REDIS_OK;
}

#endif
