/* A oneloop loop inside libev, which drives it: the program's main loop is ev_run().
 *
 *   static void ended(struct oneloop_libev *on, int error) {
 *       if (error)
 *           fprintf(stderr, "%s\n", oneloop_strerror());
 *       ev_break(on->outer, EVBREAK_ALL);
 *   }
 *   ...
 *   struct ev_loop *outer = ev_default_loop(0);
 *   if (!oneloop_libev_attach(outer, loop, 0, ended, NULL))
 *       fprintf(stderr, "%s\n", oneloop_strerror());
 *   ev_run(outer, 0);
 *
 * libev calls the loop's callbacks from then on, and the loop keeps ev_run() going. Code outside of the
 * loop's callbacks may use the loop as well. A callback of the loop's that runs ev_run() keeps the loop
 * waiting until that returns.
 *
 * Threads: all of it on the thread that runs libev's loop. Other threads may use oneloop_call_soon().
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBEV_H
#define ONELOOP_LIBEV_H

#include <errno.h>
#include <ev.h>
#include <oneloop.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/epoll.h>
#include <unistd.h>
#endif

struct oneloop_libev {
    oneloop_t *loop;
    struct ev_loop *outer;
    void *user;
    /* Called once, unless it was detached before: 0 after oneloop_stop(), or a negative errno. If a step
     * has failed, oneloop_strerror() has the text. Another driver can continue from there. The struct is freed
     * afterwards. */
    void (*ended)(struct oneloop_libev *on, int error);
    /* Private. */
    ev_io watch;
    ev_timer again;
    int stepping, detached;
};

static inline void oneloop_libev_finish(struct oneloop_libev *on, int error) {
    ev_io_stop(on->outer, &on->watch);
    ev_timer_stop(on->outer, &on->again);
    oneloop_host_end(on->loop);
    if (!on->detached && on->ended)
        on->ended(on, error);
    oneloop_free(on->loop);
    free(on);
}

static inline void oneloop_libev_step(struct oneloop_libev *on) {
    int step;
    if (on->stepping) /* A callback of the loop's runs libev. */
        return;
    on->stepping = 1;
    while ((step = oneloop_step(on->loop, 100)) == ONELOOP_STEP_WATCH && !on->detached)
        ev_io_start(on->outer, &on->watch);
    on->stepping = 0;
    if (on->detached || step < 0 || step == ONELOOP_STEP_DONE) {
        oneloop_libev_finish(on, step < 0 ? step : 0);
        return;
    }
    if (step == ONELOOP_STEP_UNWATCH)
        ev_io_stop(on->outer, &on->watch);
    /* libev tells the kernel of changes only before it waits. So the step after a removal is after that. */
    if (step != ONELOOP_STEP_SLEEP && !ev_is_active(&on->watch)) {
        ev_timer_set(&on->again, 0., 0.);
        ev_timer_start(on->outer, &on->again);
    }
}

static inline void oneloop_libev_ready(struct ev_loop *outer, ev_io *watch, int events) {
    struct oneloop_libev *on = (struct oneloop_libev *)watch->data;
    (void)outer;
    if (events & EV_ERROR) /* The kernel has refused it, as it does with sets that are nested too deep. */
        oneloop_libev_finish(on, -EIO);
    else
        oneloop_libev_step(on);
}

static inline void oneloop_libev_again(struct ev_loop *outer, ev_timer *again, int events) {
    (void)outer, (void)events;
    oneloop_libev_step((struct oneloop_libev *)again->data);
}

/* Takes the loop off libev's, also inside a callback. `ended` is not called. To be called before
 * ev_loop_destroy(), and not after `ended`. */
static inline void oneloop_libev_detach(struct oneloop_libev *on) {
    on->detached = 1;
    if (!on->stepping)
        oneloop_libev_finish(on, 0);
}

/* The kernel refuses sets that are nested more than four deep. libev would abort the process then. */
static inline int oneloop_libev_is_refused(int fd) {
    int refused = 0;
#ifdef __linux__
    struct epoll_event event = {EPOLLIN, {0}};
    int error, outer = epoll_create1(EPOLL_CLOEXEC);
    refused = outer < 0 || epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event) < 0;
    error = errno;
    close(outer);
    errno = error;
#endif
    return refused || fd < 0;
}

/* Has a loop of libev's drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop
 * has another driver or is closed; with ELOOP in errno, if it is nested too deep; or if there is no memory
 * left. */
static inline struct oneloop_libev *
oneloop_libev_attach(struct ev_loop *outer, oneloop_t *loop, uint32_t flags,
                     void (*ended)(struct oneloop_libev *on, int error), void *user) {
    struct oneloop_libev *on = (struct oneloop_libev *)calloc(1, sizeof *on);
    int fd = oneloop_host_begin(loop, flags);
    if (!on || oneloop_libev_is_refused(fd)) {
        if (fd >= 0)
            oneloop_host_end(loop);
        free(on);
        return NULL;
    }
    on->loop = oneloop_hold(loop);
    on->outer = outer;
    on->ended = ended;
    on->user = user;
    ev_io_init(&on->watch, oneloop_libev_ready, fd, EV_READ);
    ev_timer_init(&on->again, oneloop_libev_again, 0., 0.);
    on->watch.data = on->again.data = on;
    ev_timer_start(outer, &on->again);
    return on;
}

#endif
