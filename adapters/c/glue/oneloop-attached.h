/* A oneloop loop that is attached to another loop, which drives it. The headers for those loops share this:
 * oneloop-libevent.h, oneloop-libev.h, oneloop-sd-event.h and oneloop-qt.h. Each of them has a function that attaches.
 *
 * A header for another loop needs a struct that begins with `struct oneloop_attached`, the four functions of
 * `struct oneloop_outer`, and a function that attaches. oneloop-libevent.h is an example.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_ATTACHED_H
#define ONELOOP_ATTACHED_H

#include <errno.h>
#include <oneloop.h>
#include <stdlib.h>

struct oneloop_attached {
    oneloop_t *loop;
    void *user;
    /* Called once, unless it was detached before: 0 after oneloop_stop(), or a negative errno. If a step has failed,
     * oneloop_strerror() has the text. Another driver can continue from there. The struct is freed afterwards. */
    void (*ended)(struct oneloop_attached *on, int error);
    /* For the header of the outer loop. */
    int fd, failed;
    /* Private. */
    const struct oneloop_outer *outer;
    int watching, stepping, paused, detached;
};

/* The functions of an outer loop. Those with a result return 0 or a negative errno. */
struct oneloop_outer {
    /* Watches `fd` for reading, and calls oneloop_attached_step() whenever it is readable. */
    int (*watch)(struct oneloop_attached *on);
    /* Stops watching, also if it does not watch. */
    void (*unwatch)(struct oneloop_attached *on);
    /* Calls oneloop_attached_step() once, after a look at the outer loop's other events. */
    int (*again)(struct oneloop_attached *on);
    /* Stops both, and frees all but the struct. May be called inside oneloop_attached_step(). */
    void (*release)(struct oneloop_attached *on);
};

/* Private. */
static inline void oneloop_attached_finish(struct oneloop_attached *on, int error) {
    on->outer->release(on);
    oneloop_host_end(on->loop);
    if (!on->detached && on->ended)
        on->ended(on, error);
    oneloop_free(on->loop);
    free(on);
}

/* Takes the loop off the outer loop, also inside a callback. `ended` is not called. To be called before the outer
 * loop is freed, and not after `ended`. */
static inline void oneloop_detach(struct oneloop_attached *on) {
    on->detached = 1;
    if (!on->stepping)
        oneloop_attached_finish(on, 0);
}

/* Drives the loop for a while. An outer loop that cannot watch the descriptor any more sets `failed` before. */
static inline void oneloop_attached_step(struct oneloop_attached *on) {
    int step = ONELOOP_STEP_SLEEP;
    if (on->stepping) { /* A callback of the loop's runs the outer loop, which would call again and again. */
        on->outer->unwatch(on);
        on->paused = 1;
        return;
    }
    on->stepping = 1;
    while (!on->failed && !on->detached && (step = oneloop_step(on->loop, 100)) == ONELOOP_STEP_WATCH) {
        on->watching = 1;
        on->failed = on->outer->watch(on);
    }
    on->stepping = 0;
    if (step == ONELOOP_STEP_UNWATCH) {
        on->outer->unwatch(on);
        on->watching = 0;
    } else if (on->paused && on->watching && !on->failed) {
        on->failed = on->outer->watch(on);
    }
    on->paused = 0;
    /* Some loops tell the kernel of a removal only when they wait. So the next step is after that. */
    if (!on->watching && (step == ONELOOP_STEP_UNWATCH || step == ONELOOP_STEP_YIELD))
        on->failed = on->outer->again(on);
    if (on->failed)
        step = on->failed;
    if (on->detached || step < 0 || step == ONELOOP_STEP_DONE)
        oneloop_attached_finish(on, step < 0 ? step : 0);
}

/* Makes a struct of `size` bytes, which begins with `struct oneloop_attached`. Returns NULL if the loop has another
 * driver or is closed, or if there is no memory left. */
static inline struct oneloop_attached *
oneloop_attached_new(size_t size, const struct oneloop_outer *outer, oneloop_t *loop, uint32_t flags,
                     void (*ended)(struct oneloop_attached *on, int error), void *user) {
    struct oneloop_attached *on = (struct oneloop_attached *)calloc(1, size);
    int fd = on ? oneloop_host_begin(loop, flags) : -1;
    if (fd < 0) {
        free(on);
        return NULL;
    }
    on->loop = oneloop_hold(loop);
    on->user = user;
    on->ended = ended;
    on->fd = fd;
    on->outer = outer;
    return on;
}

/* Has the outer loop take the first step. Frees the struct and returns NULL, with the reason in errno, if that
 * fails, or if `result` is a negative errno. */
static inline struct oneloop_attached *oneloop_attached_begin(struct oneloop_attached *on, int result) {
    if (result >= 0)
        result = on->outer->again(on);
    if (result >= 0)
        return on;
    on->detached = 1;
    oneloop_attached_finish(on, 0);
    errno = -result;
    return NULL;
}

#endif
