/* A oneloop loop inside libevent, which drives it: the program's main loop is event_base_dispatch().
 *
 *   static void ended(struct oneloop_attached *on, int error) {
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
 * outside of the loop's callbacks may use the loop as well. oneloop_detach() takes the loop off the base.
 *
 * Threads: all of it on the thread that runs the base. A base without evthread_use_pthreads() is enough, also
 * for oneloop_call_soon() from other threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBEVENT_H
#define ONELOOP_LIBEVENT_H

#include <event2/event.h>
#include <oneloop-attached.h>

struct oneloop_libevent {
    struct oneloop_attached on;
    struct event *watch, *again;
};

static inline void oneloop_libevent_ready(evutil_socket_t fd, short what, void *on) {
    (void)fd, (void)what;
    oneloop_attached_step((struct oneloop_attached *)on);
}

static inline int oneloop_libevent_add(struct event *event, const struct timeval *timeout) {
    errno = 0;
    if (event_add(event, timeout) == 0)
        return 0;
    return errno ? -errno : -EIO;
}

static inline int oneloop_libevent_watch(struct oneloop_attached *on) {
    return oneloop_libevent_add(((struct oneloop_libevent *)on)->watch, NULL);
}

static inline void oneloop_libevent_unwatch(struct oneloop_attached *on) {
    event_del(((struct oneloop_libevent *)on)->watch);
}

static inline int oneloop_libevent_again(struct oneloop_attached *on) {
    struct timeval now = {0, 0};
    return oneloop_libevent_add(((struct oneloop_libevent *)on)->again, &now);
}

static inline void oneloop_libevent_release(struct oneloop_attached *on) {
    struct oneloop_libevent *it = (struct oneloop_libevent *)on;
    if (it->watch)
        event_free(it->watch);
    if (it->again)
        event_free(it->again);
}

/* Has the base drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop has
 * another driver or is closed, or if there is no memory left. */
static inline struct oneloop_attached *
oneloop_libevent_attach(struct event_base *base, oneloop_t *loop, uint32_t flags,
                        void (*ended)(struct oneloop_attached *on, int error), void *user) {
    static const struct oneloop_outer outer = {oneloop_libevent_watch, oneloop_libevent_unwatch,
                                               oneloop_libevent_again, oneloop_libevent_release};
    struct oneloop_attached *on =
        oneloop_attached_new(sizeof(struct oneloop_libevent), &outer, loop, flags, ended, user);
    struct oneloop_libevent *it = (struct oneloop_libevent *)on;
    if (!on)
        return NULL;
    it->watch = event_new(base, on->fd, EV_READ | EV_PERSIST, oneloop_libevent_ready, on);
    it->again = event_new(base, -1, 0, oneloop_libevent_ready, on);
    return oneloop_attached_begin(on, it->watch && it->again ? 0 : -ENOMEM);
}

#endif
