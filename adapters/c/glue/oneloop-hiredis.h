/* hiredis and libvalkey on a oneloop loop: hiredis 0.14 and 1.x, and libvalkey, which has the same interface under
 * other names. Timeouts work, too, but for 0.14, which has none.
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
 * For libvalkey, define ONELOOP_VALKEY before:
 *
 *   #define ONELOOP_VALKEY
 *   #include <oneloop-hiredis.h>
 *   ...
 *   if (valkeyOneloopAttach(ac, loop) == VALKEY_OK)
 *
 * A file that uses both libraries includes this header twice, once with ONELOOP_VALKEY and once without.
 *
 * Attach first, then set the callbacks. Threads: neither library has locks, so a context belongs to the
 * thread that drives the loop; before the loop is driven, any one thread may set it up. A context may
 * outlive the loop: it then hears nothing more, and is to be freed by redisAsyncFree as ever. Both libraries
 * want SIGPIPE to be ignored (Rust programs do).
 *
 * Errors: the libraries report theirs to the callbacks. If the loop cannot watch the socket, or has no room for a
 * timer, that is reported by oneloop_report_error.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include <oneloop.h>
#include <stdlib.h>
#include <sys/time.h>

#ifdef ONELOOP_VALKEY
#ifndef ONELOOP_LIBVALKEY_H
#define ONELOOP_LIBVALKEY_H
#define ONELOOP_REDIS(name) valkey##name
#define ONELOOP_REDIS_NAME "libvalkey"
#include <valkey/async.h>
#endif
#elif !defined(ONELOOP_HIREDIS_H)
#define ONELOOP_HIREDIS_H
#define ONELOOP_REDIS(name) redis##name
#define ONELOOP_REDIS_NAME "hiredis"
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#endif

#ifdef ONELOOP_REDIS /* not for the second time */
#define ONELOOP_REDIS_OK 0
#define ONELOOP_REDIS_ERR (-1)

typedef struct ONELOOP_REDIS(OneloopEvents) {
    ONELOOP_REDIS(AsyncContext) *context; /* NULL once hiredis is done with it */
    oneloop_t *loop;            /* NULL once the loop is gone */
    oneloop_id handler;
    oneloop_id timer; /* 0 until one is needed */
    uint32_t interest;
} ONELOOP_REDIS(OneloopEvents);

static inline int ONELOOP_REDIS(OneloopReady)(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                    void *user) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)user;
    (void)loop, (void)id, (void)fd;
    if (ready & ONELOOP_READABLE)
        ONELOOP_REDIS(AsyncHandleRead)(e->context);
    /* The call may have freed the context, or have left nothing to write. */
    if (e->context && ready & e->interest & ONELOOP_WRITABLE)
        ONELOOP_REDIS(AsyncHandleWrite)(e->context);
    return ONELOOP_CONTINUE;
}

/* The handler is gone: because of the cleanup, which leaves the memory to this, or with the loop. */
static inline void ONELOOP_REDIS(OneloopGone)(void *user) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)user;
    e->loop = NULL;
    if (!e->context)
        free(e);
}

/* The library's hooks return nothing. */
static inline void ONELOOP_REDIS(OneloopResult)(ONELOOP_REDIS(OneloopEvents) *e, int result) {
    if (result < 0)
        oneloop_report_error(e->loop, ONELOOP_REDIS_NAME, oneloop_strerror());
}

static inline void ONELOOP_REDIS(OneloopInterest)(ONELOOP_REDIS(OneloopEvents) *e, uint32_t interest) {
    if (e->interest == interest || !e->loop)
        return;
    e->interest = interest;
    ONELOOP_REDIS(OneloopResult)(e, oneloop_update_handler(e->loop, e->handler, interest));
}

static inline void ONELOOP_REDIS(OneloopAddRead)(void *data) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)data;
    ONELOOP_REDIS(OneloopInterest)(e, e->interest | ONELOOP_READABLE);
}

static inline void ONELOOP_REDIS(OneloopDelRead)(void *data) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)data;
    ONELOOP_REDIS(OneloopInterest)(e, e->interest & ~(uint32_t)ONELOOP_READABLE);
}

static inline void ONELOOP_REDIS(OneloopAddWrite)(void *data) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)data;
    ONELOOP_REDIS(OneloopInterest)(e, e->interest | ONELOOP_WRITABLE);
}

static inline void ONELOOP_REDIS(OneloopDelWrite)(void *data) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)data;
    ONELOOP_REDIS(OneloopInterest)(e, e->interest & ~(uint32_t)ONELOOP_WRITABLE);
}

/* hiredis calls this last, maybe inside a handler. */
static inline void ONELOOP_REDIS(OneloopCleanup)(void *data) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)data;
    e->context = NULL;
    if (!e->loop) {
        free(e);
        return;
    }
    if (e->timer)
        oneloop_cancel_timer(e->loop, e->timer);
    oneloop_remove_handler(e->loop, e->handler);
}

#if defined(ONELOOP_VALKEY) || HIREDIS_MAJOR >= 1
static inline void ONELOOP_REDIS(OneloopTimeout)(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id;
    ONELOOP_REDIS(AsyncHandleTimeout)(((ONELOOP_REDIS(OneloopEvents) *)user)->context);
}

/* Called whenever hiredis waits for something: puts off what was scheduled before. */
static inline void ONELOOP_REDIS(OneloopScheduleTimer)(void *data, struct timeval tv) {
    ONELOOP_REDIS(OneloopEvents) *e = (ONELOOP_REDIS(OneloopEvents) *)data;
    int64_t delay = ONELOOP_NEVER;
    if (tv.tv_sec < ONELOOP_NEVER / 1000000000 - 1)
        delay = tv.tv_sec * INT64_C(1000000000) + tv.tv_usec * INT64_C(1000);
    if (!e->loop)
        return;
    if (e->timer)
        ONELOOP_REDIS(OneloopResult)(e, oneloop_reset_timer(e->loop, e->timer, delay));
    else
        ONELOOP_REDIS(OneloopResult)
        (e, oneloop_add_timer(e->loop, delay, 0, ONELOOP_REDIS(OneloopTimeout), e, NULL,
                              &e->timer));
}
#endif

/* Puts a context that is connecting on the loop. ONELOOP_REDIS_ERR if it is on one already, or if it has
 * failed to connect at once: see ac->err. It is the caller's to free then. */
static inline int ONELOOP_REDIS(OneloopAttach)(ONELOOP_REDIS(AsyncContext) *ac, oneloop_t *loop) {
    ONELOOP_REDIS(OneloopEvents) *e;
    if (ac->err || ac->ev.data)
        return ONELOOP_REDIS_ERR;
    e = (ONELOOP_REDIS(OneloopEvents) *)calloc(1, sizeof *e);
    if (!e)
        return ONELOOP_REDIS_ERR;
    e->context = ac;
    e->loop = loop;
    if (oneloop_add_handler(loop, ac->c.fd, 0, ONELOOP_LEVEL, ONELOOP_REDIS(OneloopReady), e,
                            ONELOOP_REDIS(OneloopGone), &e->handler) < 0) {
        free(e);
        return ONELOOP_REDIS_ERR;
    }
    ac->ev.data = e;
    ac->ev.addRead = ONELOOP_REDIS(OneloopAddRead);
    ac->ev.delRead = ONELOOP_REDIS(OneloopDelRead);
    ac->ev.addWrite = ONELOOP_REDIS(OneloopAddWrite);
    ac->ev.delWrite = ONELOOP_REDIS(OneloopDelWrite);
    ac->ev.cleanup = ONELOOP_REDIS(OneloopCleanup);
#if defined(ONELOOP_VALKEY) || HIREDIS_MAJOR >= 1
    ac->ev.scheduleTimer = ONELOOP_REDIS(OneloopScheduleTimer);
#endif
    return ONELOOP_REDIS_OK;
}

#undef ONELOOP_REDIS
#undef ONELOOP_REDIS_NAME
#undef ONELOOP_REDIS_OK
#undef ONELOOP_REDIS_ERR
#endif
