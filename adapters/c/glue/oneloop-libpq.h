/* libpq on a oneloop loop: connecting, queries, pipelines, COPY and NOTIFY without waiting.
 *
 *   static void connected(struct oneloop_pg *pg, int ok) {
 *       const char *values[] = {"42"};
 *       if (ok)
 *           PQsendQueryParams(pg->conn, "SELECT $1::int + 1", 1, NULL, values, NULL, NULL, 0);
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
 * The connection is pg->conn. Send with any function of libpq: PQsendQueryParams, PQsendPrepare,
 * PQsendDescribePortal, PQpipelineSync, PQputCopyData. Before the loop sleeps, the glue sends what libpq
 * has queued, and delivers all that libpq has received. Results arrive as PQgetResult
 * returns them. In pipeline mode a NULL ends each query, and a result of PGRES_PIPELINE_SYNC stands alone.
 *
 * Code outside of the loop's callbacks, such as a task of its host, calls oneloop_pg_wake after it has used
 * pg->conn. Synchronous calls such as PQexec are allowed if no query is under way. libpq looks up host
 * names, and waits for the answer: pass hostaddr, or a socket's folder.
 *
 * Errors are told by `connected`, by results and by `lost`. Without `result`, errors of queries are reported by
 * oneloop_report_error, and without `lost`, the loss of the connection.
 *
 * Threads: all of it on the thread that drives the loop. If the loop ends first, it closes and frees its
 * connections. They must not be used after that.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBPQ_H
#define ONELOOP_LIBPQ_H

#include <libpq-fe.h>
#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

/* Callbacks in a turn, until the other handlers of the loop have their turn. */
#ifndef ONELOOP_PG_BUDGET
#define ONELOOP_PG_BUDGET 128
#endif

/* The next thing to deliver. */
enum oneloop_pg_item {
    ONELOOP_PG_NOTHING,
    ONELOOP_PG_RESULT, /* NULL at the end of a query */
    ONELOOP_PG_ROW,
    ONELOOP_PG_NOTIFY,
    ONELOOP_PG_LOST
};

struct oneloop_pg {
    PGconn *conn;
    void *user;
    /* Called once for oneloop_pg_connect and for each oneloop_pg_reset: the connection is there, or has
     * failed. */
    void (*connected)(struct oneloop_pg *pg, int ok);
    /* Called with each result of a query, which the callee clears by PQclear; with NULL when the query is
     * over. */
    void (*result)(struct oneloop_pg *pg, PGresult *result);
    /* Called with each row of a COPY TO STDOUT, and with each message of a replication stream. */
    void (*row)(struct oneloop_pg *pg, const char *row, int length);
    /* Called in a COPY FROM STDIN when there is room: PQputCopyData, until PQputCopyEnd. */
    void (*room)(struct oneloop_pg *pg);
    /* Called with each notification. */
    void (*notified)(struct oneloop_pg *pg, PGnotify *notify);
    /* Called once, when the connection is lost. The query that was under way has ended with an error before
     * that. */
    void (*lost)(struct oneloop_pg *pg);
    /* Private. */
    oneloop_t *loop;
    oneloop_id handler, timer, hook;
    int fd, connecting, resetting, busy, broken, told, closed;
    int holders; /* handlers, timer and hook, while any of them may still be in a callback */
    uint32_t interest;
    ExecStatusType copying;
    enum oneloop_pg_item item;
    PGresult *next_result;
    PGnotify *next_notify;
    char *next_row;
    int row_length;
    uint64_t received; /* up to this count of bytes, the TLS layer was emptied */
};

static inline void oneloop_pg_discard(struct oneloop_pg *pg) {
    PQclear(pg->next_result);
    PQfreemem(pg->next_notify);
    PQfreemem(pg->next_row);
    pg->next_result = NULL;
    pg->next_notify = NULL;
    pg->next_row = NULL;
    pg->item = ONELOOP_PG_NOTHING;
}

static inline void oneloop_pg_gone(void *user) {
    struct oneloop_pg *pg = (struct oneloop_pg *)user;
    if (--pg->holders > 0)
        return;
    oneloop_pg_discard(pg);
    PQfinish(pg->conn); /* if the loop has ended first */
    free(pg);
}

/* Closes the connection, in whatever state. Also inside its callbacks. It is freed after those. */
static inline void oneloop_pg_close(struct oneloop_pg *pg) {
    if (pg->closed)
        return;
    pg->closed = 1;
    oneloop_remove_handler(pg->loop, pg->handler); /* before libpq closes the socket */
    PQfinish(pg->conn);
    pg->conn = NULL;
    oneloop_remove_hook(pg->loop, pg->hook);
    oneloop_cancel_timer(pg->loop, pg->timer);
}

/* Has the loop send what libpq has queued, and deliver what it has received. To be called after code outside
 * of the loop's callbacks has used the connection. Inside them it is not needed. */
static inline void oneloop_pg_wake(struct oneloop_pg *pg) { oneloop_wake(pg->loop); }

/* The connection is of no use any more. Has a turn deliver what is left, and then say so. */
static inline void oneloop_pg_break(struct oneloop_pg *pg) {
    pg->broken = 1;
    pg->interest = 0;
    oneloop_update_handler(pg->loop, pg->handler, 0);
    oneloop_reset_timer(pg->loop, pg->timer, 0);
}

/* A socket that cannot be watched is of no use, either. */
static inline void oneloop_pg_wait_for(struct oneloop_pg *pg, uint32_t interest) {
    if (interest == pg->interest)
        return;
    pg->interest = interest;
    if (oneloop_update_handler(pg->loop, pg->handler, interest) < 0 && interest)
        oneloop_pg_break(pg);
}

/* Sends what can be sent now. The loop does this before it sleeps. */
static inline void oneloop_pg_flush(struct oneloop_pg *pg) {
    int room = (pg->copying == PGRES_COPY_IN || pg->copying == PGRES_COPY_BOTH) && pg->room != NULL;
    int left;
    if (pg->broken || pg->connecting || pg->closed)
        return;
    left = PQflush(pg->conn);
    if (left < 0 || PQstatus(pg->conn) != CONNECTION_OK)
        oneloop_pg_break(pg);
    else
        oneloop_pg_wait_for(pg, ONELOOP_READABLE | (left || room ? ONELOOP_WRITABLE : 0));
}

/* Sends a query, or several. Returns 0, with PQerrorMessage, if that is not possible now. */
static inline int oneloop_pg_send(struct oneloop_pg *pg, const char *query) {
    if (!PQsendQuery(pg->conn, query))
        return 0;
    pg->busy = 1;
    oneloop_pg_flush(pg);
    return 1;
}

/* Looks for the next thing to deliver. Returns 0 if libpq has received nothing more. */
static inline int oneloop_pg_look(struct oneloop_pg *pg) {
    PGTransactionStatusType transaction;
    if (pg->closed)
        return 0;
    if (pg->item != ONELOOP_PG_NOTHING)
        return 1;
    /* A query is under way, or a pipeline has another. Asked first, since what follows parses. */
    transaction = PQtransactionStatus(pg->conn);
    if (transaction == PQTRANS_ACTIVE)
        pg->busy = 1;
    if ((pg->next_notify = PQnotifies(pg->conn)) != NULL) {
        pg->item = ONELOOP_PG_NOTIFY;
        return 1;
    }
    if (pg->busy && !PQisBusy(pg->conn)) {
        ExecStatusType status = PGRES_EMPTY_QUERY;
        int copies;
        if (pg->copying == PGRES_COPY_OUT || pg->copying == PGRES_COPY_BOTH) {
            int length = PQgetCopyData(pg->conn, &pg->next_row, 1);
            if (length > 0) {
                pg->row_length = length;
                pg->item = ONELOOP_PG_ROW;
                return 1;
            }
            if (length == 0 && PQstatus(pg->conn) == CONNECTION_OK)
                return 0;
        }
        pg->next_result = PQgetResult(pg->conn);
        if (pg->next_result)
            status = PQresultStatus(pg->next_result);
        /* As long as a copy lasts, libpq returns this result again and again. */
        copies = status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
        if (copies && status == pg->copying && PQstatus(pg->conn) == CONNECTION_OK) {
            PQclear(pg->next_result);
            pg->next_result = NULL;
            return 0;
        }
        pg->copying = copies ? status : PGRES_EMPTY_QUERY;
        /* Nothing is after the last query of a pipeline, nor after its last synchronisation. */
        if (!pg->next_result)
            pg->busy = 0;
#ifdef LIBPQ_HAS_PIPELINING
        if (status == PGRES_PIPELINE_SYNC)
            pg->busy = 0;
#endif
        pg->item = ONELOOP_PG_RESULT;
        return 1;
    }
    if ((pg->broken || PQstatus(pg->conn) != CONNECTION_OK) && !pg->told) {
        pg->item = ONELOOP_PG_LOST;
        return 1;
    }
    return 0;
}

static inline void oneloop_pg_deliver(struct oneloop_pg *pg) {
    enum oneloop_pg_item item = pg->item;
    PGresult *result = pg->next_result;
    PGnotify *notify = pg->next_notify;
    char *row = pg->next_row;
    pg->next_result = NULL;
    pg->next_notify = NULL;
    pg->next_row = NULL;
    pg->item = ONELOOP_PG_NOTHING;
    if (item == ONELOOP_PG_RESULT) {
        if (pg->result) {
            pg->result(pg, result);
            return;
        }
        if (PQresultStatus(result) == PGRES_FATAL_ERROR && result)
            oneloop_report_error(pg->loop, "libpq", PQresultErrorMessage(result));
        PQclear(result);
    } else if (item == ONELOOP_PG_ROW) {
        if (pg->row)
            pg->row(pg, row, pg->row_length);
        PQfreemem(row);
    } else if (item == ONELOOP_PG_NOTIFY) {
        if (pg->notified)
            pg->notified(pg, notify);
        PQfreemem(notify);
    } else if (item == ONELOOP_PG_LOST) {
        pg->told = 1;
        oneloop_pg_wait_for(pg, 0);
        if (pg->lost)
            pg->lost(pg);
        else
            oneloop_report_error(pg->loop, "libpq", PQerrorMessage(pg->conn));
    }
}

/* Delivers what there is, up to the budget of a turn. */
static inline void oneloop_pg_hand_out(struct oneloop_pg *pg) {
    int budget = ONELOOP_PG_BUDGET;
    while (!pg->connecting && oneloop_pg_look(pg)) {
        if (budget-- == 0) {
            if (pg->broken) /* no descriptor brings the next turn */
                oneloop_reset_timer(pg->loop, pg->timer, 0);
            return;
        }
        oneloop_pg_deliver(pg);
    }
}

static inline int oneloop_pg_read(struct oneloop_pg *pg) {
    if (PQconsumeInput(pg->conn))
        return 1;
    oneloop_pg_break(pg);
    return 0;
}

/* How many bytes the socket has received so far, read or not. 0 if the system does not tell. */
static inline uint64_t oneloop_pg_received(struct oneloop_pg *pg) {
#ifdef __linux__
    struct { /* the beginning of the kernel's struct tcp_info, which older C libraries lack */
        char before[128];
        uint64_t received;
    } info;
    socklen_t size = sizeof info;
    if (getsockopt(PQsocket(pg->conn), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
        size == sizeof info)
        return info.received + 1;
#endif
    (void)pg;
    return 0;
}

/* An encrypted connection may hold bytes that the descriptor does not show any more: libpq reads a part of a
 * record, and the rest stays decrypted in the TLS layer. libpq reads at least 8 kB at once, and a record has
 * 16 kB at most. Two calls therefore empty the layer, unless they have fetched a new record. The socket's count
 * of bytes shows that. Returns how long the loop may sleep: where there is no count, until the next look. */
static inline int64_t oneloop_pg_drain(struct oneloop_pg *pg) {
    int rounds;
    if (pg->broken || (!PQsslInUse(pg->conn) && !PQgssEncInUse(pg->conn)))
        return ONELOOP_NEVER;
    for (rounds = 0; rounds < 8; rounds++) {
        struct pollfd socket = {PQsocket(pg->conn), POLLIN, 0};
        uint64_t received = oneloop_pg_received(pg);
        if (received && received == pg->received)
            return ONELOOP_NEVER;
        if (poll(&socket, 1, 0) != 0)
            return ONELOOP_NEVER; /* the loop sees that, too */
        if (!oneloop_pg_read(pg) || !oneloop_pg_read(pg))
            return 0;
        if (!received)
            return pg->busy ? 10000000 : ONELOOP_NEVER;
        if (oneloop_pg_received(pg) == received)
            pg->received = received;
    }
    return 0;
}

/* Before the loop sleeps: sends, and looks for what was received while other code used the connection. */
static inline int64_t oneloop_pg_prepare(oneloop_t *loop, void *user) {
    struct oneloop_pg *pg = (struct oneloop_pg *)user;
    int64_t limit;
    (void)loop;
    if (pg->closed || pg->connecting || pg->told)
        return ONELOOP_NEVER;
    oneloop_pg_flush(pg);
    if (oneloop_pg_look(pg))
        return 0;
    limit = oneloop_pg_drain(pg);
    return oneloop_pg_look(pg) ? 0 : limit;
}

static inline void oneloop_pg_check(oneloop_t *loop, void *user) {
    (void)loop;
    oneloop_pg_hand_out((struct oneloop_pg *)user);
}

static inline int oneloop_pg_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                   void *user);

static inline int oneloop_pg_watch(struct oneloop_pg *pg, uint32_t interest) {
    int error;
    pg->fd = PQsocket(pg->conn);
    pg->interest = interest;
    error = oneloop_add_handler(pg->loop, pg->fd, interest, ONELOOP_LEVEL, oneloop_pg_ready, pg,
                                oneloop_pg_gone, &pg->handler);
    pg->holders += error == 0;
    return error;
}

/* Connecting has failed. */
static inline void oneloop_pg_fail(struct oneloop_pg *pg) {
    pg->interest = 0;
    oneloop_update_handler(pg->loop, pg->handler, 0);
    oneloop_reset_timer(pg->loop, pg->timer, ONELOOP_NEVER);
    pg->connecting = 0;
    pg->broken = pg->told = 1;
    pg->connected(pg, 0);
}

/* Goes on connecting. libpq may close its socket and open another, under the same number even, and
 * go on wanting the same: the kernel has to be told again. */
static inline void oneloop_pg_connecting(struct oneloop_pg *pg, PostgresPollingStatusType status) {
    uint32_t interest = ONELOOP_READABLE;
    int error;
    if (status == PGRES_POLLING_FAILED || PQsocket(pg->conn) < 0) {
        oneloop_pg_fail(pg);
        return;
    }
    if (status == PGRES_POLLING_WRITING)
        interest = ONELOOP_WRITABLE;
    if (PQsocket(pg->conn) == pg->fd) {
        pg->interest = interest;
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
        oneloop_pg_connecting(pg, pg->resetting ? PQresetPoll(pg->conn) : PQconnectPoll(pg->conn));
        return ONELOOP_CONTINUE;
    }
    if (pg->broken)
        return ONELOOP_CONTINUE;
    /* Reads no more before that is delivered: a fast server would fill the memory. */
    if (ready & ONELOOP_READABLE && !oneloop_pg_look(pg))
        oneloop_pg_read(pg);
    oneloop_pg_hand_out(pg);
    if (pg->closed || pg->connecting || !(ready & ONELOOP_WRITABLE))
        return ONELOOP_CONTINUE;
    oneloop_pg_flush(pg);
    if (!pg->broken && (pg->copying == PGRES_COPY_IN || pg->copying == PGRES_COPY_BOTH) && pg->room)
        pg->room(pg);
    return ONELOOP_CONTINUE;
}

/* Connecting takes too long, or the connection is broken. */
static inline void oneloop_pg_due(oneloop_t *loop, oneloop_id id, void *user) {
    struct oneloop_pg *pg = (struct oneloop_pg *)user;
    (void)loop, (void)id;
    if (pg->connecting)
        oneloop_pg_fail(pg);
    else
        oneloop_pg_hand_out(pg);
}

/* Begins to connect, for `timeout` nanoseconds at most. Returns NULL if there is no memory left, or no loop
 * any more. `connected` is told all else, in a later turn. Whatever happens, end it with
 * oneloop_pg_close. */
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
    if (!pg->conn || oneloop_add_timer(loop, timeout, 0, oneloop_pg_due, pg, oneloop_pg_gone,
                                       &pg->timer) < 0) {
        PQfinish(pg->conn);
        free(pg);
        return NULL;
    }
    if (oneloop_add_hook(loop, oneloop_pg_prepare, oneloop_pg_check, pg, oneloop_pg_gone,
                         &pg->hook) < 0) {
        oneloop_pg_close(pg);
        return NULL;
    }
    pg->holders = 2;
    if (PQstatus(pg->conn) == CONNECTION_BAD || oneloop_pg_watch(pg, ONELOOP_WRITABLE) < 0)
        oneloop_reset_timer(loop, pg->timer, 0);
    return pg;
}

/* Connects again, with the same parameters, as oneloop_pg_connect did: after the connection was lost, or
 * connecting failed. `connected` is told. What was not delivered of the old connection is dropped. */
static inline void oneloop_pg_reset(struct oneloop_pg *pg, int64_t timeout) {
    oneloop_remove_handler(pg->loop, pg->handler); /* before libpq closes the socket */
    pg->fd = -1;
    oneloop_pg_discard(pg);
    pg->connecting = pg->resetting = 1;
    pg->busy = pg->broken = pg->told = 0;
    pg->copying = PGRES_EMPTY_QUERY;
    pg->received = 0;
    if (!PQresetStart(pg->conn) || oneloop_pg_watch(pg, ONELOOP_WRITABLE) < 0)
        timeout = 0;
    oneloop_reset_timer(pg->loop, pg->timer, timeout);
}

/* A request to cancel. */
struct oneloop_pg_cancelling {
    struct oneloop_pg *pg;
    void (*done)(struct oneloop_pg *pg, const char *error);
#ifdef LIBPQ_HAS_ASYNC_CANCEL
    PGcancelConn *conn;
    oneloop_id handler;
    int fd;
    int holders;
#else
    char error[256];
#endif
};

#ifdef LIBPQ_HAS_ASYNC_CANCEL
static inline void oneloop_pg_cancel_gone(void *user) {
    struct oneloop_pg_cancelling *cancel = (struct oneloop_pg_cancelling *)user;
    struct oneloop_pg *pg = cancel->pg;
    if (--cancel->holders > 0)
        return;
    PQcancelFinish(cancel->conn);
    free(cancel);
    oneloop_pg_gone(pg);
}

static inline int oneloop_pg_cancel_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                          void *user);

static inline int oneloop_pg_cancel_watch(struct oneloop_pg_cancelling *cancel, uint32_t interest) {
    int error;
    cancel->fd = PQcancelSocket(cancel->conn);
    error = oneloop_add_handler(cancel->pg->loop, cancel->fd, interest, ONELOOP_LEVEL,
                                oneloop_pg_cancel_ready, cancel, oneloop_pg_cancel_gone,
                                &cancel->handler);
    cancel->holders += error == 0;
    return error;
}

static inline int oneloop_pg_cancel_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                          void *user) {
    struct oneloop_pg_cancelling *cancel = (struct oneloop_pg_cancelling *)user;
    PostgresPollingStatusType status = PQcancelPoll(cancel->conn);
    uint32_t interest = status == PGRES_POLLING_READING ? ONELOOP_READABLE : ONELOOP_WRITABLE;
    (void)fd, (void)ready;
    if (!cancel->pg->closed && (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING)) {
        if (PQcancelSocket(cancel->conn) != cancel->fd) {
            if (oneloop_pg_cancel_watch(cancel, interest) == 0)
                return ONELOOP_REMOVE; /* the old one */
        } else {
            oneloop_update_handler(loop, id, interest);
            if (oneloop_rearm_handler(loop, id) == 0)
                return ONELOOP_CONTINUE;
        }
    }
    if (!cancel->pg->closed && cancel->done)
        cancel->done(cancel->pg,
                     status == PGRES_POLLING_OK ? NULL : PQcancelErrorMessage(cancel->conn));
    return ONELOOP_REMOVE;
}
#else
static inline void oneloop_pg_cancel_done(oneloop_t *loop, void *user) {
    struct oneloop_pg_cancelling *cancel = (struct oneloop_pg_cancelling *)user;
    (void)loop;
    if (!cancel->pg->closed && cancel->done)
        cancel->done(cancel->pg, cancel->error[0] ? cancel->error : NULL);
}

static inline void oneloop_pg_cancel_gone(void *user) {
    struct oneloop_pg *pg = ((struct oneloop_pg_cancelling *)user)->pg;
    free(user);
    oneloop_pg_gone(pg);
}
#endif

/* Asks the server to cancel the query that is under way. `done`, which may be NULL, is called in a later turn,
 * when the request has arrived (`error` is NULL) or has failed. The query itself then ends as usual, often
 * with an error. Since libpq 17 this does not wait. With an older libpq it waits until the server has taken
 * the request. Returns 0 if the request cannot be begun. */
static inline int oneloop_pg_cancel(struct oneloop_pg *pg,
                                    void (*done)(struct oneloop_pg *pg, const char *error)) {
    struct oneloop_pg_cancelling *cancel =
        (struct oneloop_pg_cancelling *)calloc(1, sizeof *cancel);
    if (!cancel)
        return 0;
    cancel->pg = pg;
    cancel->done = done;
#ifdef LIBPQ_HAS_ASYNC_CANCEL
    cancel->conn = PQcancelCreate(pg->conn);
    if (!cancel->conn || !PQcancelStart(cancel->conn) ||
        oneloop_pg_cancel_watch(cancel, ONELOOP_WRITABLE) < 0) {
        PQcancelFinish(cancel->conn);
        free(cancel);
        return 0;
    }
#else
    {
        PGcancel *request = PQgetCancel(pg->conn);
        if (!request)
            strcpy(cancel->error, "there is no connection");
        else if (!PQcancel(request, cancel->error, sizeof cancel->error))
            cancel->error[sizeof cancel->error - 1] = 0;
        else
            cancel->error[0] = 0;
        PQfreeCancel(request);
    }
    if (oneloop_call_soon(pg->loop, ONELOOP_NORMAL, oneloop_pg_cancel_done, cancel,
                          oneloop_pg_cancel_gone, NULL) < 0) {
        free(cancel);
        return 0;
    }
#endif
    pg->holders++;
    return 1;
}

#endif
