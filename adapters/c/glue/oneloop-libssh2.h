/* libssh2 on a oneloop loop.
 *
 *   static int shake_hands(struct oneloop_libssh2 *on) {
 *       int result = libssh2_session_handshake(on->session, on->fd);
 *       if (result == 0)
 *           oneloop_libssh2_run(on, log_in); // what comes next
 *       return result;
 *   }
 *   ...
 *   struct oneloop_libssh2 *on = oneloop_libssh2_attach(loop, session, fd);
 *   oneloop_libssh2_run(on, shake_hands);
 *
 * A step is called in a turn, and again whenever the session can go on, as long as it returns
 * LIBSSH2_ERROR_EAGAIN. That is what libssh2's functions return when they would block. `fd` is a socket that is
 * connected, or is connecting. A step may set the next one, or detach. Functions that return NULL give their reason
 * by libssh2_session_last_errno().
 *
 * A session has one step at a time, since libssh2 reads the packets of all channels at once. If there are several
 * channels, the step asks each of them.
 *
 * Keep-alive messages are sent if libssh2_keepalive_config() asks for them. An error of those is reported by
 * oneloop_report_error. All others are the results of the steps.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBSSH2_H
#define ONELOOP_LIBSSH2_H

#include <libssh2.h>
#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>

struct oneloop_libssh2 {
    oneloop_t *loop;
    LIBSSH2_SESSION *session; /* NULL once it is detached */
    int fd;
    void *user; /* free for use */
    /* Private. */
    int (*step)(struct oneloop_libssh2 *on); /* NULL if there is nothing to do */
    int is_new;                              /* the step was not called yet */
    int is_mute;                             /* a keep-alive message has failed */
    oneloop_id id;
    int gone; /* with the loop, or after it was detached */
};

static inline int oneloop_libssh2_list(oneloop_t *loop, struct pollfd *fds, int room,
                                       int64_t *timeout, void *user) {
    struct oneloop_libssh2 *on = (struct oneloop_libssh2 *)user;
    int directions, seconds = 0, result;
    (void)room;
    if (!on->session)
        return 0;
    if (!on->is_new && !on->is_mute) {
        result = libssh2_keepalive_send(on->session, &seconds);
        if (result < 0 && result != LIBSSH2_ERROR_EAGAIN) {
            on->is_mute = 1; /* or it would fail in each turn */
            oneloop_report_error(loop, "libssh2", "libssh2_keepalive_send failed");
        }
    }
    if (seconds > 0)
        *timeout = seconds * INT64_C(1000000000);
    if (!on->step)
        return 0;
    if (on->is_new)
        *timeout = 0;
    directions = libssh2_session_block_directions(on->session);
    fds->fd = on->fd;
    fds->events = directions & LIBSSH2_SESSION_BLOCK_OUTBOUND ? POLLOUT : 0;
    if (directions & LIBSSH2_SESSION_BLOCK_INBOUND || !directions)
        fds->events |= POLLIN;
    return 1;
}

static inline void oneloop_libssh2_ready(oneloop_t *loop, struct pollfd *fds, int count,
                                         void *user) {
    struct oneloop_libssh2 *on = (struct oneloop_libssh2 *)user;
    int (*step)(struct oneloop_libssh2 *on) = on->step;
    (void)loop;
    if (!on->session || !step || !(on->is_new || (count > 0 && fds->revents)))
        return;
    on->is_new = 0;
    if (step(on) != LIBSSH2_ERROR_EAGAIN && on->step == step && !on->is_new)
        on->step = NULL;
}

static inline void oneloop_libssh2_gone(void *user) {
    struct oneloop_libssh2 *on = (struct oneloop_libssh2 *)user;
    on->gone = 1;
    if (!on->session)
        free(on);
}

/* Sets the step, which is called in a later turn. Takes the place of the one before. */
static inline void oneloop_libssh2_run(struct oneloop_libssh2 *on,
                                       int (*step)(struct oneloop_libssh2 *on)) {
    on->step = step;
    on->is_new = 1;
    /* Code outside of the loop's callbacks may call this. */
    if (!on->gone)
        oneloop_wake(on->loop);
}

/* Takes the session off the loop, also inside a step. To be called once, before libssh2_session_free(), before the
 * loop ends or after. */
static inline void oneloop_libssh2_detach(struct oneloop_libssh2 *on) {
    on->session = NULL;
    if (on->gone)
        free(on);
    else /* which frees it, in a later turn */
        oneloop_remove_pollset(on->loop, on->id);
}

/* Puts a session on a loop, and makes it non-blocking. Returns NULL if there is no memory left, or the loop is
 * closed. */
static inline struct oneloop_libssh2 *oneloop_libssh2_attach(oneloop_t *loop,
                                                             LIBSSH2_SESSION *session, int fd) {
    struct oneloop_libssh2 *on;
    if (!session)
        return NULL;
    on = (struct oneloop_libssh2 *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    libssh2_session_set_blocking(session, 0);
    on->loop = loop;
    on->session = session;
    on->fd = fd;
    if (oneloop_add_pollset(loop, oneloop_libssh2_list, oneloop_libssh2_ready, on,
                            oneloop_libssh2_gone, &on->id) < 0) {
        free(on);
        return NULL;
    }
    return on;
}

#endif
