/* MariaDB Connector/C: queries one after the other, a result larger than a socket's buffer, an error, a timeout,
 * and a connection that the server ends and the library makes again. */

#include "oneloop-mariadb.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define QUERIES 200
#define MS 1000000

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    struct oneloop_mariadb *on, *other;
    int done, ticks;
    unsigned long connection;
    my_bool failed;
    char sql[100];
} t;

static const char *mariadb_socket;

void mariadb_test_socket(const char *path) { mariadb_socket = path; }

static void connect_to(struct oneloop_mariadb *on, void (*connected)(struct oneloop_mariadb *on)) {
    oneloop_mariadb_connect(on, NULL, "root", NULL, NULL, 0, mariadb_socket, 0, connected);
}

/* The first value of the result, which is freed. */
static long value(struct oneloop_mariadb *on) {
    MYSQL_ROW row;
    long value;
    check_thread(t.thread);
    if (mysql_errno(on->mysql) || !on->result) {
        fprintf(stderr, "%s\n", mysql_error(on->mysql));
        CHECK(!"a result");
        return -1;
    }
    row = mysql_fetch_row(on->result);
    value = row && row[0] ? atol(row[0]) : -1;
    mysql_free_result(on->result);
    return value;
}

static void close_both(oneloop_t *loop, void *user) {
    (void)user;
    mysql_close(t.on->user);
    mysql_close(t.other->user);
    oneloop_stop(loop);
}

static void no_host(struct oneloop_mariadb *on) {
    CHECK(mysql_errno(on->mysql) != 0 && !on->connected);
    /* It has gone on ticking while the query slept. */
    CHECK(t.ticks > 5);
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, close_both, NULL, NULL, NULL) == 0);
    oneloop_mariadb_detach(t.on);
    oneloop_mariadb_detach(t.other);
}

static void reset(struct oneloop_mariadb *on) {
    CHECK(!t.failed && mysql_errno(on->mysql) == 0);
    /* A connection that is refused. */
    mysql_close(t.other->mysql);
    t.other->mysql = t.other->user = mysql_init(NULL);
    mysql_options(t.other->mysql, MYSQL_OPT_NONBLOCK, NULL);
    oneloop_mariadb_connect(t.other, "127.0.0.1", "root", NULL, NULL, 1, NULL, 0, no_host);
}

static int go_on_resetting(struct oneloop_mariadb *on, int status) {
    return mysql_change_user_cont(&t.failed, on->mysql, status);
}

static void after_timeout(struct oneloop_mariadb *on) {
    unsigned int forever = 0;
    CHECK(mysql_errno(on->mysql) != 0);
    mysql_options(on->mysql, MYSQL_OPT_READ_TIMEOUT, &forever);
    /* Any other operation: of the other connection. */
    int status = mysql_change_user_start(&t.failed, t.other->mysql, "root", NULL, NULL);
    oneloop_mariadb_run(t.other, status, go_on_resetting, reset);
}

static void again(struct oneloop_mariadb *on) {
    CHECK(value(on) == 42);
    /* On another socket, which the loop has noticed. */
    CHECK(mysql_thread_id(on->mysql) != t.connection);
    oneloop_mariadb_query(on, "SELECT SLEEP(10)", after_timeout);
}

static void lost(struct oneloop_mariadb *on) {
    /* The first one after the end may fail. */
    if (mysql_errno(on->mysql))
        oneloop_mariadb_query(on, "SELECT 42", again);
    else
        again(on);
}

static void killed(struct oneloop_mariadb *other) {
    CHECK(mysql_errno(other->mysql) == 0 && !other->result);
    oneloop_mariadb_query(t.on, "SELECT 42", lost);
}

static void other_connected(struct oneloop_mariadb *other) {
    CHECK(mysql_errno(other->mysql) == 0);
    snprintf(t.sql, sizeof t.sql, "KILL %lu", t.connection);
    oneloop_mariadb_query(other, t.sql, killed);
}

static void failed(struct oneloop_mariadb *on) {
    CHECK(mysql_errno(on->mysql) == 1064 && !on->result);
    t.connection = mysql_thread_id(on->mysql);
    connect_to(t.other, other_connected);
}

static void big(struct oneloop_mariadb *on) {
    MYSQL_ROW row = on->result ? mysql_fetch_row(on->result) : NULL;
    CHECK(row && mysql_fetch_lengths(on->result)[0] == 5 << 20);
    mysql_free_result(on->result);
    oneloop_mariadb_query(on, "this is no SQL", failed);
}

static void next(struct oneloop_mariadb *on) {
    if (t.done > 0)
        CHECK(value(on) == t.done - 1);
    if (t.done == QUERIES) {
        oneloop_mariadb_query(on, "SELECT REPEAT('x', 5 << 20)", big);
        return;
    }
    snprintf(t.sql, sizeof t.sql, "SELECT %d", t.done++);
    oneloop_mariadb_query(on, t.sql, next);
}

static void connected(struct oneloop_mariadb *on) {
    CHECK(mysql_errno(on->mysql) == 0 && on->connected == on->mysql);
    next(on);
}

static void tick(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    t.ticks++;
}

int test_mariadb(oneloop_t *loop) {
    MYSQL *mysql = mysql_init(NULL), *other = mysql_init(NULL);
    my_bool yes = 1;
    unsigned int second = 1;
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    t.on = oneloop_mariadb_attach(loop, mysql);
    t.other = oneloop_mariadb_attach(loop, other);
    CHECK(t.on && t.other && !oneloop_mariadb_attach(loop, NULL));
    t.on->user = mysql;
    t.other->user = other;
    mysql_options(mysql, MYSQL_OPT_RECONNECT, &yes);
    mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &second);
    connect_to(t.on, connected);
    CHECK(oneloop_add_timer(loop, 20 * MS, 20 * MS, tick, NULL, NULL, NULL) == 0);
    return failures;
}

int late_mariadb(int loop_last) {
    oneloop_t *loop = oneloop_new();
    MYSQL *mysql = mysql_init(NULL);
    struct oneloop_mariadb *on = oneloop_mariadb_attach(loop, mysql);
    CHECK(on && oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_mariadb_detach(on);
    mysql_close(mysql);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
