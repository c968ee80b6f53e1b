/* libdbus against a private dbus-daemon: two connections on one loop that talk to each other. */

#define _GNU_SOURCE
#include "oneloop-dbus.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define NAME "test.oneloop"
#define MS 1000000LL
#define LARGE (2 * 1024 * 1024)

static _Thread_local struct {
    const char *address;
    int daemon;
    oneloop_t *loop;
    DBusConnection *ends[2];
    pthread_t thread, sender;
    int replies, signals, disconnected, done;
    int64_t start;
    char *large;
} t;

void dbus_test_daemon(const char *address, int pid) {
    memset(&t, 0, sizeof t);
    t.address = address;
    t.daemon = pid;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void finish(void) {
    if (t.sender)
        CHECK(pthread_join(t.sender, NULL) == 0);
    for (int n = 0; n < 2; n++) {
        dbus_connection_close(t.ends[n]);
        dbus_connection_unref(t.ends[n]);
    }
    free(t.large);
    oneloop_stop(t.loop);
}

/* Calls are answered with what they carried; signals are counted. */
static DBusHandlerResult filter(DBusConnection *end, DBusMessage *message, void *user) {
    check_thread(t.thread);
    int *me = user;
    if (dbus_message_is_method_call(message, NAME, "Echo")) {
        const char *text;
        CHECK(dbus_message_get_args(message, NULL, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID));
        DBusMessage *reply = dbus_message_new_method_return(message);
        CHECK(dbus_message_append_args(reply, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID));
        CHECK(dbus_connection_send(end, reply, NULL));
        dbus_message_unref(reply);
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    if (dbus_message_is_method_call(message, NAME, "Ignore"))
        return DBUS_HANDLER_RESULT_HANDLED;
    if (dbus_message_is_signal(message, NAME, "Count")) {
        dbus_uint32_t number;
        CHECK(dbus_message_get_args(message, NULL, DBUS_TYPE_UINT32, &number, DBUS_TYPE_INVALID));
        CHECK((int)number == t.signals);
        t.signals++;
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    if (dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected")) {
        CHECK(t.daemon == 0 && *me >= 0); /* it was killed before */
        if (++t.disconnected == 2)
            finish();
        return DBUS_HANDLER_RESULT_HANDLED;
    }
    return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
}

static void begin(oneloop_t *loop) {
    static int numbers[2] = {0, 1};
    t.loop = loop;
    t.thread = pthread_self();
    dbus_threads_init_default();
    for (int n = 0; n < 2; n++) {
        DBusError error;
        dbus_error_init(&error);
        t.ends[n] = dbus_connection_open_private(t.address, &error);
        CHECK(t.ends[n] != NULL);
        CHECK(dbus_bus_register(t.ends[n], &error));
        dbus_connection_set_exit_on_disconnect(t.ends[n], FALSE);
        CHECK(dbus_connection_add_filter(t.ends[n], filter, &numbers[n], NULL));
        CHECK(oneloop_dbus_attach(loop, t.ends[n]));
    }
}

static void call(int from, const char *method, const char *text, int timeout,
                 DBusPendingCallNotifyFunction answered) {
    const char *to = dbus_bus_get_unique_name(t.ends[1 - from]);
    DBusMessage *message = dbus_message_new_method_call(to, "/", NAME, method);
    DBusPendingCall *pending;
    CHECK(dbus_message_append_args(message, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID));
    CHECK(dbus_connection_send_with_reply(t.ends[from], message, &pending, timeout));
    CHECK(dbus_pending_call_set_notify(pending, answered, (void *)text, NULL));
    dbus_pending_call_unref(pending);
    dbus_message_unref(message);
}

static void echoed(DBusPendingCall *pending, void *text) {
    const char *back = NULL;
    DBusMessage *reply = dbus_pending_call_steal_reply(pending);
    check_thread(t.thread);
    CHECK(dbus_message_get_args(reply, NULL, DBUS_TYPE_STRING, &back, DBUS_TYPE_INVALID));
    CHECK(back && strcmp(back, text) == 0);
    dbus_message_unref(reply);
    if (++t.replies == t.done)
        finish();
}

int test_dbus_calls_both_ways(oneloop_t *loop) {
    begin(loop);
    t.done = 202;
    t.large = malloc(LARGE + 1);
    for (int n = 0; n < LARGE; n++)
        t.large[n] = 'a' + n % 23;
    t.large[LARGE] = 0;
    for (int n = 0; n < 100; n++) {
        call(0, "Echo", "there", -1, echoed);
        call(1, "Echo", "and back", -1, echoed);
        if (n == 50) {
            call(0, "Echo", t.large, -1, echoed);
            call(1, "Echo", t.large, -1, echoed);
        }
    }
    return failures;
}

/* A call without an answer, while another thread sends signals. */

static void *sender(void *end) {
    for (dbus_uint32_t n = 0; n < 200; n++) {
        DBusMessage *message = dbus_message_new_signal("/", NAME, "Count");
        dbus_message_append_args(message, DBUS_TYPE_UINT32, &n, DBUS_TYPE_INVALID);
        dbus_connection_send(end, message, NULL);
        dbus_message_unref(message);
    }
    dbus_connection_unref(end);
    return NULL;
}

static void wait_for_signals(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (t.signals < 200)
        return;
    oneloop_cancel_timer(loop, id);
    finish();
}

static void not_answered(DBusPendingCall *pending, void *text) {
    (void)text;
    check_thread(t.thread);
    DBusMessage *reply = dbus_pending_call_steal_reply(pending);
    CHECK(dbus_message_is_error(reply, DBUS_ERROR_NO_REPLY));
    dbus_message_unref(reply);
    CHECK(now() - t.start >= 100 * MS);
    CHECK(oneloop_add_timer(t.loop, MS, MS, wait_for_signals, NULL, NULL, NULL) == 0);
}

int test_dbus_timeouts_and_other_threads(oneloop_t *loop) {
    begin(loop);
    DBusError error;
    dbus_error_init(&error);
    dbus_bus_add_match(t.ends[0], "type='signal',interface='" NAME "'", &error);
    CHECK(!dbus_error_is_set(&error));
    t.start = now();
    call(0, "Ignore", "", 100, not_answered);
    CHECK(pthread_create(&t.sender, NULL, sender, dbus_connection_ref(t.ends[1])) == 0);
    return failures;
}

/* The daemon dies. */

static void kill_daemon(DBusPendingCall *pending, void *text) {
    (void)text;
    check_thread(t.thread);
    DBusMessage *reply = dbus_pending_call_steal_reply(pending);
    CHECK(dbus_message_get_type(reply) == DBUS_MESSAGE_TYPE_METHOD_RETURN);
    dbus_message_unref(reply);
    CHECK(kill(t.daemon, SIGKILL) == 0);
    t.daemon = 0;
}

int test_dbus_the_daemon_dies(oneloop_t *loop) {
    begin(loop);
    call(0, "Echo", "hello", -1, kill_daemon);
    return failures;
}

/* The host's own code, which need not call anything after it. */

static DBusHandlerResult counted_once(DBusConnection *end, DBusMessage *message, void *user) {
    check_thread(t.thread);
    (void)end, (void)user;
    if (!dbus_message_is_signal(message, NAME, "Once"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    finish();
    return DBUS_HANDLER_RESULT_HANDLED;
}

int test_dbus_beside(oneloop_t *loop) {
    begin(loop);
    CHECK(dbus_connection_add_filter(t.ends[0], counted_once, NULL, NULL));
    dbus_bus_add_match(t.ends[0], "type='signal',interface='" NAME "'", NULL);
    return failures;
}

/* The signal is read on the way to the answer. */
void dbus_beside_waits(oneloop_t *loop) {
    (void)loop;
    DBusMessage *signal = dbus_message_new_signal("/", NAME, "Once");
    CHECK(dbus_connection_send(t.ends[0], signal, NULL));
    dbus_message_unref(signal);
    CHECK(dbus_bus_name_has_owner(t.ends[0], "org.freedesktop.DBus", NULL));
}
