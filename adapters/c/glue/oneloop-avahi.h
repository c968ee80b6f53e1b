/* Avahi's client library on a oneloop loop.
 *
 *   AvahiPoll *poll = oneloop_avahi_new(loop);
 *   AvahiClient *client = avahi_client_new(poll, 0, state_changed, user, &error);
 *   ...
 *   avahi_client_free(client);
 *   oneloop_avahi_free(poll);
 *
 * Errors: Avahi's functions for changing a watch or a timeout return nothing. If the loop refuses such a change, that
 * is reported by oneloop_report_error.
 *
 * Threads: all of it on the thread that drives the loop. If the loop ends first, nothing more is called, and
 * client and table are freed as ever.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_AVAHI_H
#define ONELOOP_AVAHI_H

#include <avahi-common/watch.h>
#include <oneloop.h>
#include <stdlib.h>
#include <sys/time.h>

/* The table, and what its functions need. */
struct oneloop_avahi {
    AvahiPoll poll; /* first, to be found by it */
    oneloop_t *loop;
    int users; /* its owner, and each watch and timeout until it is destroyed */
};

struct AvahiWatch {
    struct oneloop_avahi *avahi;
    oneloop_id id;
    AvahiWatchCallback callback;
    void *user;
    AvahiWatchEvent ready; /* in its callback, what it is called for */
    int freed;             /* by Avahi */
    int gone;              /* with the loop, or after it was freed */
};

struct AvahiTimeout {
    struct oneloop_avahi *avahi;
    oneloop_id id;
    AvahiTimeoutCallback callback;
    void *user;
    int freed, gone; /* as above */
};

static inline void oneloop_avahi_release(struct oneloop_avahi *avahi) {
    if (--avahi->users == 0)
        free(avahi);
}

static inline void oneloop_avahi_result(struct oneloop_avahi *avahi, int result) {
    if (result < 0)
        oneloop_report_error(avahi->loop, "Avahi", oneloop_strerror());
}

/* Watches. Every watch that waits for anything is told of hang-ups and errors, too; kqueue cannot tell of them
 * alone. */

static inline uint32_t oneloop_avahi_interest(AvahiWatchEvent events) {
    uint32_t interest = (events & AVAHI_WATCH_IN ? ONELOOP_READABLE : 0) |
                        (events & AVAHI_WATCH_OUT ? ONELOOP_WRITABLE : 0);
#ifdef __linux__
    if (!interest && events)
        return ONELOOP_PRIORITY;
#endif
    return interest;
}

static inline int oneloop_avahi_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                      void *user) {
    AvahiWatch *watch = (AvahiWatch *)user;
    int events = (ready & ONELOOP_READABLE ? AVAHI_WATCH_IN : 0) |
                 (ready & ONELOOP_WRITABLE ? AVAHI_WATCH_OUT : 0) |
                 (ready & ONELOOP_ERROR ? AVAHI_WATCH_ERR : 0) |
                 (ready & ONELOOP_HANGUP ? AVAHI_WATCH_HUP : 0);
    (void)loop, (void)id;
    if (!events)
        return ONELOOP_CONTINUE;
    watch->ready = (AvahiWatchEvent)events;
    watch->callback(watch, fd, watch->ready, watch->user);
    /* It is there until it is destroyed, in a later turn, even if it was freed. */
    watch->ready = (AvahiWatchEvent)0;
    return ONELOOP_CONTINUE;
}

static inline void oneloop_avahi_watch_end(AvahiWatch *watch) {
    struct oneloop_avahi *avahi = watch->avahi;
    if (!watch->freed || !watch->gone)
        return;
    free(watch);
    oneloop_avahi_release(avahi);
}

static inline void oneloop_avahi_watch_destroy(void *user) {
    AvahiWatch *watch = (AvahiWatch *)user;
    watch->gone = 1;
    oneloop_avahi_watch_end(watch);
}

static inline AvahiWatch *oneloop_avahi_watch_new(const AvahiPoll *poll, int fd,
                                                  AvahiWatchEvent events,
                                                  AvahiWatchCallback callback, void *user) {
    AvahiWatch *watch = (AvahiWatch *)calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->avahi = (struct oneloop_avahi *)poll->userdata;
    watch->callback = callback;
    watch->user = user;
    if (oneloop_add_handler(watch->avahi->loop, fd, oneloop_avahi_interest(events), ONELOOP_LEVEL,
                            oneloop_avahi_ready, watch, oneloop_avahi_watch_destroy,
                            &watch->id) < 0) {
        free(watch);
        return NULL;
    }
    watch->avahi->users++;
    return watch;
}

static inline void oneloop_avahi_watch_update(AvahiWatch *watch, AvahiWatchEvent events) {
    if (!watch->gone)
        oneloop_avahi_result(watch->avahi,
                             oneloop_update_handler(watch->avahi->loop, watch->id,
                                                    oneloop_avahi_interest(events)));
}

static inline AvahiWatchEvent oneloop_avahi_watch_get_events(AvahiWatch *watch) {
    return watch->ready;
}

static inline void oneloop_avahi_watch_free(AvahiWatch *watch) {
    watch->freed = 1;
    if (!watch->gone)
        oneloop_remove_handler(watch->avahi->loop, watch->id);
    oneloop_avahi_watch_end(watch);
}

/* Timeouts: at a time of the system clock, once. NULL is never. */

static inline void oneloop_avahi_timeout_update(AvahiTimeout *timeout, const struct timeval *time) {
    int result;
    if (timeout->gone)
        return;
    if (time) /* whose microseconds may be a second and more */
        result = oneloop_reset_timer_at(timeout->avahi->loop, timeout->id, ONELOOP_REALTIME,
                                        (int64_t)time->tv_sec + time->tv_usec / 1000000,
                                        (int64_t)(time->tv_usec % 1000000) * 1000);
    else
        result = oneloop_reset_timer(timeout->avahi->loop, timeout->id, ONELOOP_NEVER);
    oneloop_avahi_result(timeout->avahi, result);
}

static inline void oneloop_avahi_due(oneloop_t *loop, oneloop_id id, void *user) {
    AvahiTimeout *timeout = (AvahiTimeout *)user;
    (void)loop, (void)id;
    timeout->callback(timeout, timeout->user);
}

static inline void oneloop_avahi_timeout_end(AvahiTimeout *timeout) {
    struct oneloop_avahi *avahi = timeout->avahi;
    if (!timeout->freed || !timeout->gone)
        return;
    free(timeout);
    oneloop_avahi_release(avahi);
}

static inline void oneloop_avahi_timeout_destroy(void *user) {
    AvahiTimeout *timeout = (AvahiTimeout *)user;
    timeout->gone = 1;
    oneloop_avahi_timeout_end(timeout);
}

static inline AvahiTimeout *oneloop_avahi_timeout_new(const AvahiPoll *poll,
                                                      const struct timeval *time,
                                                      AvahiTimeoutCallback callback, void *user) {
    AvahiTimeout *timeout = (AvahiTimeout *)calloc(1, sizeof *timeout);
    if (!timeout)
        return NULL;
    timeout->avahi = (struct oneloop_avahi *)poll->userdata;
    timeout->callback = callback;
    timeout->user = user;
    if (oneloop_add_timer(timeout->avahi->loop, ONELOOP_NEVER, 0, oneloop_avahi_due, timeout,
                          oneloop_avahi_timeout_destroy, &timeout->id) < 0) {
        free(timeout);
        return NULL;
    }
    timeout->avahi->users++;
    oneloop_avahi_timeout_update(timeout, time);
    return timeout;
}

static inline void oneloop_avahi_timeout_free(AvahiTimeout *timeout) {
    timeout->freed = 1;
    if (!timeout->gone)
        oneloop_cancel_timer(timeout->avahi->loop, timeout->id);
    oneloop_avahi_timeout_end(timeout);
}

/* Gives the table up. Watches and timeouts that are left keep it until they are freed. */
static inline void oneloop_avahi_free(AvahiPoll *poll) {
    oneloop_avahi_release((struct oneloop_avahi *)poll->userdata);
}

/* A table for a loop. NULL if there is no memory. */
static inline AvahiPoll *oneloop_avahi_new(oneloop_t *loop) {
    struct oneloop_avahi *avahi = (struct oneloop_avahi *)calloc(1, sizeof *avahi);
    if (!avahi)
        return NULL;
    avahi->loop = loop;
    avahi->users = 1;
    avahi->poll.userdata = avahi;
    avahi->poll.watch_new = oneloop_avahi_watch_new;
    avahi->poll.watch_update = oneloop_avahi_watch_update;
    avahi->poll.watch_get_events = oneloop_avahi_watch_get_events;
    avahi->poll.watch_free = oneloop_avahi_watch_free;
    avahi->poll.timeout_new = oneloop_avahi_timeout_new;
    avahi->poll.timeout_update = oneloop_avahi_timeout_update;
    avahi->poll.timeout_free = oneloop_avahi_timeout_free;
    return &avahi->poll;
}

#endif
