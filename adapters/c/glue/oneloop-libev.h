/* A oneloop loop inside libev, which drives it: the program's main loop is ev_run().
 *
 *   static void ended(struct oneloop_attached *on, int error) {
 *       if (error)
 *           fprintf(stderr, "%s\n", oneloop_strerror());
 *       ev_break(on->user, EVBREAK_ALL);
 *   }
 *   ...
 *   struct ev_loop *outer = ev_default_loop(0);
 *   if (!oneloop_libev_attach(outer, loop, 0, ended, outer))
 *       fprintf(stderr, "%s\n", oneloop_strerror());
 *   ev_run(outer, 0);
 *
 * libev calls the loop's callbacks from then on, and the loop keeps ev_run() going. Code outside of the
 * loop's callbacks may use the loop as well. A callback of the loop's that runs ev_run() keeps the loop
 * waiting until that returns. oneloop_detach() takes the loop off libev's.
 *
 * Threads: all of it on the thread that runs libev's loop. Other threads may use oneloop_call_soon().
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBEV_H
#define ONELOOP_LIBEV_H

#include <ev.h>
#include <oneloop-attached.h>
#ifdef __linux__
#include <sys/epoll.h>
#include <unistd.h>
#endif

struct oneloop_libev {
    struct oneloop_attached on;
    struct ev_loop *outer;
    ev_io watch;
    ev_timer again;
};

static inline void oneloop_libev_ready(struct ev_loop *outer, ev_io *watch, int events) {
    struct oneloop_attached *on = (struct oneloop_attached *)watch->data;
    (void)outer;
    if (events & EV_ERROR) /* The kernel has refused it, as it does with sets that are nested too deep. */
        on->failed = -EIO;
    oneloop_attached_step(on);
}

static inline void oneloop_libev_due(struct ev_loop *outer, ev_timer *again, int events) {
    (void)outer, (void)events;
    oneloop_attached_step((struct oneloop_attached *)again->data);
}

static inline int oneloop_libev_watch(struct oneloop_attached *on) {
    struct oneloop_libev *it = (struct oneloop_libev *)on;
    ev_io_start(it->outer, &it->watch);
    return 0;
}

static inline void oneloop_libev_unwatch(struct oneloop_attached *on) {
    struct oneloop_libev *it = (struct oneloop_libev *)on;
    ev_io_stop(it->outer, &it->watch);
}

static inline int oneloop_libev_again(struct oneloop_attached *on) {
    struct oneloop_libev *it = (struct oneloop_libev *)on;
    ev_timer_set(&it->again, 0., 0.);
    ev_timer_start(it->outer, &it->again);
    return 0;
}

static inline void oneloop_libev_release(struct oneloop_attached *on) {
    struct oneloop_libev *it = (struct oneloop_libev *)on;
    ev_io_stop(it->outer, &it->watch);
    ev_timer_stop(it->outer, &it->again);
}

/* The kernel refuses sets that are nested more than four deep. libev would abort the process then. */
static inline int oneloop_libev_try(int fd) {
    int result = 0;
#ifdef __linux__
    struct epoll_event event = {EPOLLIN, {0}};
    int outer = epoll_create1(EPOLL_CLOEXEC);
    if (outer < 0 || epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event) < 0)
        result = -errno;
    close(outer);
#endif
    (void)fd;
    return result;
}

/* Has a loop of libev's drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop
 * has another driver or is closed; with ELOOP in errno, if it is nested too deep; or if there is no memory
 * left. */
static inline struct oneloop_attached *
oneloop_libev_attach(struct ev_loop *outer, oneloop_t *loop, uint32_t flags,
                     void (*ended)(struct oneloop_attached *on, int error), void *user) {
    static const struct oneloop_outer functions = {oneloop_libev_watch, oneloop_libev_unwatch,
                                                   oneloop_libev_again, oneloop_libev_release};
    struct oneloop_attached *on =
        oneloop_attached_new(sizeof(struct oneloop_libev), &functions, loop, flags, ended, user);
    struct oneloop_libev *it = (struct oneloop_libev *)on;
    if (!on)
        return NULL;
    it->outer = outer;
    ev_io_init(&it->watch, oneloop_libev_ready, on->fd, EV_READ);
    ev_timer_init(&it->again, oneloop_libev_due, 0., 0.);
    it->watch.data = it->again.data = on;
    return oneloop_attached_begin(on, oneloop_libev_try(on->fd));
}

#endif
