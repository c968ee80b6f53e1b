/* c-ares on a oneloop loop.
 *
 *   static void found(void *user, int status, int timeouts, struct ares_addrinfo *result) {
 *       ... whatever the status, called once; ares_freeaddrinfo(result) ...
 *   }
 *   ...
 *   struct oneloop_ares *ares;
 *   struct ares_options options = {.timeout = 2000};
 *   struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC};
 *   if (oneloop_ares_init(&ares, loop, &options, ARES_OPT_TIMEOUTMS) == ARES_SUCCESS)
 *       ares_getaddrinfo(ares->channel, "example.org", NULL, &hints, found, user);
 *   ...
 *   oneloop_ares_destroy(ares);
 *
 * ares->channel is c-ares' own: ask, and set what you like. But instead of ares_cancel and ares_destroy,
 * which inside a callback may free the query that it is for, there are oneloop_ares_cancel and
 * oneloop_ares_destroy, which wait until it is over.
 *
 * Errors: if a socket cannot be watched, c-ares cannot be told. That is reported by oneloop_report_error, and the
 * query ends by its timeout.
 *
 * Code outside of the loop's callbacks, such as a task of its host, calls oneloop_ares_wake after it has
 * asked, for the query's timeout.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_CARES_H
#define ONELOOP_CARES_H

#include <sys/select.h> /* which ares.h leaves out */
#include <sys/time.h>

#include <ares.h>
#include <oneloop.h>
#include <stdlib.h>
#include <string.h>

/* A socket of c-ares'. */
struct oneloop_ares_socket {
    struct oneloop_ares_socket *next;
    ares_socket_t fd;
    oneloop_id handler;
};

struct oneloop_ares {
    ares_channel channel;
    /* Its own. */
    oneloop_t *loop; /* NULL: the end is near, and the loop perhaps gone */
    oneloop_id timer, hook;
    struct oneloop_ares_socket *sockets;
    int inside, cancel, over;
};

/* Called when the channel is not in use any more, or inside it by a callback that closes the loop. */
static inline void oneloop_ares_end(void *user) {
    struct oneloop_ares *ares = (struct oneloop_ares *)user;
    ares->loop = NULL;
    ares->over = 1;
    if (ares->inside)
        return;
    ares_destroy(ares->channel); /* closes the sockets, and says so */
    free(ares);
}

static inline void oneloop_ares_process(struct oneloop_ares *ares, ares_socket_t readable,
                                        ares_socket_t writable) {
    ares->inside = 1;
    ares_process_fd(ares->channel, readable, writable);
    if (ares->cancel) {
        ares->cancel = 0;
        ares_cancel(ares->channel);
    }
    ares->inside = 0;
    if (ares->over)
        oneloop_ares_end(ares);
}

static inline int oneloop_ares_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                     void *user) {
    (void)loop, (void)id;
    oneloop_ares_process((struct oneloop_ares *)user,
                         ready & ONELOOP_READABLE ? fd : ARES_SOCKET_BAD,
                         ready & ONELOOP_WRITABLE ? fd : ARES_SOCKET_BAD);
    return ONELOOP_CONTINUE;
}

static inline void oneloop_ares_due(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id;
    oneloop_ares_process((struct oneloop_ares *)user, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* Before each sleep, whatever was done to the channel: c-ares does not tell when its timeouts change. */
static inline int64_t oneloop_ares_prepare(oneloop_t *loop, void *user) {
    struct oneloop_ares *ares = (struct oneloop_ares *)user;
    struct timeval left;
    int64_t delay = ONELOOP_NEVER;
    /* It may have cut off the last millisecond, which would be spent in vain attempts. */
    if (ares_timeout(ares->channel, NULL, &left))
        delay = left.tv_sec * (int64_t)1000000000 + left.tv_usec * (int64_t)1000 + 1000000;
    if (ares->cancel)
        delay = 0;
    oneloop_reset_timer(loop, ares->timer, delay);
    return ONELOOP_NEVER;
}

/* Called inside c-ares, with its lock held: only tells the loop. A socket is told to be unused before
 * it is closed; its number may come back at once. */
static inline void oneloop_ares_changed(void *user, ares_socket_t fd, int readable, int writable) {
    struct oneloop_ares *ares = (struct oneloop_ares *)user;
    uint32_t interest = (readable ? ONELOOP_READABLE : 0) | (writable ? ONELOOP_WRITABLE : 0);
    struct oneloop_ares_socket **place = &ares->sockets, *found;
    while (*place && (*place)->fd != fd)
        place = &(*place)->next;
    found = *place;
    if (!interest) {
        if (!found)
            return;
        *place = found->next;
        if (ares->loop)
            oneloop_remove_handler(ares->loop, found->handler);
        free(found);
    } else if (!ares->loop) {
        return;
    } else if (found) {
        if (oneloop_update_handler(ares->loop, found->handler, interest) < 0)
            oneloop_report_error(ares->loop, "c-ares", oneloop_strerror());
    } else {
        found = (struct oneloop_ares_socket *)calloc(1, sizeof *found);
        if (!found) {
            oneloop_report_error(ares->loop, "c-ares", "no memory to watch a socket");
            return;
        }
        found->fd = fd;
        *place = found;
        if (oneloop_add_handler(ares->loop, fd, interest, ONELOOP_LEVEL, oneloop_ares_ready, ares,
                                NULL, &found->handler) < 0)
            oneloop_report_error(ares->loop, "c-ares", oneloop_strerror());
    }
}

/* Has the loop look when c-ares' timeouts end. To be called after code outside of the loop's callbacks has
 * used the channel; inside them it is not needed. */
static inline void oneloop_ares_wake(struct oneloop_ares *ares) {
    oneloop_wake(ares->loop);
}

/* Cancels all queries, also inside a callback: they end with ARES_ECANCELLED before the loop sleeps
 * again, and so do those that are asked until then. */
static inline void oneloop_ares_cancel(struct oneloop_ares *ares) {
    ares->cancel = 1;
    oneloop_reset_timer(ares->loop, ares->timer, 0);
}

/* Ends it, also inside its callbacks. Queries that are under way end with ARES_EDESTRUCTION, in a
 * turn to come or when the loop ends. If the loop ends first, so does the channel, which must not be used after
 * that. */
static inline void oneloop_ares_destroy(struct oneloop_ares *ares) {
    oneloop_t *loop = ares->loop;
    struct oneloop_ares_socket *socket;
    ares->loop = NULL;
    for (socket = ares->sockets; socket; socket = socket->next)
        oneloop_remove_handler(loop, socket->handler);
    oneloop_remove_hook(loop, ares->hook);
    oneloop_cancel_timer(loop, ares->timer); /* which ends it */
}

/* Makes a channel on a loop. Gives what ares_init_options gives. */
static inline int oneloop_ares_init(struct oneloop_ares **place, oneloop_t *loop,
                                    const struct ares_options *options, int mask) {
    struct oneloop_ares *ares = (struct oneloop_ares *)calloc(1, sizeof *ares);
    struct ares_options own;
    int status;
    if (!ares)
        return ARES_ENOMEM;
    memset(&own, 0, sizeof own);
    if (options)
        own = *options;
    own.sock_state_cb = oneloop_ares_changed;
    own.sock_state_cb_data = ares;
    ares->loop = loop;
    status = ares_init_options(&ares->channel, &own, mask | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        free(ares);
        return status;
    }
    if (oneloop_add_timer(loop, ONELOOP_NEVER, 0, oneloop_ares_due, ares, oneloop_ares_end,
                          &ares->timer) < 0) {
        oneloop_ares_end(ares);
        return ARES_ENOMEM;
    }
    if (oneloop_add_hook(loop, oneloop_ares_prepare, NULL, ares, NULL, &ares->hook) < 0) {
        oneloop_ares_destroy(ares);
        return ARES_ENOMEM;
    }
    *place = ares;
    return ARES_SUCCESS;
}

#endif
