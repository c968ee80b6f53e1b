/* libmicrohttpd, for HTTP servers, on a oneloop loop.
 *
 *   struct MHD_Daemon *server = MHD_start_daemon(MHD_USE_EPOLL, 8080, NULL, NULL, answer, NULL, MHD_OPTION_END);
 *   struct oneloop_microhttpd *on = oneloop_microhttpd_attach(loop, server);
 *   ... the loop does the rest ...
 *   oneloop_microhttpd_detach(on);
 *   MHD_stop_daemon(server);
 *
 * The server needs MHD_USE_EPOLL and no thread of its own. `answer` is called in the loop's turns, and must not
 * detach. A connection that was suspended is resumed by oneloop_microhttpd_resume. After MHD_resume_connection alone,
 * it waits until another event: libmicrohttpd shows it nowhere.
 *
 * Errors: libmicrohttpd reports those of connections to its own callbacks. If it cannot run at all, that is
 * reported by oneloop_report_error.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_MICROHTTPD_H
#define ONELOOP_MICROHTTPD_H

#include <microhttpd.h>
#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>

struct oneloop_microhttpd {
    oneloop_t *loop;
    struct MHD_Daemon *server; /* NULL once it is detached */
    oneloop_id id;
    int resumed; /* a connection, for which the server is to run */
    int gone; /* with the loop, or after it was detached */
};

/* The descriptor that shows all that the server has to do, or -1. */
static inline int oneloop_microhttpd_fd(struct MHD_Daemon *server) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD);
    return info ? info->epoll_fd : -1;
}

static inline int oneloop_microhttpd_list(oneloop_t *loop, struct pollfd *fds, int room,
                                          int64_t *timeout, void *user) {
    struct oneloop_microhttpd *on = (struct oneloop_microhttpd *)user;
    MHD_UNSIGNED_LONG_LONG milliseconds;
    (void)loop, (void)room;
    if (!on->server)
        return 0;
    fds->fd = oneloop_microhttpd_fd(on->server);
    fds->events = POLLIN;
    if (MHD_get_timeout(on->server, &milliseconds) == MHD_YES &&
        milliseconds < (MHD_UNSIGNED_LONG_LONG)(ONELOOP_NEVER / 1000000))
        *timeout = (int64_t)milliseconds * 1000000;
    if (on->resumed)
        *timeout = 0;
    return 1;
}

static inline void oneloop_microhttpd_ready(oneloop_t *loop, struct pollfd *fds, int count,
                                            void *user) {
    struct oneloop_microhttpd *on = (struct oneloop_microhttpd *)user;
    (void)fds, (void)count;
    on->resumed = 0;
    if (on->server && MHD_run(on->server) != MHD_YES)
        oneloop_report_error(loop, "libmicrohttpd", "MHD_run failed");
}

static inline void oneloop_microhttpd_gone(void *user) {
    struct oneloop_microhttpd *on = (struct oneloop_microhttpd *)user;
    on->gone = 1;
    if (!on->server)
        free(on);
}

/* Resumes a connection that was suspended. The server needs MHD_ALLOW_SUSPEND_RESUME. */
static inline void oneloop_microhttpd_resume(struct oneloop_microhttpd *on,
                                             struct MHD_Connection *connection) {
    MHD_resume_connection(connection);
    on->resumed = 1;
    /* Code outside of the loop's callbacks may call this. */
    if (!on->gone)
        oneloop_wake(on->loop);
}

/* Takes the server off the loop, before MHD_stop_daemon(). To be called once, before the loop ends or after. */
static inline void oneloop_microhttpd_detach(struct oneloop_microhttpd *on) {
    on->server = NULL;
    if (on->gone)
        free(on);
    else /* which frees it, in a later turn */
        oneloop_remove_pollset(on->loop, on->id);
}

/* Puts a server on a loop. Returns NULL if it has no MHD_USE_EPOLL, if there is no memory left, or if the loop is
 * closed. */
static inline struct oneloop_microhttpd *oneloop_microhttpd_attach(oneloop_t *loop,
                                                                   struct MHD_Daemon *server) {
    struct oneloop_microhttpd *on;
    if (!server || oneloop_microhttpd_fd(server) < 0)
        return NULL;
    on = (struct oneloop_microhttpd *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->server = server;
    if (oneloop_add_pollset(loop, oneloop_microhttpd_list, oneloop_microhttpd_ready, on,
                            oneloop_microhttpd_gone, &on->id) < 0) {
        free(on);
        return NULL;
    }
    return on;
}

#endif
