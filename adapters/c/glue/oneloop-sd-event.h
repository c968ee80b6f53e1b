/* sd-event and a oneloop loop on one thread, either inside the other.
 *
 * sd-event drives the loop. The program's main loop is sd_event_loop():
 *
 *   static void ended(struct oneloop_attached *on, int error) {
 *       sd_event_exit(on->user, error);
 *   }
 *   ...
 *   if (!oneloop_sd_event_attach(event, loop, 0, ended, event))
 *       fprintf(stderr, "%s\n", oneloop_strerror());
 *   sd_event_loop(event);
 *
 * oneloop_detach() takes the loop off sd-event.
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

#include <oneloop-attached.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

struct oneloop_sd_event {
    struct oneloop_attached on;
    sd_event_source *watch, *again;
};

static inline int oneloop_sd_event_due(sd_event_source *again, void *on) {
    (void)again;
    oneloop_attached_step((struct oneloop_attached *)on);
    return 0;
}

static inline int oneloop_sd_event_ready(sd_event_source *watch, int fd, uint32_t ready, void *on) {
    (void)fd, (void)ready;
    return oneloop_sd_event_due(watch, on);
}

static inline int oneloop_sd_event_watch(struct oneloop_attached *on) {
    return sd_event_source_set_enabled(((struct oneloop_sd_event *)on)->watch, SD_EVENT_ON);
}

static inline void oneloop_sd_event_unwatch(struct oneloop_attached *on) {
    sd_event_source_set_enabled(((struct oneloop_sd_event *)on)->watch, SD_EVENT_OFF);
}

static inline int oneloop_sd_event_again(struct oneloop_attached *on) {
    return sd_event_source_set_enabled(((struct oneloop_sd_event *)on)->again, SD_EVENT_ONESHOT);
}

static inline void oneloop_sd_event_release(struct oneloop_attached *on) {
    struct oneloop_sd_event *it = (struct oneloop_sd_event *)on;
    sd_event_source_disable_unref(it->watch);
    sd_event_source_disable_unref(it->again);
}

/* Has sd-event drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop has
 * another driver or is closed; with ELOOP in errno, if it is nested too deep; or if there is no memory left.
 * */
static inline struct oneloop_attached *
oneloop_sd_event_attach(sd_event *event, oneloop_t *loop, uint32_t flags,
                        void (*ended)(struct oneloop_attached *on, int error), void *user) {
    static const struct oneloop_outer outer = {oneloop_sd_event_watch, oneloop_sd_event_unwatch,
                                               oneloop_sd_event_again, oneloop_sd_event_release};
    struct oneloop_attached *on =
        oneloop_attached_new(sizeof(struct oneloop_sd_event), &outer, loop, flags, ended, user);
    struct oneloop_sd_event *it = (struct oneloop_sd_event *)on;
    int result;
    if (!on)
        return NULL;
    result = sd_event_add_defer(event, &it->again, oneloop_sd_event_due, on);
    if (result >= 0)
        result = sd_event_add_io(event, &it->watch, on->fd, EPOLLIN, oneloop_sd_event_ready, on);
    if (result >= 0)
        oneloop_sd_event_unwatch(on);
    return oneloop_attached_begin(on, result);
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
