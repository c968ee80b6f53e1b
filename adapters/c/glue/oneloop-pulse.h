/* PulseAudio's libpulse on a oneloop loop.
 *
 *   pa_mainloop_api *api = oneloop_pulse_new(loop);
 *   pa_context *context = pa_context_new(api, "my program");
 *   ... all of the asynchronous API ...
 *   pa_context_unref(context);
 *   oneloop_pulse_free(api);
 *
 * A call of the table's quit stops the loop. oneloop_pulse_result() returns its argument.
 *
 * Errors: libpulse's functions for changing an event return nothing. If the loop refuses such a change, that is
 * reported by oneloop_report_error.
 *
 * Threads: all of it on the thread that drives the loop. If the loop ends first, nothing more is called, and
 * context and table are freed as ever.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_PULSE_H
#define ONELOOP_PULSE_H

#include <oneloop.h>
#include <pulse/mainloop-api.h>
#include <stdlib.h>
#include <sys/time.h>

/* The table, and what its functions need. */
struct oneloop_pulse {
    pa_mainloop_api api; /* first, to be found by it */
    oneloop_t *loop;
    int result;
    int users; /* its owner, and each event until it is destroyed */
};

/* The three kinds of events have these to begin with. */
struct oneloop_pulse_event {
    struct oneloop_pulse *pulse;
    oneloop_id id;
    void *user;
    int freed; /* by libpulse */
    int gone;  /* with the loop, or after it was freed */
};

struct pa_io_event {
    struct oneloop_pulse_event base;
    pa_io_event_cb_t callback;
    pa_io_event_destroy_cb_t destroy;
};

struct pa_time_event {
    struct oneloop_pulse_event base;
    pa_time_event_cb_t callback;
    pa_time_event_destroy_cb_t destroy;
    struct timeval time;
};

struct pa_defer_event {
    struct oneloop_pulse_event base;
    pa_defer_event_cb_t callback;
    pa_defer_event_destroy_cb_t destroy;
};

static inline void oneloop_pulse_release(struct oneloop_pulse *pulse) {
    if (--pulse->users == 0)
        free(pulse);
}

static inline struct oneloop_pulse_event *oneloop_pulse_alloc(pa_mainloop_api *api, size_t size,
                                                              void *user) {
    struct oneloop_pulse_event *event = (struct oneloop_pulse_event *)calloc(1, size);
    if (event) {
        event->pulse = (struct oneloop_pulse *)api;
        event->user = user;
    }
    return event;
}

/* Returns the event if it was registered, or NULL. */
static inline void *oneloop_pulse_made(struct oneloop_pulse_event *event, int result) {
    if (result < 0) {
        free(event);
        return NULL;
    }
    event->pulse->users++;
    return event;
}

static inline void oneloop_pulse_changed(struct oneloop_pulse_event *event, int result) {
    if (result < 0)
        oneloop_report_error(event->pulse->loop, "PulseAudio", oneloop_strerror());
}

/* Descriptors. */

static inline uint32_t oneloop_pulse_interest(pa_io_event_flags_t flags) {
    uint32_t interest = (flags & PA_IO_EVENT_INPUT ? ONELOOP_READABLE : 0) |
                        (flags & PA_IO_EVENT_OUTPUT ? ONELOOP_WRITABLE : 0);
    /* Every handler that waits for anything is told of hang-ups and errors. kqueue cannot report them alone. */
#ifdef __linux__
    if (!interest && flags != PA_IO_EVENT_NULL)
        return ONELOOP_PRIORITY;
#endif
    return interest;
}

static inline int oneloop_pulse_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                      void *user) {
    struct pa_io_event *event = (struct pa_io_event *)user;
    int flags = (ready & ONELOOP_READABLE ? PA_IO_EVENT_INPUT : 0) |
                (ready & ONELOOP_WRITABLE ? PA_IO_EVENT_OUTPUT : 0) |
                (ready & ONELOOP_HANGUP ? PA_IO_EVENT_HANGUP : 0) |
                (ready & ONELOOP_ERROR ? PA_IO_EVENT_ERROR : 0);
    (void)loop, (void)id;
    if (flags)
        event->callback(&event->base.pulse->api, event, fd, (pa_io_event_flags_t)flags,
                        event->base.user);
    return ONELOOP_CONTINUE;
}

static inline void oneloop_pulse_io_end(struct pa_io_event *event) {
    struct oneloop_pulse *pulse = event->base.pulse;
    if (!event->base.freed || !event->base.gone)
        return;
    if (event->destroy)
        event->destroy(&pulse->api, event, event->base.user);
    free(event);
    oneloop_pulse_release(pulse);
}

static inline void oneloop_pulse_io_destroy(void *user) {
    struct pa_io_event *event = (struct pa_io_event *)user;
    event->base.gone = 1;
    oneloop_pulse_io_end(event);
}

static inline pa_io_event *oneloop_pulse_io_new(pa_mainloop_api *api, int fd,
                                                pa_io_event_flags_t flags,
                                                pa_io_event_cb_t callback, void *user) {
    struct pa_io_event *event =
        (struct pa_io_event *)oneloop_pulse_alloc(api, sizeof *event, user);
    if (!event)
        return NULL;
    event->callback = callback;
    return (pa_io_event *)oneloop_pulse_made(
        &event->base, oneloop_add_handler(event->base.pulse->loop, fd,
                                          oneloop_pulse_interest(flags), ONELOOP_LEVEL,
                                          oneloop_pulse_ready, event, oneloop_pulse_io_destroy,
                                          &event->base.id));
}

static inline void oneloop_pulse_io_enable(pa_io_event *event, pa_io_event_flags_t flags) {
    if (!event->base.gone)
        oneloop_pulse_changed(&event->base,
                              oneloop_update_handler(event->base.pulse->loop, event->base.id,
                                                     oneloop_pulse_interest(flags)));
}

static inline void oneloop_pulse_io_free(pa_io_event *event) {
    event->base.freed = 1;
    if (!event->base.gone)
        oneloop_remove_handler(event->base.pulse->loop, event->base.id);
    oneloop_pulse_io_end(event);
}

static inline void oneloop_pulse_io_set_destroy(pa_io_event *event,
                                                pa_io_event_destroy_cb_t destroy) {
    event->destroy = destroy;
}

/* Times: of the system clock, or, marked by a bit, of the monotonic one. NULL is never. */

#define ONELOOP_PULSE_MONOTONIC (1L << 30)

static inline void oneloop_pulse_time_restart(pa_time_event *event, const struct timeval *time) {
    oneloop_t *loop = event->base.pulse->loop;
    int64_t micros;
    if (event->base.gone)
        return;
    if (!time) {
        oneloop_reset_timer(loop, event->base.id, ONELOOP_NEVER);
        return;
    }
    event->time = *time;
    micros = time->tv_usec & ~ONELOOP_PULSE_MONOTONIC; /* which may be a second and more */
    oneloop_pulse_changed(
        &event->base,
        oneloop_reset_timer_at(
            loop, event->base.id,
            time->tv_usec & ONELOOP_PULSE_MONOTONIC ? ONELOOP_MONOTONIC : ONELOOP_REALTIME,
            (int64_t)time->tv_sec + micros / 1000000, micros % 1000000 * 1000));
}

static inline void oneloop_pulse_due(oneloop_t *loop, oneloop_id id, void *user) {
    struct pa_time_event *event = (struct pa_time_event *)user;
    struct timeval time = event->time;
    (void)loop, (void)id;
    event->callback(&event->base.pulse->api, event, &time, event->base.user);
}

static inline void oneloop_pulse_time_end(struct pa_time_event *event) {
    struct oneloop_pulse *pulse = event->base.pulse;
    if (!event->base.freed || !event->base.gone)
        return;
    if (event->destroy)
        event->destroy(&pulse->api, event, event->base.user);
    free(event);
    oneloop_pulse_release(pulse);
}

static inline void oneloop_pulse_time_destroy(void *user) {
    struct pa_time_event *event = (struct pa_time_event *)user;
    event->base.gone = 1;
    oneloop_pulse_time_end(event);
}

static inline pa_time_event *oneloop_pulse_time_new(pa_mainloop_api *api,
                                                    const struct timeval *time,
                                                    pa_time_event_cb_t callback, void *user) {
    struct pa_time_event *event =
        (struct pa_time_event *)oneloop_pulse_alloc(api, sizeof *event, user);
    if (!event)
        return NULL;
    event->callback = callback;
    event = (struct pa_time_event *)oneloop_pulse_made(
        &event->base,
        oneloop_add_timer(event->base.pulse->loop, ONELOOP_NEVER, 0, oneloop_pulse_due, event,
                          oneloop_pulse_time_destroy, &event->base.id));
    if (event)
        oneloop_pulse_time_restart(event, time);
    return event;
}

static inline void oneloop_pulse_time_free(pa_time_event *event) {
    event->base.freed = 1;
    if (!event->base.gone)
        oneloop_cancel_timer(event->base.pulse->loop, event->base.id);
    oneloop_pulse_time_end(event);
}

static inline void oneloop_pulse_time_set_destroy(pa_time_event *event,
                                                  pa_time_event_destroy_cb_t destroy) {
    event->destroy = destroy;
}

/* Called in every turn while they are enabled. */

static inline int oneloop_pulse_deferred(oneloop_t *loop, oneloop_id id, void *user) {
    struct pa_defer_event *event = (struct pa_defer_event *)user;
    (void)loop, (void)id;
    event->callback(&event->base.pulse->api, event, event->base.user);
    return ONELOOP_CONTINUE;
}

static inline void oneloop_pulse_defer_end(struct pa_defer_event *event) {
    struct oneloop_pulse *pulse = event->base.pulse;
    if (!event->base.freed || !event->base.gone)
        return;
    if (event->destroy)
        event->destroy(&pulse->api, event, event->base.user);
    free(event);
    oneloop_pulse_release(pulse);
}

static inline void oneloop_pulse_defer_destroy(void *user) {
    struct pa_defer_event *event = (struct pa_defer_event *)user;
    event->base.gone = 1;
    oneloop_pulse_defer_end(event);
}

static inline pa_defer_event *oneloop_pulse_defer_new(pa_mainloop_api *api,
                                                      pa_defer_event_cb_t callback, void *user) {
    struct pa_defer_event *event =
        (struct pa_defer_event *)oneloop_pulse_alloc(api, sizeof *event, user);
    if (!event)
        return NULL;
    event->callback = callback;
    return (pa_defer_event *)oneloop_pulse_made(
        &event->base,
        oneloop_add_deferred(event->base.pulse->loop, oneloop_pulse_deferred, event,
                             oneloop_pulse_defer_destroy, &event->base.id));
}

static inline void oneloop_pulse_defer_enable(pa_defer_event *event, int on) {
    if (!event->base.gone)
        oneloop_enable(event->base.pulse->loop, event->base.id, on != 0);
}

static inline void oneloop_pulse_defer_free(pa_defer_event *event) {
    event->base.freed = 1;
    if (!event->base.gone)
        oneloop_remove_handler(event->base.pulse->loop, event->base.id);
    oneloop_pulse_defer_end(event);
}

static inline void oneloop_pulse_defer_set_destroy(pa_defer_event *event,
                                                   pa_defer_event_destroy_cb_t destroy) {
    event->destroy = destroy;
}

static inline void oneloop_pulse_quit(pa_mainloop_api *api, int result) {
    struct oneloop_pulse *pulse = (struct oneloop_pulse *)api;
    pulse->result = result;
    oneloop_stop(pulse->loop);
}

/* Returns the argument of the call to quit. */
static inline int oneloop_pulse_result(pa_mainloop_api *api) {
    return ((struct oneloop_pulse *)api)->result;
}

/* Gives the table up. Events that are left keep it until they are freed. */
static inline void oneloop_pulse_free(pa_mainloop_api *api) {
    oneloop_pulse_release((struct oneloop_pulse *)api);
}

/* A table for a loop. NULL if there is no memory. */
static inline pa_mainloop_api *oneloop_pulse_new(oneloop_t *loop) {
    struct oneloop_pulse *pulse = (struct oneloop_pulse *)calloc(1, sizeof *pulse);
    pa_mainloop_api *api;
    if (!pulse)
        return NULL;
    pulse->loop = loop;
    pulse->users = 1;
    api = &pulse->api;
    api->userdata = pulse;
    api->io_new = oneloop_pulse_io_new;
    api->io_enable = oneloop_pulse_io_enable;
    api->io_free = oneloop_pulse_io_free;
    api->io_set_destroy = oneloop_pulse_io_set_destroy;
    api->time_new = oneloop_pulse_time_new;
    api->time_restart = oneloop_pulse_time_restart;
    api->time_free = oneloop_pulse_time_free;
    api->time_set_destroy = oneloop_pulse_time_set_destroy;
    api->defer_new = oneloop_pulse_defer_new;
    api->defer_enable = oneloop_pulse_defer_enable;
    api->defer_free = oneloop_pulse_defer_free;
    api->defer_set_destroy = oneloop_pulse_defer_set_destroy;
    api->quit = oneloop_pulse_quit;
    return api;
}

#endif
