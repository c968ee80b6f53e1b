/* A oneloop loop inside libevent, which drives it: the program's main loop is event_base_dispatch().
 *
 *   static void ended(struct oneloop_libevent *on, int error) {
 *       if (error)
 *           fprintf(stderr, "%s\n", oneloop_strerror());
 *       event_base_loopbreak(on->user);
 *   }
 *   ...
 *   if (!oneloop_libevent_attach(base, loop, 0, ended, base))
 *       fprintf(stderr, "%s\n", oneloop_strerror());
 *   event_base_dispatch(base);
 *
 * The base calls the loop's callbacks from then on, and the loop keeps event_base_dispatch() going. Code
 * outside of the loop's callbacks may use the loop as well.
 *
 * Threads: all of it on the thread that runs the base. A base without evthread_use_pthreads() is enough, also
 * for oneloop_call_soon() from other threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBEVENT_H
#define ONELOOP_LIBEVENT_H

#include <errno.h>
#include <event2/event.h>
#include <oneloop.h>
#include <stdlib.h>

struct oneloop_libevent {
    oneloop_t *loop;
    void *user;
    /* Called once, unless it was detached before: 0 after oneloop_stop(), or a negative errno, for which
     * oneloop_strerror() has the text. Another driver can continue from there. The struct is freed
     * afterwards. */
    void (*ended)(struct oneloop_libevent *on, int error);
    /* Private. */
    struct event *watch, *again;
    int watching, stepping, detached;
};

static inline void oneloop_libevent_finish(struct oneloop_libevent *on, int error) {
    event_free(on->watch);
    event_free(on->again);
    oneloop_host_end(on->loop);
    if (!on->detached && on->ended)
        on->ended(on, error);
    oneloop_free(on->loop);
    free(on);
}

/* Steps once more, after the base has looked at its other events. */
static inline int oneloop_libevent_call_again(struct oneloop_libevent *on) {
    struct timeval now = {0, 0};
    return event_add(on->again, &now);
}

static inline void oneloop_libevent_step(evutil_socket_t fd, short what, void *user) {
    struct oneloop_libevent *on = (struct oneloop_libevent *)user;
    int step, failed = 0;
    (void)fd, (void)what;
    on->stepping = 1;
    do {
        step = oneloop_step(on->loop, 100);
        if (step == ONELOOP_STEP_WATCH && !on->detached) {
            failed = event_add(on->watch, NULL);
            on->watching = 1;
        }
    } while (step == ONELOOP_STEP_WATCH && !failed && !on->detached);
    on->stepping = 0;
    if (step == ONELOOP_STEP_UNWATCH) {
        event_del(on->watch);
        on->watching = 0;
    }
    /* A base with a list of changes tells the kernel of the removal only when it waits. So the next step is
     * after that. */
    if (!failed && (step == ONELOOP_STEP_UNWATCH || (step == ONELOOP_STEP_YIELD && !on->watching)))
        failed = oneloop_libevent_call_again(on);
    if (failed)
        step = errno ? -errno : -EIO;
    if (on->detached || step < 0 || step == ONELOOP_STEP_DONE)
        oneloop_libevent_finish(on, step < 0 ? step : 0);
}

/* Takes the loop off the base, also inside a callback. `ended` is not called. To be called before
 * event_base_free(), and not after `ended`. */
static inline void oneloop_libevent_detach(struct oneloop_libevent *on) {
    on->detached = 1;
    if (!on->stepping)
        oneloop_libevent_finish(on, 0);
}

/* Has the base drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop has
 * another driver or is closed, or if there is no memory left. */
static inline struct oneloop_libevent *
oneloop_libevent_attach(struct event_base *base, oneloop_t *loop, uint32_t flags,
                        void (*ended)(struct oneloop_libevent *on, int error), void *user) {
    struct oneloop_libevent *on = (struct oneloop_libevent *)calloc(1, sizeof *on);
    int fd = oneloop_host_begin(loop, flags);
    if (!on || fd < 0) {
        if (fd >= 0)
            oneloop_host_end(loop);
        free(on);
        return NULL;
    }
    on->loop = oneloop_hold(loop);
    on->ended = ended;
    on->user = user;
    on->watch = event_new(base, fd, EV_READ | EV_PERSIST, oneloop_libevent_step, on);
    on->again = event_new(base, -1, 0, oneloop_libevent_step, on);
    if (!on->watch || !on->again || oneloop_libevent_call_again(on) < 0) {
        if (on->watch)
            event_free(on->watch);
        if (on->again)
            event_free(on->again);
        oneloop_host_end(loop);
        oneloop_free(loop);
        free(on);
        return NULL;
    }
    return on;
}

#endif
