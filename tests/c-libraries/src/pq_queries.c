/* All that libpq has is delivered, whichever function sent the query: libpq's own send functions, pipelines, copies in both
 * directions, notifications amid other work, TLS, cancel and reset. The server is there when these begin. */

#define _GNU_SOURCE
#include "oneloop-libpq.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define MS 1000000LL
#define MANY 20000

static _Thread_local struct {
    const char *conninfo;
    oneloop_t *loop;
    pthread_t thread;
    struct oneloop_pg *pg, *other;
    int step, count, notified, sent, syncs;
    int64_t turn;  /* the last turn in which anything was called, */
    int calls;     /* how often in that, */
    int most;      /* and in any */
    char log[4000];
} t;

void pq_queries_server(const char *conninfo) {
    memset(&t, 0, sizeof t);
    t.conninfo = conninfo;
}

static void note(const char *format, ...) {
    va_list arguments;
    size_t length = strlen(t.log);
    va_start(arguments, format);
    vsnprintf(t.log + length, sizeof t.log - length, format, arguments);
    va_end(arguments);
}

static void expect(const char *expected) {
    CHECK(strcmp(t.log, expected) == 0);
    if (strcmp(t.log, expected) != 0)
        fprintf(stderr, "  %s\nnot %s\n", t.log, expected);
    t.log[0] = 0;
}

/* Each callback of the library. */
static void called(void) {
    int64_t turn = oneloop_count(t.loop, ONELOOP_COUNT_TURNS);
    check_thread(t.thread);
    t.calls = turn == t.turn ? t.calls + 1 : 1;
    t.turn = turn;
    if (t.calls > t.most)
        t.most = t.calls;
}

static void finish(void) {
    if (t.pg)
        oneloop_pg_close(t.pg);
    if (t.other)
        oneloop_pg_close(t.other);
    t.pg = t.other = NULL;
    oneloop_stop(t.loop);
}

static int begin(oneloop_t *loop, void (*connected)(struct oneloop_pg *, int)) {
    t.loop = loop;
    t.thread = pthread_self();
    t.pg = oneloop_pg_connect(loop, t.conninfo, 20000 * MS, connected, NULL);
    CHECK(t.pg != NULL);
    return failures;
}

/* Into the log, in short. */
static void note_result(PGresult *result) {
    const char *code;
    if (!result) {
        note(";");
        return;
    }
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        if (PQntuples(result) == 1)
            note(" %s", PQgetvalue(result, 0, 0));
        else
            note(" rows:%d", PQntuples(result));
        break;
    case PGRES_COMMAND_OK:
        if (PQnparams(result) || PQnfields(result))
            note(" described:%d:%d", PQnparams(result), PQnfields(result));
        else
            note(" ok");
        break;
    case PGRES_FATAL_ERROR: /* of the server, or of libpq, which has no code for it */
        code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        note(" %s", code ? code : "closed");
        break;
    case PGRES_PIPELINE_SYNC:
        note(" sync\n");
        break;
    case PGRES_PIPELINE_ABORTED:
        note(" aborted");
        break;
    default:
        note(" %s", PQresStatus(PQresultStatus(result)));
    }
    PQclear(result);
}

/* Every function that sends. */

static void next_send(struct oneloop_pg *pg) {
    static const char *const values[] = {"42"};
    PGconn *conn = pg->conn;
    int sent = 1;
    switch (t.step++) {
    case 0:
        sent = PQsendQuery(conn, "SELECT 'query'");
        break;
    case 1:
        sent = PQsendQueryParams(conn, "SELECT $1::int + 1", 1, NULL, values, NULL, NULL, 0);
        break;
    case 2:
        sent = PQsendPrepare(conn, "statement", "SELECT $1::int + 2", 1, NULL);
        break;
    case 3:
        sent = PQsendQueryPrepared(conn, "statement", 1, values, NULL, NULL, 0);
        break;
    case 4:
        sent = PQsendDescribePrepared(conn, "statement");
        break;
    case 5:
        sent = PQsendQuery(conn, "BEGIN; DECLARE c CURSOR FOR SELECT 1 AS a, 2 AS b");
        break;
    case 6:
        sent = PQsendDescribePortal(conn, "c");
        break;
    case 7:
        sent = PQsendQuery(conn, "");
        break;
    case 8:
        sent = PQsendQueryParams(conn, "SELECT 1 / ($1::int - 42)", 1, NULL, values, NULL, NULL, 0);
        break;
    case 9:
        sent = oneloop_pg_send(pg, "ROLLBACK; SELECT 'sent'");
        break;
    default:
        expect(" query; 43; ok; 44; described:1:1; ok ok; described:0:2;"
               " PGRES_EMPTY_QUERY; 22012; ok sent;");
        finish();
    }
    CHECK(sent == 1);
}

static void sent_result(struct oneloop_pg *pg, PGresult *result) {
    int is_over = !result;
    called();
    note_result(result);
    if (is_over)
        next_send(pg);
}

static void sends_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = sent_result;
    next_send(pg);
}

int test_pq_every_send(oneloop_t *loop) { return begin(loop, sends_connected); }

/* A pipeline with an error in its middle. */

static void pipe_query(struct oneloop_pg *pg, const char *value) {
    CHECK(PQsendQueryParams(pg->conn, "SELECT 10 / $1::int", 1, NULL, &value, NULL, NULL, 0) == 1);
}

static void piped_result(struct oneloop_pg *pg, PGresult *result) {
    int is_sync = result && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    int is_over = !result;
    called();
    note_result(result);
    if (is_sync && ++t.syncs == 2) {
        pipe_query(pg, "10"); /* whose result is asked for without an end of the transaction */
        CHECK(PQsendFlushRequest(pg->conn) == 1);
    } else if (t.syncs == 2 && is_over) {
        CHECK(PQpipelineSync(pg->conn) == 1);
    } else if (is_sync && t.syncs == 3) {
        CHECK(PQexitPipelineMode(pg->conn) == 1);
        CHECK(PQsendQuery(pg->conn, "SELECT 'left'") == 1);
    } else if (t.syncs == 3 && is_over) {
        expect(" 10; 5; 22012; aborted; sync\n 3; sync\n 1; sync\n left;");
        finish();
    }
}

static void pipes_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = piped_result;
    CHECK(PQenterPipelineMode(pg->conn) == 1);
    pipe_query(pg, "1");
    pipe_query(pg, "2");
    pipe_query(pg, "0");
    pipe_query(pg, "2");
    CHECK(PQpipelineSync(pg->conn) == 1);
    pipe_query(pg, "3");
    CHECK(PQpipelineSync(pg->conn) == 1);
}

int test_pq_pipeline(oneloop_t *loop) { return begin(loop, pipes_connected); }

/* Many queries in a pipeline, with parameters that fill the sockets in both directions. */

static void long_result(struct oneloop_pg *pg, PGresult *result) {
    called();
    if (result && PQresultStatus(result) == PGRES_TUPLES_OK) {
        CHECK(PQgetlength(result, 0, 0) == 2000);
        t.count++;
    } else if (result) {
        CHECK(PQresultStatus(result) == PGRES_PIPELINE_SYNC);
        CHECK(t.count == 5000);
        CHECK(t.most <= 2 * ONELOOP_PG_BUDGET);
        PQclear(result);
        finish();
        return;
    }
    PQclear(result);
    (void)pg;
}

static void long_connected(struct oneloop_pg *pg, int ok) {
    char text[2001];
    const char *value = text;
    CHECK(ok);
    pg->result = long_result;
    memset(text, 'x', 2000);
    text[2000] = 0;
    CHECK(PQenterPipelineMode(pg->conn) == 1);
    for (int n = 0; n < 5000; n++)
        CHECK(PQsendQueryParams(pg->conn, "SELECT $1::text", 1, NULL, &value, NULL, NULL, 0) == 1);
    CHECK(PQpipelineSync(pg->conn) == 1);
}

int test_pq_long_pipeline(oneloop_t *loop) { return begin(loop, long_connected); }

/* Row by row, with the loop's other work in between. */

static int other_work(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    t.sent++;
    return t.pg ? ONELOOP_CONTINUE : ONELOOP_REMOVE;
}

static void row_result(struct oneloop_pg *pg, PGresult *result) {
    called();
    if (!result) {
        CHECK(t.count == MANY);
        CHECK(t.most <= 2 * ONELOOP_PG_BUDGET);
        CHECK(t.sent >= MANY / (2 * ONELOOP_PG_BUDGET));
        finish();
        return;
    }
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
        CHECK(atoi(PQgetvalue(result, 0, 0)) == ++t.count);
    else
        CHECK(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0);
    PQclear(result);
    (void)pg;
}

static void rows_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = row_result;
    CHECK(oneloop_add_deferred(t.loop, other_work, NULL, NULL, NULL) == 0);
    CHECK(PQsendQuery(pg->conn, "SELECT generate_series(1, 20000)") == 1);
    CHECK(PQsetSingleRowMode(pg->conn) == 1);
}

int test_pq_row_by_row(oneloop_t *loop) { return begin(loop, rows_connected); }

/* A replication stream: COPY in both directions. The receiver reports how far it is, and ends the stream. */

static void begin_stream(void) {
    char start[200];
    snprintf(start, sizeof start, "START_REPLICATION PHYSICAL %.100s", t.log);
    CHECK(PQsendQuery(t.pg->conn, start) == 1);
    t.log[0] = 0;
}

static void stream_row(struct oneloop_pg *pg, const char *row, int length) {
    called();
    CHECK(length > 0 && (row[0] == 'w' || row[0] == 'k'));
    if (row[0] == 'w')
        t.count += length;
    if (t.count > 2000000 && !t.sent) {
        char report[34] = "r";
        CHECK(PQputCopyData(pg->conn, report, sizeof report) == 1);
        CHECK(PQputCopyEnd(pg->conn, NULL) == 1);
        t.sent = 1;
    }
}

static void stream_result(struct oneloop_pg *pg, PGresult *result) {
    int is_over = !result;
    called();
    (void)pg;
    if (t.step == 0 && result) { /* of IDENTIFY_SYSTEM */
        note("%s", PQgetvalue(result, 0, 2));
        PQclear(result);
        return;
    }
    if (t.step > 0)
        note_result(result);
    if (!is_over)
        return;
    if (t.step++ == 0) {
        /* Something to be sent: two megabytes and more. */
        CHECK(oneloop_pg_send(t.other, "CREATE TABLE streamed AS SELECT repeat('x', 1000) AS a"
                                       " FROM generate_series(1, 4000); DROP TABLE streamed"));
        begin_stream();
    } else {
        CHECK(t.sent && t.count > 2000000);
        CHECK(t.most <= 2 * ONELOOP_PG_BUDGET);
        expect(" PGRES_COPY_BOTH ok ok;");
        finish();
    }
}

static void stream_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = stream_result;
    pg->row = stream_row;
    CHECK(PQsendQuery(pg->conn, "IDENTIFY_SYSTEM") == 1);
}

static void writer_connected(struct oneloop_pg *pg, int ok) {
    char conninfo[1000];
    CHECK(ok);
    (void)pg;
    snprintf(conninfo, sizeof conninfo, "%s replication=true", t.conninfo);
    t.other = t.pg;
    t.pg = oneloop_pg_connect(t.loop, conninfo, 20000 * MS, stream_connected, NULL);
}

int test_pq_copy_both(oneloop_t *loop) { return begin(loop, writer_connected); }

/* Notifications amid a pipeline, and read by a synchronous call in a callback. */

static void amid_notified(struct oneloop_pg *pg, PGnotify *notify) {
    called();
    (void)pg;
    CHECK(atoi(notify->extra) == t.notified);
    if (++t.notified == 101)
        finish();
}

static void amid_result(struct oneloop_pg *pg, PGresult *result) {
    int is_sync = result && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    called();
    if (result)
        CHECK(PQresultStatus(result) != PGRES_FATAL_ERROR);
    PQclear(result);
    if (is_sync && ++t.syncs == 100) {
        CHECK(PQexitPipelineMode(pg->conn) == 1);
        /* Reads the last of them along with its answer. */
        PQclear(PQexec(pg->conn, "SELECT pg_notify('amid', '100')"));
        PQclear(PQexec(pg->conn, "SELECT 1"));
    }
}

static void amid_connected(struct oneloop_pg *pg, int ok) {
    char text[20];
    const char *value = text;
    CHECK(ok);
    pg->result = amid_result;
    pg->notified = amid_notified;
    PQclear(PQexec(pg->conn, "LISTEN amid"));
    CHECK(PQenterPipelineMode(pg->conn) == 1);
    for (int n = 0; n < 100; n++) {
        sprintf(text, "%d", n);
        CHECK(PQsendQueryParams(pg->conn, "SELECT pg_notify('amid', $1)", 1, NULL, &value, NULL, NULL,
                                0) == 1);
        CHECK(PQpipelineSync(pg->conn) == 1);
    }
}

int test_pq_listen_amid_work(oneloop_t *loop) { return begin(loop, amid_connected); }

/* Results of many sizes over TLS. */

static void ask_for(struct oneloop_pg *pg) {
    char query[200];
    sprintf(query,
            "SELECT repeat('x', 6000) FROM generate_series(1, 5) UNION ALL SELECT repeat('y', %d)",
            t.count);
    CHECK(PQsendQuery(pg->conn, query) == 1);
}

static void tls_result(struct oneloop_pg *pg, PGresult *result) {
    called();
    if (result) {
        CHECK(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 6);
        if (PQntuples(result) == 6)
            CHECK(PQgetlength(result, 5, 0) == t.count);
        PQclear(result);
        return;
    }
    t.count += 23;
    if (t.count < 2500)
        ask_for(pg);
    else
        finish();
}

static void tls_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    if (!ok) {
        fprintf(stderr, "%s", PQerrorMessage(pg->conn));
        finish();
        return;
    }
    CHECK(PQsslInUse(pg->conn));
    pg->result = tls_result;
    t.count = 1;
    ask_for(pg);
}

int test_pq_tls(oneloop_t *loop) { return begin(loop, tls_connected); }

/* The server ends the connection: its reason is told first. Then it is reset, and works. */

static void ended_lost(struct oneloop_pg *pg) {
    called();
    note(" lost");
    CHECK(PQstatus(pg->conn) == CONNECTION_BAD);
    oneloop_pg_reset(pg, 20000 * MS);
}

static void ended_result(struct oneloop_pg *pg, PGresult *result) {
    int is_over = !result;
    called();
    (void)pg;
    note_result(result);
    if (is_over && t.step == 2) {
        expect(" connected 57P01 closed; lost connected back;");
        finish();
    }
}

static void ended_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    note(" connected");
    pg->result = ended_result;
    pg->lost = ended_lost;
    CHECK(PQsendQuery(pg->conn, t.step++ == 0 ? "SELECT pg_terminate_backend(pg_backend_pid())"
                                              : "SELECT 'back'") == 1);
}

int test_pq_reset(oneloop_t *loop) { return begin(loop, ended_connected); }

/* A reset without an answer, and one that a close ends. */

static void unanswered_connected(struct oneloop_pg *pg, int ok) {
    if (t.step++ == 0) {
        CHECK(!ok);
        oneloop_pg_reset(pg, 10 * MS);
        return;
    }
    CHECK(!ok);
    oneloop_pg_reset(pg, 20000 * MS);
    finish();
}

int test_pq_reset_in_vain(oneloop_t *loop) {
    t.loop = loop;
    t.thread = pthread_self();
    t.pg = oneloop_pg_connect(loop, t.conninfo, 10 * MS, unanswered_connected, NULL);
    return failures;
}

/* Cancelled by the glue. */

static void cancel_done(struct oneloop_pg *pg, const char *error) {
    called();
    CHECK(!error);
    /* The server may have had no query yet. */
    if (t.step == 0)
        CHECK(oneloop_pg_cancel(pg, cancel_done));
    else
        t.count++;
    if (t.step == 2 && t.count)
        finish();
}

static void cancel_result(struct oneloop_pg *pg, PGresult *result) {
    called();
    if (result) {
        t.step = 1;
        note_result(result);
        return;
    }
    t.step = 2;
    expect(" 57014");
    if (t.count)
        finish();
    (void)pg;
}

static void cancel_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = cancel_result;
    CHECK(PQsendQuery(pg->conn, "SELECT pg_sleep(100)") == 1);
    CHECK(oneloop_pg_cancel(pg, cancel_done));
}

int test_pq_asks_to_cancel(oneloop_t *loop) { return begin(loop, cancel_connected); }

/* Closed inside each callback, with more to come. */

static void close_once(void) {
    called();
    finish();
}

static void closes_result(struct oneloop_pg *pg, PGresult *result) {
    (void)pg;
    int is_copy = result && PQresultStatus(result) == PGRES_COPY_OUT;
    PQclear(result);
    if (!is_copy)
        close_once();
}

static void closes_row(struct oneloop_pg *pg, const char *row, int length) {
    (void)pg, (void)row, (void)length;
    close_once();
}

static void closes_notified(struct oneloop_pg *pg, PGnotify *notify) {
    (void)pg, (void)notify;
    close_once();
}

static void closes_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = closes_result;
    CHECK(oneloop_pg_cancel(pg, NULL));
    CHECK(PQsendQuery(pg->conn, "SELECT 1; SELECT 2; SELECT 3") == 1);
}

int test_pq_closed_in_a_result(oneloop_t *loop) { return begin(loop, closes_connected); }

static void closes_copy_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = closes_result;
    pg->row = closes_row;
    CHECK(PQsendQuery(pg->conn, "COPY (SELECT generate_series(1, 1000)) TO STDOUT") == 1);
}

int test_pq_closed_in_a_row(oneloop_t *loop) { return begin(loop, closes_copy_connected); }

static void closes_listening_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->notified = closes_notified;
    CHECK(PQsendQuery(pg->conn, "LISTEN a; NOTIFY a, '1'; NOTIFY a, '2'; SELECT 1; SELECT 2") == 1);
}

int test_pq_closed_in_a_notification(oneloop_t *loop) {
    return begin(loop, closes_listening_connected);
}

/* The host's own code sends, and does no more than that. */

static void sent_beside(struct oneloop_pg *pg, PGresult *result) {
    int is_over = !result;
    (void)pg;
    note_result(result);
    if (is_over) {
        expect(" beside;");
        finish();
    }
}

static void waits_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = sent_beside;
    CHECK(PQenterPipelineMode(pg->conn) == 1);
    t.step = 1;
}

int test_pq_sent_beside(oneloop_t *loop) {
    begin(loop, waits_connected);
    while (t.step == 0)
        CHECK(oneloop_turn(loop, ONELOOP_NEVER, NULL) >= 0);
    return failures;
}

/* In a pipeline libpq keeps this until it is flushed. */
void pq_queries_send_beside(oneloop_t *loop) {
    (void)loop;
    CHECK(PQsendQueryParams(t.pg->conn, "SELECT 'beside'", 0, NULL, NULL, NULL, NULL, 0) == 1);
    CHECK(PQsendFlushRequest(t.pg->conn) == 1);
}

void pq_queries_wake(oneloop_t *loop) {
    (void)loop;
    oneloop_pg_wake(t.pg);
}
