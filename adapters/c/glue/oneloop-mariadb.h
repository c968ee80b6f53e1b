/* MariaDB Connector/C and its non-blocking functions on a oneloop loop.
 *
 *   MYSQL *mysql = mysql_init(NULL);
 *   struct oneloop_mariadb *on = oneloop_mariadb_attach(loop, mysql);
 *   oneloop_mariadb_connect(on, host, user, password, database, 0, NULL, 0, connected);
 *   ...
 *   oneloop_mariadb_query(on, "SELECT 1", got);
 *   ...
 *   oneloop_mariadb_detach(on);
 *   mysql_close(mysql);
 *
 * One operation at a time, as ever. Each calls back when it has ended, in a turn or inside the call that begins it.
 * The callback may begin the next one, or detach. mysql_errno(on->mysql) says whether it has failed.
 *
 * Any other operation is given to oneloop_mariadb_run:
 *
 *   static int go_on(struct oneloop_mariadb *on, int status) {
 *       return mysql_change_user_cont(&failed, on->mysql, status);
 *   }
 *   oneloop_mariadb_run(on, mysql_change_user_start(&failed, mysql, user, password, NULL), go_on, done);
 *
 * Memory that an operation gets by pointer must live until the operation has ended. An error of the loop's own, such as in setting
 * the timer for the library's timeouts, is reported by oneloop_report_error.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_MARIADB_H
#define ONELOOP_MARIADB_H

#include <mysql.h>
#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct oneloop_mariadb {
    oneloop_t *loop;
    MYSQL *mysql;      /* NULL once it is detached */
    void *user;        /* free for use */
    MYSQL_RES *result; /* that of the last query, or NULL; to be freed by mysql_free_result */
    /* Private. */
    int (*go_on)(struct oneloop_mariadb *on, int status); /* of the operation, or NULL */
    void (*done)(struct oneloop_mariadb *on);
    int status, failed;
    MYSQL *connected;
    oneloop_id id, timer;
    int gone; /* with the loop, or after it was detached */
};

static inline int oneloop_mariadb_list(oneloop_t *loop, struct pollfd *fds, int room,
                                       int64_t *timeout, void *user) {
    struct oneloop_mariadb *on = (struct oneloop_mariadb *)user;
    (void)loop, (void)room, (void)timeout;
    if (!on->mysql || !on->go_on)
        return 0;
    /* It is another one after each connection. */
    fds->fd = mysql_get_socket(on->mysql);
    fds->events = (short)((on->status & MYSQL_WAIT_READ ? POLLIN : 0) |
                          (on->status & MYSQL_WAIT_WRITE ? POLLOUT : 0) |
                          (on->status & MYSQL_WAIT_EXCEPT ? POLLPRI : 0));
    return 1;
}

/* The operation waits for `status`, or has ended if that is 0. */
static inline void oneloop_mariadb_waits(struct oneloop_mariadb *on, int status) {
    void (*done)(struct oneloop_mariadb *on) = on->done;
    int64_t delay = ONELOOP_NEVER;
    if (status & MYSQL_WAIT_TIMEOUT)
        delay = INT64_C(1000000) * (int64_t)mysql_get_timeout_value_ms(on->mysql);
    if ((status | on->status) & MYSQL_WAIT_TIMEOUT && !on->gone &&
        oneloop_reset_timer(on->loop, on->timer, delay) < 0)
        oneloop_report_error(on->loop, "MariaDB", oneloop_strerror());
    on->status = status;
    if (!status) {
        on->go_on = NULL;
        done(on);
    }
}

static inline void oneloop_mariadb_ready(oneloop_t *loop, struct pollfd *fds, int count,
                                         void *user) {
    struct oneloop_mariadb *on = (struct oneloop_mariadb *)user;
    int found = count > 0 ? fds->revents : 0, status = 0;
    (void)loop;
    if (!on->mysql || !on->go_on)
        return;
    if (found & (POLLIN | POLLERR | POLLHUP))
        status |= MYSQL_WAIT_READ;
    if (found & (POLLOUT | POLLERR | POLLHUP))
        status |= MYSQL_WAIT_WRITE;
    if (found & POLLPRI)
        status |= MYSQL_WAIT_EXCEPT;
    status &= on->status;
    if (status)
        oneloop_mariadb_waits(on, on->go_on(on, status));
}

static inline void oneloop_mariadb_due(oneloop_t *loop, oneloop_id id, void *user) {
    struct oneloop_mariadb *on = (struct oneloop_mariadb *)user;
    (void)loop, (void)id;
    if (on->mysql && on->go_on && on->status & MYSQL_WAIT_TIMEOUT)
        oneloop_mariadb_waits(on, on->go_on(on, MYSQL_WAIT_TIMEOUT));
}

static inline void oneloop_mariadb_gone(void *user) {
    struct oneloop_mariadb *on = (struct oneloop_mariadb *)user;
    on->gone = 1;
    if (!on->mysql)
        free(on);
}

/* Continues an operation that was begun: `status` is the result of its _start function. `go_on` calls its _cont
 * function, and `done` is called when it has ended. */
static inline void oneloop_mariadb_run(struct oneloop_mariadb *on, int status,
                                       int (*go_on)(struct oneloop_mariadb *on, int status),
                                       void (*done)(struct oneloop_mariadb *on)) {
    on->go_on = go_on;
    on->done = done;
    oneloop_mariadb_waits(on, status);
    /* Code outside of the loop's callbacks may call this. */
    if (status && !on->gone)
        oneloop_wake(on->loop);
}

static inline int oneloop_mariadb_connecting(struct oneloop_mariadb *on, int status) {
    return mysql_real_connect_cont(&on->connected, on->mysql, status);
}

/* Connects, as mysql_real_connect does. libmariadb looks up host names, and waits for the answer. */
static inline void oneloop_mariadb_connect(struct oneloop_mariadb *on, const char *host,
                                           const char *user, const char *password,
                                           const char *database, unsigned int port,
                                           const char *unix_socket, unsigned long flags,
                                           void (*connected)(struct oneloop_mariadb *on)) {
    int status = mysql_real_connect_start(&on->connected, on->mysql, host, user, password, database,
                                          port, unix_socket, flags);
    oneloop_mariadb_run(on, status, oneloop_mariadb_connecting, connected);
}

static inline int oneloop_mariadb_storing(struct oneloop_mariadb *on, int status) {
    return mysql_store_result_cont(&on->result, on->mysql, status);
}

static inline int oneloop_mariadb_querying(struct oneloop_mariadb *on, int status) {
    status = mysql_real_query_cont(&on->failed, on->mysql, status);
    if (!status && !on->failed) {
        on->go_on = oneloop_mariadb_storing;
        status = mysql_store_result_start(&on->result, on->mysql);
    }
    return status;
}

/* Sends a query and fetches its result, as mysql_query and mysql_store_result do. `on->result` has it when `got` is
 * called. */
static inline void oneloop_mariadb_query(struct oneloop_mariadb *on, const char *sql,
                                         void (*got)(struct oneloop_mariadb *on)) {
    int status = mysql_real_query_start(&on->failed, on->mysql, sql, (unsigned long)strlen(sql));
    int (*go_on)(struct oneloop_mariadb *on, int status) = oneloop_mariadb_querying;
    on->result = NULL;
    if (!status && !on->failed) {
        go_on = oneloop_mariadb_storing;
        status = mysql_store_result_start(&on->result, on->mysql);
    }
    oneloop_mariadb_run(on, status, go_on, got);
}

/* Takes it off the loop, also inside callbacks. An operation that has not ended does not go on. To be called once,
 * before mysql_close(), before the loop ends or after. */
static inline void oneloop_mariadb_detach(struct oneloop_mariadb *on) {
    on->mysql = NULL;
    if (on->gone) {
        free(on);
        return;
    }
    oneloop_cancel_timer(on->loop, on->timer);
    oneloop_remove_pollset(on->loop, on->id); /* which frees it, in a later turn */
}

/* Puts a connection on a loop, right after mysql_init(). Returns NULL if there is no memory left, or if the loop is
 * closed. */
static inline struct oneloop_mariadb *oneloop_mariadb_attach(oneloop_t *loop, MYSQL *mysql) {
    struct oneloop_mariadb *on;
    if (!mysql || mysql_options(mysql, MYSQL_OPT_NONBLOCK, NULL))
        return NULL;
    on = (struct oneloop_mariadb *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->mysql = mysql;
    if (oneloop_add_timer(loop, ONELOOP_NEVER, 0, oneloop_mariadb_due, on, NULL, &on->timer) < 0) {
        free(on);
        return NULL;
    }
    if (oneloop_add_pollset(loop, oneloop_mariadb_list, oneloop_mariadb_ready, on,
                            oneloop_mariadb_gone, &on->id) < 0) {
        oneloop_cancel_timer(loop, on->timer);
        free(on);
        return NULL;
    }
    return on;
}

#endif
