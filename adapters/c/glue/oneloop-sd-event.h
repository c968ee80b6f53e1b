/* sd-event and a oneloop loop on one thread, either inside the other.
 *
 * sd-event drives the loop. The program's main loop is sd_event_loop():
 *
 *   static void ended(struct oneloop_sd_event *on, int error) {
 *       sd_event_exit(on->event, error);
 *   }
 *   ...
 *   if (!oneloop_sd_event_attach(event, loop, 0, ended, NULL))
 *       fprintf(stderr, "%s\n", oneloop_strerror());
 *   sd_event_loop(event);
 *
 * The loop, or its host, drives sd-event. Nothing else may run the event loop meanwhile:
 *
 *   oneloop_id id;
 *   oneloop_sd_event_add_guest(loop, event, &id);
 *   oneloop_run(loop);
 *
 * The guest keeps oneloop_run() going until sd_event_exit(). Code outside of the loop's callbacks, such as a
 * task of its host, calls oneloop_wake() after it has added a source to the guest, or has changed one.
 *
 * Threads: all of it on the thread that drives. Other threads may use oneloop_call_soon().
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_SD_EVENT_H
#define ONELOOP_SD_EVENT_H

#include <errno.h>
#include <oneloop.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

struct oneloop_sd_event {
    oneloop_t *loop;
    sd_event *event;
    void *user;
    /* Called once, unless it was detached before: 0 after oneloop_stop(), or a negative errno, for which
     * oneloop_strerror() has the text. Another driver can continue from there. The struct is freed
     * afterwards. */
    void (*ended)(struct oneloop_sd_event *on, int error);
    /* Private. */
    sd_event_source *watch, *again;
    int watching, stepping, detached;
};

static inline void oneloop_sd_event_finish(struct oneloop_sd_event *on, int error) {
    sd_event_source_set_enabled(on->watch, SD_EVENT_OFF);
    sd_event_source_unref(on->watch);
    sd_event_source_set_enabled(on->again, SD_EVENT_OFF);
    sd_event_source_unref(on->again);
    oneloop_host_end(on->loop);
    if (!on->detached && on->ended)
        on->ended(on, error);
    oneloop_free(on->loop);
    sd_event_unref(on->event);
    free(on);
}

static inline int oneloop_sd_event_again(sd_event_source *source, void *user) {
    struct oneloop_sd_event *on = (struct oneloop_sd_event *)user;
    int step, result = 0;
    (void)source;
    on->stepping = 1;
    do {
        step = oneloop_step(on->loop, 100);
        if (on->detached)
            break;
        if (step == ONELOOP_STEP_WATCH || step == ONELOOP_STEP_UNWATCH) {
            on->watching = step == ONELOOP_STEP_WATCH;
            result = sd_event_source_set_enabled(on->watch, on->watching ? SD_EVENT_ON : SD_EVENT_OFF);
        } else if (step == ONELOOP_STEP_YIELD && !on->watching) {
            result = sd_event_source_set_enabled(on->again, SD_EVENT_ONESHOT);
        }
    } while (result >= 0 && (step == ONELOOP_STEP_WATCH || step == ONELOOP_STEP_UNWATCH));
    on->stepping = 0;
    if (result < 0)
        step = result;
    if (on->detached || step < 0 || step == ONELOOP_STEP_DONE)
        oneloop_sd_event_finish(on, step < 0 ? step : 0);
    return 0;
}

static inline int oneloop_sd_event_ready(sd_event_source *source, int fd, uint32_t ready, void *user) {
    (void)fd, (void)ready;
    return oneloop_sd_event_again(source, user);
}

/* Takes the loop off sd-event, also inside a callback. `ended` is not called. Not to be called after `ended`.
 * */
static inline void oneloop_sd_event_detach(struct oneloop_sd_event *on) {
    on->detached = 1;
    if (!on->stepping)
        oneloop_sd_event_finish(on, 0);
}

/* Has sd-event drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop has
 * another driver or is closed; with ELOOP in errno, if it is nested too deep; or if there is no memory left.
 * */
static inline struct oneloop_sd_event *
oneloop_sd_event_attach(sd_event *event, oneloop_t *loop, uint32_t flags,
                        void (*ended)(struct oneloop_sd_event *on, int error), void *user) {
    struct oneloop_sd_event *on = (struct oneloop_sd_event *)calloc(1, sizeof *on);
    int fd = oneloop_host_begin(loop, flags);
    int result = 0;
    if (!on || fd < 0)
        goto failed;
    on->loop = loop;
    on->ended = ended;
    on->user = user;
    result = sd_event_add_defer(event, &on->again, oneloop_sd_event_again, on);
    if (result >= 0)
        result = sd_event_add_io(event, &on->watch, fd, EPOLLIN, oneloop_sd_event_ready, on);
    if (result >= 0)
        result = sd_event_source_set_enabled(on->watch, SD_EVENT_OFF);
    if (result < 0)
        goto failed;
    on->event = sd_event_ref(event);
    oneloop_hold(loop);
    return on;
failed:
    if (on) {
        sd_event_source_unref(on->watch);
        sd_event_source_unref(on->again);
    }
    if (fd >= 0)
        oneloop_host_end(loop);
    free(on);
    if (result < 0)
        errno = -result;
    return NULL;
}

static inline int oneloop_sd_event_list(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout,
                                        void *user) {
    sd_event *event = (sd_event *)user;
    (void)loop, (void)room;
    /* A source that was added since the last look is only noticed by another. */
    if (sd_event_get_state(event) == SD_EVENT_ARMED)
        sd_event_wait(event, 0);
    if (sd_event_get_state(event) == SD_EVENT_INITIAL)
        sd_event_prepare(event); /* Arms its timers, which the descriptor shows. */
    if (sd_event_get_state(event) == SD_EVENT_FINISHED)
        return 0;
    if (sd_event_get_state(event) == SD_EVENT_PENDING)
        *timeout = 0;
    fds[0].fd = sd_event_get_fd(event);
    fds[0].events = POLLIN;
    return 1;
}

/* Dispatches one source, so that the loop hears of oneloop_stop() in between. */
static inline void oneloop_sd_event_turn(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    sd_event *event = (sd_event *)user;
    (void)loop, (void)fds, (void)count;
    if (sd_event_get_state(event) == SD_EVENT_ARMED)
        sd_event_wait(event, 0);
    if (sd_event_get_state(event) == SD_EVENT_PENDING)
        sd_event_dispatch(event);
}

static inline void oneloop_sd_event_gone(void *user) { sd_event_unref((sd_event *)user); }

/* Has a loop drive sd-event, until oneloop_remove_pollset() with the id. Returns a negative errno if the loop
 * is closed. After the removal, sd_event_dispatch() comes first if sd_event_get_state() is SD_EVENT_PENDING,
 * and sd_event_wait() if it is SD_EVENT_ARMED. */
static inline int oneloop_sd_event_add_guest(oneloop_t *loop, sd_event *event, oneloop_id *id) {
    int result = oneloop_add_pollset(loop, oneloop_sd_event_list, oneloop_sd_event_turn,
                                     sd_event_ref(event), oneloop_sd_event_gone, id);
    if (result < 0)
        sd_event_unref(event);
    return result;
}

#endif
