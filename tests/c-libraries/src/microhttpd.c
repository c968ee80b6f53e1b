/* libmicrohttpd as a server on the loop. Its clients are on threads of Rust's. */

#include "oneloop-microhttpd.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define BIG (3 << 20)
#define MS 1000000

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    struct MHD_Daemon *server;
    struct oneloop_microhttpd *on;
    struct MHD_Connection *suspended;
    int resumed, started, closed;
} t;

void microhttpd_test_clients(oneloop_t *loop, int port);

static char big[BIG];

/* Bytes of a body that were uploaded so far. */
struct upload {
    size_t bytes;
    int was_suspended;
};

static enum MHD_Result send_text(struct MHD_Connection *connection, size_t size, void *text,
                                 enum MHD_ResponseMemoryMode mode) {
    struct MHD_Response *response = MHD_create_response_from_buffer(size, text, mode);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void resume(oneloop_t *loop, oneloop_id id, void *connection) {
    (void)loop, (void)id;
    check_thread(t.thread);
    t.resumed++;
    oneloop_microhttpd_resume(t.on, connection);
}

static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **request) {
    struct upload *upload = *request;
    char text[20];
    (void)user, (void)version, (void)data;
    check_thread(t.thread);
    if (!upload) {
        *request = calloc(1, sizeof *upload);
        return MHD_YES;
    }
    if (*size) {
        upload->bytes += *size;
        *size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "POST") == 0) {
        snprintf(text, sizeof text, "%zu", upload->bytes);
        return send_text(connection, strlen(text), text, MHD_RESPMEM_MUST_COPY);
    }
    if (strcmp(url, "/late") == 0 && !upload->was_suspended) {
        upload->was_suspended = 1;
        MHD_suspend_connection(connection);
        CHECK(oneloop_add_timer(t.loop, 5 * MS, 0, resume, connection, NULL, NULL) == 0);
        return MHD_YES;
    }
    if (strcmp(url, "/late") == 0)
        return send_text(connection, 4, "late", MHD_RESPMEM_PERSISTENT);
    return send_text(connection, BIG, big, MHD_RESPMEM_PERSISTENT);
}

static void answered(void *user, struct MHD_Connection *connection, void **request,
                     enum MHD_RequestTerminationCode code) {
    (void)user, (void)connection;
    CHECK(code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    free(*request);
}

/* The last connection, on which nothing comes, is closed after a second, which only the timeout shows. The others may
 * take their time. */
static void changed(void *user, struct MHD_Connection *connection, void **socket,
                    enum MHD_ConnectionNotificationCode code) {
    (void)user, (void)socket;
    if (code == MHD_CONNECTION_NOTIFY_STARTED && ++t.started == 4)
        CHECK(MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 1U) == MHD_YES);
    t.closed += code == MHD_CONNECTION_NOTIFY_CLOSED;
}

int test_microhttpd(oneloop_t *loop) {
    const union MHD_DaemonInfo *info;
    memset(&t, 0, sizeof t);
    memset(big, 'b', sizeof big);
    t.loop = loop;
    t.thread = pthread_self();
    CHECK(!oneloop_microhttpd_attach(loop, NULL));
    t.server = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, answer,
                                NULL, MHD_OPTION_NOTIFY_COMPLETED, answered, NULL,
                                MHD_OPTION_NOTIFY_CONNECTION, changed, NULL,
                                MHD_OPTION_END);
    CHECK(t.server);
    t.on = oneloop_microhttpd_attach(loop, t.server);
    CHECK(t.on);
    info = MHD_get_daemon_info(t.server, MHD_DAEMON_INFO_BIND_PORT);
    microhttpd_test_clients(loop, info->port);
    return failures;
}

/* Posted by the clients when they have their answers. */
void microhttpd_test_end(oneloop_t *loop, void *user) {
    (void)user;
    CHECK(t.resumed == 3 && t.closed >= 1);
    oneloop_microhttpd_detach(t.on);
    MHD_stop_daemon(t.server);
    oneloop_stop(loop);
}

/* The loop ends first, and the server goes after it, or the other way round. */
int late_microhttpd(int loop_last) {
    oneloop_t *loop = oneloop_new();
    struct MHD_Daemon *server =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, answer, NULL, MHD_OPTION_END);
    struct oneloop_microhttpd *on = oneloop_microhttpd_attach(loop, server);
    CHECK(on && oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_microhttpd_detach(on);
    MHD_stop_daemon(server);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
