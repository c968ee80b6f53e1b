/* sd-bus (libsystemd) on a oneloop loop.
 *
 *   sd_bus *bus;
 *   sd_bus_open_user(&bus);
 *   struct oneloop_sd_bus *on = oneloop_sd_bus_attach(loop, bus, lost, user);
 *   sd_bus_call_method_async(bus, ...);
 *   ...
 *   oneloop_sd_bus_detach(on);
 *   sd_bus_flush_close_unref(bus);
 *
 * The loop asks it before every sleep for the events and the time that it waits for, so that messages which were read
 * while other code waited for a reply (sd_bus_call) are not forgotten. Code outside of the loop's
 * callbacks, such as a task of its host, calls oneloop_sd_bus_wake after it has used the bus. `lost` is
 * called once if the connection is, or if the loop cannot watch it. Without `lost`, that is reported by
 * oneloop_report_error.
 *
 * Threads: all of it on the thread that drives the loop. Detach once, be that before the loop ends or after.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_SD_BUS_H
#define ONELOOP_SD_BUS_H

#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

struct oneloop_sd_bus {
    oneloop_t *loop;
    sd_bus *bus; /* NULL once it is detached, or lost */
    /* The connection is lost; `error` is a negative errno value. */
    void (*lost)(struct oneloop_sd_bus *on, int error);
    void *user;
    oneloop_id handler, hook;
    int users; /* its owner, the handler and the hook */
    int gone;  /* the loop has ended */
};

static inline void oneloop_sd_bus_release(struct oneloop_sd_bus *on) {
    if (--on->users == 0)
        free(on);
}

/* The handler or the hook is gone: it was detached, or the loop has ended. */
static inline void oneloop_sd_bus_gone(void *user) {
    struct oneloop_sd_bus *on = (struct oneloop_sd_bus *)user;
    on->gone = 1;
    oneloop_sd_bus_release(on);
}

/* Has the loop look at what the bus has to send and has received, and at its timeouts. To be called after
 * code outside of the loop's callbacks has used the bus; inside them it is not needed. */
static inline void oneloop_sd_bus_wake(struct oneloop_sd_bus *on) {
    if (!on->gone)
        oneloop_wake(on->loop);
}

/* Takes it off the loop, also inside callbacks. To be called once. */
static inline void oneloop_sd_bus_detach(struct oneloop_sd_bus *on) {
    on->bus = NULL;
    if (!on->gone) {
        oneloop_remove_handler(on->loop, on->handler);
        oneloop_remove_hook(on->loop, on->hook);
    }
    oneloop_sd_bus_release(on);
}

/* The connection is lost. */
static inline void oneloop_sd_bus_end(struct oneloop_sd_bus *on, int error) {
    on->bus = NULL;
    oneloop_update_handler(on->loop, on->handler, 0);
    if (on->lost)
        on->lost(on, error);
    else
        oneloop_report_error(on->loop, "sd-bus", strerror(-error));
}

/* A message or so; others have their turn in between. */
static inline void oneloop_sd_bus_process(struct oneloop_sd_bus *on) {
    sd_bus *bus = on->bus;
    int result;
    if (!bus)
        return;
    sd_bus_ref(bus); /* until it is left, whatever is called */
    result = sd_bus_process(bus, NULL);
    if (result < 0 && on->bus)
        oneloop_sd_bus_end(on, result);
    sd_bus_unref(bus);
}

/* Nanoseconds until it has something to do of itself. */
static inline int64_t oneloop_sd_bus_delay(struct oneloop_sd_bus *on) {
    struct timespec now;
    uint64_t until, micros;
    if (!on->bus || sd_bus_get_timeout(on->bus, &until) < 0 || until == UINT64_MAX)
        return ONELOOP_NEVER;
    clock_gettime(CLOCK_MONOTONIC, &now);
    micros = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    if (until <= micros)
        return 0;
    return until - micros < INT64_MAX / 1000 ? (int64_t)(until - micros) * 1000 : ONELOOP_NEVER;
}

static inline int oneloop_sd_bus_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                       void *user) {
    (void)loop, (void)id, (void)fd, (void)ready;
    oneloop_sd_bus_process((struct oneloop_sd_bus *)user);
    return ONELOOP_CONTINUE;
}

static inline int64_t oneloop_sd_bus_prepare(oneloop_t *loop, void *user) {
    struct oneloop_sd_bus *on = (struct oneloop_sd_bus *)user;
    int events = on->bus ? sd_bus_get_events(on->bus) : 0, result = 0;
    if (events < 0)
        oneloop_sd_bus_process(on); /* which tells of the error */
    /* For reading always, which does no harm where sd-bus would not: else oneloop_run would find
     * nothing left to wait for while there are messages in its queue. */
    if (on->bus)
        result = oneloop_update_handler(
            loop, on->handler,
            ONELOOP_READABLE | (events > 0 && events & POLLOUT ? ONELOOP_WRITABLE : 0));
    if (result < 0)
        oneloop_sd_bus_end(on, result);
    return oneloop_sd_bus_delay(on);
}

static inline void oneloop_sd_bus_check(oneloop_t *loop, void *user) {
    struct oneloop_sd_bus *on = (struct oneloop_sd_bus *)user;
    (void)loop;
    if (oneloop_sd_bus_delay(on) == 0)
        oneloop_sd_bus_process(on);
}

/* Puts a bus on a loop. NULL if that is not possible. */
static inline struct oneloop_sd_bus *
oneloop_sd_bus_attach(oneloop_t *loop, sd_bus *bus,
                      void (*lost)(struct oneloop_sd_bus *on, int error), void *user) {
    struct oneloop_sd_bus *on = (struct oneloop_sd_bus *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->bus = bus;
    on->lost = lost;
    on->user = user;
    if (oneloop_add_handler(loop, sd_bus_get_fd(bus), ONELOOP_READABLE, ONELOOP_LEVEL,
                            oneloop_sd_bus_ready, on, oneloop_sd_bus_gone, &on->handler) < 0) {
        free(on);
        return NULL;
    }
    on->users = 1;
    if (oneloop_add_hook(loop, oneloop_sd_bus_prepare, oneloop_sd_bus_check, on,
                         oneloop_sd_bus_gone, &on->hook) < 0) {
        oneloop_remove_handler(loop, on->handler);
        return NULL;
    }
    on->users = 3;
    return on;
}

#endif
