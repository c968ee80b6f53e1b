/* libpq on a oneloop loop: connecting, queries, COPY and NOTIFY without waiting.
 *
 *   static void connected(struct oneloop_pg *pg, int ok) {
 *       if (ok)
 *           oneloop_pg_send(pg, "SELECT 'hello'");
 *       else
 *           fprintf(stderr, "%s", PQerrorMessage(pg->conn));
 *   }
 *   static void result(struct oneloop_pg *pg, PGresult *result) {
 *       if (result)
 *           puts(PQgetvalue(result, 0, 0)), PQclear(result);
 *       else // the query is over
 *           oneloop_pg_close(pg);
 *   }
 *   ...
 *   struct oneloop_pg *pg = oneloop_pg_connect(loop, "host=/run/postgresql", ONELOOP_NEVER, connected, user);
 *   pg->result = result;
 *
 * pg->conn is libpq's: what is not here is done with it. After whatever may have something to send
 * (PQsendQueryParams, PQputCopyData), call oneloop_pg_flush. After what may have read more than it gave
 * (PQexec, PQconsumeInput), call oneloop_pg_wake, unless that was in a callback of the connection's own.
 * Host names are looked up by libpq, which waits for the answer: give hostaddr, or sockets.
 *
 * Threads: all of it on the thread that drives the loop. A connection that is not closed before its
 * loop ends is closed, and freed, by that.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBPQ_H
#define ONELOOP_LIBPQ_H

#include <libpq-fe.h>
#include <oneloop.h>
#include <stdlib.h>

struct oneloop_pg {
    PGconn *conn;
    void *user;
    /* Called once: the connection is there, or has failed. */
    void (*connected)(struct oneloop_pg *pg, int ok);
    /* Called with each result of a query, to be cleared by PQclear; NULL when it is over. */
    void (*result)(struct oneloop_pg *pg, PGresult *result);
    /* Called with each row of a COPY TO STDOUT. */
    void (*row)(struct oneloop_pg *pg, const char *row, int length);
    /* Called in a COPY FROM STDIN when there is room: PQputCopyData and oneloop_pg_flush, until
     * PQputCopyEnd. */
    void (*room)(struct oneloop_pg *pg);
    /* Called with each notification. */
    void (*notified)(struct oneloop_pg *pg, PGnotify *notify);
    /* Called once, when the connection is lost; a query that was under way hears no more. */
    void (*lost)(struct oneloop_pg *pg);
    /* Its own. */
    oneloop_t *loop;
    oneloop_id handler, timer;
    int fd, connecting, busy, closed;
    int holders; /* its handlers and its timer, while any of them may still be in a callback */
    ExecStatusType copying;
};

static inline void oneloop_pg_gone(void *user) {
    struct oneloop_pg *pg = (struct oneloop_pg *)user;
    if (--pg->holders > 0)
        return;
    PQfinish(pg->conn); /* if the loop has ended first */
    free(pg);
}

/* Closes the connection, in whatever state. Also inside its callbacks; it is freed after those. */
static inline void oneloop_pg_close(struct oneloop_pg *pg) {
    if (pg->closed)
        return;
    pg->closed = 1;
    oneloop_remove_handler(pg->loop, pg->handler); /* before libpq closes the socket */
    PQfinish(pg->conn);
    pg->conn = NULL;
    oneloop_cancel_timer(pg->loop, pg->timer);
}

static inline void oneloop_pg_fail(struct oneloop_pg *pg) {
    oneloop_update_handler(pg->loop, pg->handler, 0);
    oneloop_reset_timer(pg->loop, pg->timer, ONELOOP_NEVER);
    pg->copying = PGRES_EMPTY_QUERY;
    if (pg->connecting) {
        pg->connecting = 0;
        pg->connected(pg, 0);
    } else if (pg->lost) {
        void (*lost)(struct oneloop_pg *) = pg->lost;
        pg->lost = NULL;
        lost(pg);
    }
}

/* Sends what can be sent, and waits for what is to be waited for. */
static inline void oneloop_pg_flush(struct oneloop_pg *pg) {
    int left = PQflush(pg->conn);
    int room = pg->copying == PGRES_COPY_IN && pg->room != NULL;
    if (left < 0)
        oneloop_pg_fail(pg);
    else
        oneloop_update_handler(pg->loop, pg->handler,
                               ONELOOP_READABLE | (left || room ? ONELOOP_WRITABLE : 0));
}

/* Has the loop hand out what libpq has read, such as notifications, and send what it has to send; or tell
 * that the connection is lost. */
static inline void oneloop_pg_wake(struct oneloop_pg *pg) {
    if (pg->connecting || pg->closed)
        return;
    if (PQstatus(pg->conn) != CONNECTION_OK)
        oneloop_reset_timer(pg->loop, pg->timer, 0);
    else /* which it is soon, and that is told in a turn to come */
        oneloop_update_handler(pg->loop, pg->handler, ONELOOP_READABLE | ONELOOP_WRITABLE);
}

/* Sends a query, or several. False, with PQerrorMessage, if that is not possible now. */
static inline int oneloop_pg_send(struct oneloop_pg *pg, const char *query) {
    if (!PQsendQuery(pg->conn, query))
        return 0;
    pg->busy = 1;
    oneloop_pg_flush(pg);
    return 1;
}

/* The rows of a COPY TO STDOUT that are there. False if more will come. */
static inline int oneloop_pg_rows(struct oneloop_pg *pg) {
    for (;;) {
        char *row = NULL;
        int length = PQgetCopyData(pg->conn, &row, 1);
        if (length == 0)
            return 0;
        if (length < 0)
            return 1;
        if (pg->row)
            pg->row(pg, row, length);
        PQfreemem(row);
        if (pg->closed)
            return 0;
    }
}

/* Hands out all that has been read, which sending may do, too; then sends. */
static inline void oneloop_pg_hand_out(struct oneloop_pg *pg) {
    while (!pg->closed && pg->busy && !PQisBusy(pg->conn)) {
        if (pg->copying == PGRES_COPY_OUT && !oneloop_pg_rows(pg))
            break;
        PGresult *result = PQgetResult(pg->conn);
        ExecStatusType status = result ? PQresultStatus(result) : PGRES_EMPTY_QUERY;
        /* Until the copy has ended, libpq gives this result again and again. */
        int copies = status == PGRES_COPY_IN || status == PGRES_COPY_OUT;
        if (copies && status == pg->copying) {
            PQclear(result);
            break;
        }
        pg->copying = copies ? status : PGRES_EMPTY_QUERY;
        pg->busy = result != NULL;
        if (pg->result)
            pg->result(pg, result);
        else
            PQclear(result);
    }
    /* After the results: some stand behind the last of them. */
    for (PGnotify *notify; !pg->closed && (notify = PQnotifies(pg->conn)) != NULL;) {
        if (pg->notified)
            pg->notified(pg, notify);
        PQfreemem(notify);
    }
    if (!pg->closed)
        oneloop_pg_flush(pg);
}

static inline int oneloop_pg_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                   void *user);

static inline int oneloop_pg_watch(struct oneloop_pg *pg, uint32_t interest) {
    pg->fd = PQsocket(pg->conn);
    int error = oneloop_add_handler(pg->loop, pg->fd, interest, ONELOOP_LEVEL, oneloop_pg_ready, pg,
                                    oneloop_pg_gone, &pg->handler);
    pg->holders += error == 0;
    return error;
}

/* Goes on connecting. libpq may close its socket and open another, under the same number even, and
 * go on wanting the same: the kernel has to be told again. */
static inline void oneloop_pg_connecting(struct oneloop_pg *pg, PostgresPollingStatusType status) {
    if (status == PGRES_POLLING_FAILED || PQsocket(pg->conn) < 0) {
        oneloop_pg_fail(pg);
        return;
    }
    uint32_t interest = status == PGRES_POLLING_READING ? ONELOOP_READABLE : ONELOOP_WRITABLE;
    if (status == PGRES_POLLING_OK)
        interest = ONELOOP_READABLE;
    int error;
    if (PQsocket(pg->conn) == pg->fd) {
        oneloop_update_handler(pg->loop, pg->handler, interest);
        error = oneloop_rearm_handler(pg->loop, pg->handler);
    } else {
        oneloop_remove_handler(pg->loop, pg->handler);
        error = oneloop_pg_watch(pg, interest);
    }
    if (error < 0) {
        oneloop_pg_fail(pg);
        return;
    }
    if (status == PGRES_POLLING_OK) {
        PQsetnonblocking(pg->conn, 1);
        oneloop_reset_timer(pg->loop, pg->timer, ONELOOP_NEVER);
        pg->connecting = 0;
        pg->connected(pg, 1);
    }
}

static inline int oneloop_pg_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                   void *user) {
    struct oneloop_pg *pg = (struct oneloop_pg *)user;
    (void)loop, (void)id, (void)fd;
    if (pg->connecting) {
        oneloop_pg_connecting(pg, PQconnectPoll(pg->conn));
        return ONELOOP_CONTINUE;
    }
    if (ready & ONELOOP_READABLE && !PQconsumeInput(pg->conn)) {
        oneloop_pg_fail(pg);
        return ONELOOP_CONTINUE;
    }
    oneloop_pg_hand_out(pg);
    if (!pg->closed && pg->copying == PGRES_COPY_IN && pg->room && ready & ONELOOP_WRITABLE)
        pg->room(pg);
    return ONELOOP_CONTINUE;
}

static inline void oneloop_pg_late(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id;
    oneloop_pg_fail((struct oneloop_pg *)user);
}

/* Begins to connect, for `timeout` nanoseconds at most. NULL if there is no memory left, or no loop
 * any more; all else is told to `connected`, in a turn to come. Whatever happens, it ends with oneloop_pg_close. */
static inline struct oneloop_pg *
oneloop_pg_connect(oneloop_t *loop, const char *conninfo, int64_t timeout,
                   void (*connected)(struct oneloop_pg *pg, int ok), void *user) {
    struct oneloop_pg *pg = (struct oneloop_pg *)calloc(1, sizeof *pg);
    if (!pg)
        return NULL;
    pg->user = user;
    pg->connected = connected;
    pg->loop = loop;
    pg->fd = -1;
    pg->connecting = 1;
    pg->holders = 1;
    pg->conn = PQconnectStart(conninfo);
    if (!pg->conn || oneloop_add_timer(loop, timeout, 0, oneloop_pg_late, pg, oneloop_pg_gone,
                                       &pg->timer) < 0) {
        PQfinish(pg->conn);
        free(pg);
        return NULL;
    }
    if (PQstatus(pg->conn) == CONNECTION_BAD || oneloop_pg_watch(pg, ONELOOP_WRITABLE) < 0)
        oneloop_reset_timer(loop, pg->timer, 0);
    return pg;
}

#endif
