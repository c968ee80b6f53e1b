/* libpq against a real PostgreSQL. */

#define _GNU_SOURCE
#include "oneloop-libpq.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define MS 1000000LL
#define ROWS 40000
#define BIG 8000000

static _Thread_local struct {
    const char *conninfo;
    oneloop_t *loop;
    pthread_t thread;
    struct oneloop_pg *pg[2];
    int tries, rows, step, notified;
    size_t bytes;
    char *text;
} t;

void pq_test_server(const char *conninfo) {
    memset(&t, 0, sizeof t);
    t.conninfo = conninfo;
}

static void here(void) { check_thread(t.thread); }

static void finish(void) {
    for (int n = 0; n < 2; n++)
        if (t.pg[n])
            oneloop_pg_close(t.pg[n]);
    memset(t.pg, 0, sizeof t.pg);
    free(t.text);
    t.text = NULL;
    oneloop_stop(t.loop);
}

/* The server may still be starting: tries again until it is there. */

static void again(oneloop_t *loop, oneloop_id id, void *user);

static void retry(struct oneloop_pg *pg) {
    void (*connected)(struct oneloop_pg *, int) = pg->connected;
    for (int n = 0; n < 2; n++)
        if (t.pg[n] == pg)
            t.pg[n] = NULL;
    oneloop_pg_close(pg);
    t.tries++;
    CHECK(oneloop_add_timer(t.loop, 20 * MS, 0, again, (void *)connected, NULL, NULL) == 0);
}

static void again(oneloop_t *loop, oneloop_id id, void *user) {
    void (*connected)(struct oneloop_pg *, int) = (void (*)(struct oneloop_pg *, int))user;
    oneloop_cancel_timer(loop, id);
    struct oneloop_pg *pg = oneloop_pg_connect(loop, t.conninfo, 5000 * MS, connected, NULL);
    CHECK(pg != NULL);
    t.pg[t.pg[0] != NULL] = pg;
}

static int begin(oneloop_t *loop, void (*connected)(struct oneloop_pg *, int)) {
    t.loop = loop;
    t.thread = pthread_self();
    CHECK(oneloop_add_timer(loop, 0, 0, again, (void *)connected, NULL, NULL) == 0);
    return failures;
}

static const char *value(PGresult *result) {
    CHECK(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1);
    return PQgetvalue(result, 0, 0);
}

/* Big things: a query text, a result, COPY in and out. */

static void put_rows(struct oneloop_pg *pg) {
    char row[100];
    while (t.rows < ROWS) {
        int length = snprintf(row, sizeof row, "%d\tthis is row %d of a table\n", t.rows, t.rows);
        int put = PQputCopyData(pg->conn, row, length);
        CHECK(put >= 0);
        if (put <= 0)
            break; /* until there is room */
        t.rows++;
        /* Not all in one go, to be fair. */
        if (t.rows % 1000 == 0)
            break;
    }
    if (t.rows == ROWS) {
        CHECK(PQputCopyEnd(pg->conn, NULL) == 1);
        pg->room = NULL;
    }
    oneloop_pg_flush(pg);
}

static void got_row(struct oneloop_pg *pg, const char *row, int length) {
    char expected[100];
    here();
    (void)pg;
    CHECK(snprintf(expected, sizeof expected, "%d\tthis is row %d of a table\n", t.rows, t.rows) ==
          length);
    CHECK(memcmp(row, expected, length) == 0);
    t.rows++;
}

static void big_result(struct oneloop_pg *pg, PGresult *result) {
    here();
    if (!result) {
        switch (t.step++) {
        case 0:
            CHECK(oneloop_pg_send(pg, "SELECT repeat('0123456789', 800000)"));
            return;
        case 1:
            CHECK(oneloop_pg_send(pg, "CREATE TEMPORARY TABLE rows (number int, words text);"
                                      "COPY rows FROM STDIN"));
            pg->room = put_rows;
            return;
        case 2:
            CHECK(t.rows == ROWS);
            t.rows = 0;
            CHECK(oneloop_pg_send(pg, "COPY (SELECT * FROM rows ORDER BY number) TO STDOUT"));
            return;
        default:
            CHECK(t.rows == ROWS);
            finish();
            return;
        }
    }
    if (t.step == 0)
        CHECK(atoi(value(result)) == BIG);
    if (t.step == 1) {
        const char *text = value(result);
        CHECK(PQgetlength(result, 0, 0) == BIG);
        for (int n = 0; n < BIG; n++)
            if (text[n] != '0' + n % 10) {
                CHECK(!"garbled");
                break;
            }
    }
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        fprintf(stderr, "%s", PQresultErrorMessage(result)), failures++;
    PQclear(result);
}

static void big_connected(struct oneloop_pg *pg, int ok) {
    here();
    if (!ok) {
        retry(pg);
        return;
    }
    pg->result = big_result;
    pg->row = got_row;
    t.text = malloc(BIG + 100);
    int length = sprintf(t.text, "SELECT length('");
    memset(t.text + length, 'x', BIG);
    strcpy(t.text + length + BIG, "')");
    CHECK(oneloop_pg_send(pg, t.text));
}

int test_pq_big_things(oneloop_t *loop) { return begin(loop, big_connected); }

/* Two connections: notifications, and one that cancels the other's query. */

static void second_result(struct oneloop_pg *pg, PGresult *result) {
    (void)pg;
    if (result)
        CHECK(PQresultStatus(result) == PGRES_COMMAND_OK ||
              PQresultStatus(result) == PGRES_TUPLES_OK);
    PQclear(result);
}

static void second_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = second_result;
    CHECK(oneloop_pg_send(pg, "NOTIFY news, 'one'; NOTIFY news, 'two'; NOTIFY news, 'three'"));
}

static void first_result(struct oneloop_pg *pg, PGresult *result) {
    here();
    (void)pg;
    if (!result) {
        if (t.step++ == 0) { /* LISTEN is over */
            t.pg[1] = oneloop_pg_connect(t.loop, t.conninfo, 5000 * MS, second_connected, NULL);
            CHECK(t.pg[1] != NULL);
        } else
            finish();
        return;
    }
    if (t.step == 1) { /* the query that was cancelled */
        CHECK(PQresultStatus(result) == PGRES_FATAL_ERROR);
        CHECK(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014") == 0);
    }
    PQclear(result);
}

/* The query is running when the second connection sees it run. */
static void cancelled(struct oneloop_pg *pg, PGresult *result) {
    if (result) {
        /* An earlier query may not be over yet. */
        if (PQresultStatus(result) != PGRES_COMMAND_OK && strcmp(value(result), "t") == 0)
            t.notified = 100;
        PQclear(result);
    } else if (t.notified != 100) {
        char query[200];
        snprintf(query, sizeof query,
                 "SELECT pg_cancel_backend(pid) FROM (SELECT %d AS pid) AS one WHERE EXISTS ("
                 "SELECT FROM pg_stat_activity WHERE pid = %d AND wait_event = 'PgSleep')"
                 " UNION ALL SELECT false LIMIT 1",
                 PQbackendPID(t.pg[0]->conn), PQbackendPID(t.pg[0]->conn));
        CHECK(oneloop_pg_send(pg, query));
    }
}

static void notified(struct oneloop_pg *pg, PGnotify *notify) {
    static const char *const expected[] = {"one", "two", "three"};
    here();
    CHECK(strcmp(notify->relname, "news") == 0);
    CHECK(strcmp(notify->extra, expected[t.notified]) == 0);
    if (++t.notified == 3) {
        CHECK(oneloop_pg_send(pg, "SELECT pg_sleep(100)"));
        t.pg[1]->result = cancelled;
        if (!t.pg[1]->busy)
            cancelled(t.pg[1], NULL);
    }
}

static void first_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->result = first_result;
    pg->notified = notified;
    CHECK(oneloop_pg_send(pg, "LISTEN news"));
}

int test_pq_notifications_and_cancel(oneloop_t *loop) { return begin(loop, first_connected); }

/* A connection whose query is cancelled from beside it, by libpq's own means, and which goes on. The
 * query may not have begun when it is tried for the first time. */

static _Thread_local oneloop_id cancelling;

static void cancel_again(oneloop_t *loop, oneloop_id id, void *user) {
    char error[256];
    PGcancel *cancel = PQgetCancel(t.pg[0]->conn);
    (void)loop, (void)id, (void)user;
    CHECK(PQcancel(cancel, error, sizeof error) == 1);
    PQfreeCancel(cancel);
}

static void cancelled_result(struct oneloop_pg *pg, PGresult *result) {
    here();
    if (!result) {
        if (t.step++ == 0)
            CHECK(oneloop_pg_send(pg, "SELECT 'there'"));
        else
            finish();
    } else if (t.step == 0) {
        CHECK(oneloop_cancel_timer(t.loop, cancelling) == 0);
        CHECK(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014") == 0);
    } else if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        /* One that was on its way has come late. */
        CHECK(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014") == 0);
        t.step = 0;
    } else {
        CHECK(strcmp(value(result), "there") == 0);
    }
    PQclear(result);
}

static void sleeper_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->result = cancelled_result;
    CHECK(oneloop_pg_send(pg, "SELECT pg_sleep(100)"));
    CHECK(oneloop_add_timer(t.loop, 0, 5 * MS, cancel_again, NULL, NULL, &cancelling) == 0);
}

int test_pq_cancel(oneloop_t *loop) { return begin(loop, sleeper_connected); }

/* A connection that hears itself: the notification comes behind the last result. */

static void heard_itself(struct oneloop_pg *pg, PGnotify *notify) {
    here();
    CHECK(strcmp(notify->relname, "me") == 0 && strcmp(notify->extra, "hello") == 0);
    CHECK(notify->be_pid == PQbackendPID(pg->conn));
    finish();
}

static void talker_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->notified = heard_itself;
    CHECK(oneloop_pg_send(pg, "LISTEN me; NOTIFY me, 'hello'"));
}

int test_pq_notifies_itself(oneloop_t *loop) { return begin(loop, talker_connected); }

/* The loop ends with a connection open: as it is told of a result, or later. */

static _Thread_local int leave_inside;

static void left_result(struct oneloop_pg *pg, PGresult *result) {
    here();
    PQclear(result);
    if (result)
        return;
    if (leave_inside) {
        oneloop_close(t.loop);
        CHECK(PQstatus(pg->conn) == CONNECTION_OK); /* it lives as long as this is called */
    }
    oneloop_stop(t.loop);
}

static void left_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->result = left_result;
    CHECK(oneloop_pg_send(pg, "SET application_name = 'left'"));
}

int test_pq_left_open(oneloop_t *loop) {
    leave_inside = 0;
    return begin(loop, left_connected);
}

int test_pq_loop_closed_inside(oneloop_t *loop) {
    leave_inside = 1;
    return begin(loop, left_connected);
}

static void count_of_left(struct oneloop_pg *pg, PGresult *result) {
    if (result)
        t.rows = atoi(value(result));
    else if (t.rows == 0)
        finish();
    else
        CHECK(oneloop_pg_send(pg, "SELECT count(*) FROM pg_stat_activity"
                                  " WHERE application_name = 'left'"));
    PQclear(result);
}

static void counter_connected(struct oneloop_pg *pg, int ok) {
    CHECK(ok);
    pg->result = count_of_left;
    t.rows = 1;
    count_of_left(pg, NULL);
}

/* The server has seen the end of those. */
int test_pq_none_left(oneloop_t *loop) { return begin(loop, counter_connected); }

/* The timeout is one for connecting, and for no more. */

static void slow_lost(struct oneloop_pg *pg) {
    CHECK(!"timed out");
    (void)pg;
    finish();
}

static void slow_result(struct oneloop_pg *pg, PGresult *result) {
    (void)pg;
    if (result)
        CHECK(PQresultStatus(result) == PGRES_TUPLES_OK);
    else
        finish();
    PQclear(result);
}

static void slow_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        oneloop_pg_close(pg);
        t.pg[0] = oneloop_pg_connect(t.loop, t.conninfo, 100 * MS, slow_connected, NULL);
        return;
    }
    pg->result = slow_result;
    pg->lost = slow_lost;
    CHECK(oneloop_pg_send(pg, "SELECT pg_sleep(0.15)"));
}

int test_pq_slow_query(oneloop_t *loop) {
    t.loop = loop;
    t.pg[0] = oneloop_pg_connect(loop, t.conninfo, 100 * MS, slow_connected, NULL);
    return failures;
}

/* Several hosts, the first of which refuses: another socket under the same number. */

static void hosts_result(struct oneloop_pg *pg, PGresult *result) {
    (void)pg;
    if (result)
        CHECK(strcmp(value(result), "there") == 0);
    else
        finish();
    PQclear(result);
}

static void hosts_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->result = hosts_result;
    CHECK(oneloop_pg_send(pg, "SELECT 'there'"));
}

int test_pq_several_hosts(oneloop_t *loop) { return begin(loop, hosts_connected); }

/* No server listens; and one does not answer. */

static void silent_connected(struct oneloop_pg *pg, int ok) {
    CHECK(!ok);
    (void)pg;
    finish();
}

static void refused_connected(struct oneloop_pg *pg, int ok) {
    CHECK(!ok && strlen(PQerrorMessage(pg->conn)) > 0);
    oneloop_pg_close(pg);
    t.pg[0] = oneloop_pg_connect(t.loop, t.conninfo, 50 * MS, silent_connected, NULL);
}

int test_pq_no_server(oneloop_t *loop) {
    t.loop = loop;
    t.pg[0] = oneloop_pg_connect(loop, "host=/nowhere/at/all", ONELOOP_NEVER, refused_connected,
                                 NULL);
    return failures;
}

/* The server goes away. */

static void lost(struct oneloop_pg *pg) {
    here();
    CHECK(PQstatus(pg->conn) == CONNECTION_BAD);
    t.step = 100;
    finish();
}

static void doomed_result(struct oneloop_pg *pg, PGresult *result) {
    (void)pg;
    if (result && PQresultStatus(result) == PGRES_TUPLES_OK)
        CHECK(!"an answer");
    PQclear(result);
}

void pq_test_kill_server(void);

static void doomed_connected(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->result = doomed_result;
    pg->lost = lost;
    CHECK(oneloop_pg_send(pg, "SELECT pg_sleep(100)"));
    pq_test_kill_server();
}

int test_pq_the_server_dies(oneloop_t *loop) { return begin(loop, doomed_connected); }

/* The host's own code waits for an answer, and a notification is read along with it. */

static void connected_once(struct oneloop_pg *pg, int ok) {
    if (!ok) {
        retry(pg);
        return;
    }
    pg->notified = heard_itself;
    t.step = 1;
}

int test_pq_beside(oneloop_t *loop) {
    begin(loop, connected_once);
    while (t.step == 0)
        CHECK(oneloop_turn(loop, ONELOOP_NEVER, NULL) >= 0);
    return failures;
}

void pq_beside_waits(oneloop_t *loop) {
    static const char *const queries[] = {"LISTEN me", "NOTIFY me, 'hello'", "SELECT 1"};
    (void)loop;
    for (int n = 0; n < 3; n++) {
        PGresult *result = PQexec(t.pg[0]->conn, queries[n]);
        CHECK(PQresultStatus(result) == (n == 2 ? PGRES_TUPLES_OK : PGRES_COMMAND_OK));
        PQclear(result);
    }
}

void pq_beside_wakes(oneloop_t *loop) {
    (void)loop;
    oneloop_pg_wake(t.pg[0]);
}
