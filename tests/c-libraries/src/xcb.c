/* xcb on an Xvfb. */

#include "oneloop-xcb.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "check.h"

#define EVENTS 20

static _Thread_local struct {
    const char *display;
    int server;
    oneloop_t *loop;
    pthread_t thread;
    struct oneloop_xcb *x;
    xcb_connection_t *connection;
    xcb_window_t window;
    int seen, turns, lost, freed;
    oneloop_id timer;
} t;

void xcb_test_server(const char *display, int pid) {
    memset(&t, 0, sizeof t);
    t.display = display;
    t.server = pid;
}

static void here(void) { check_thread(t.thread); }

static void begin(oneloop_t *loop) {
    uint32_t mask = XCB_EVENT_MASK_PROPERTY_CHANGE;
    t.loop = loop;
    t.thread = pthread_self();
    t.connection = xcb_connect(t.display, NULL);
    CHECK(!xcb_connection_has_error(t.connection));
    t.window = xcb_generate_id(t.connection);
    xcb_screen_t *screen = xcb_setup_roots_iterator(xcb_get_setup(t.connection)).data;
    xcb_create_window(t.connection, 0, t.window, screen->root, 0, 0, 1, 1, 0,
                      XCB_WINDOW_CLASS_INPUT_ONLY, XCB_COPY_FROM_PARENT, XCB_CW_EVENT_MASK, &mask);
}

/* Makes an event, and waits for the answer to a question: on the way to that the event is read. */
static void round_trip(void) {
    xcb_get_input_focus_cookie_t question;
    xcb_change_property(t.connection, XCB_PROP_MODE_REPLACE, t.window, XCB_ATOM_WM_NAME,
                        XCB_ATOM_STRING, 8, 1, "x");
    question = xcb_get_input_focus(t.connection);
    free(xcb_get_input_focus_reply(t.connection, question, NULL));
}

static void seen(struct oneloop_xcb *x, xcb_generic_event_t *event) {
    here();
    CHECK(event && (event->response_type & ~0x80) == XCB_PROPERTY_NOTIFY);
    free(event);
    if (++t.seen < EVENTS)
        return round_trip();
    oneloop_xcb_detach(x);
    xcb_disconnect(t.connection);
    oneloop_stop(t.loop);
}

/* Each event is read while the one before is handled. */
int test_xcb_events_read_on_the_way(oneloop_t *loop) {
    begin(loop);
    t.x = oneloop_xcb_attach(loop, t.connection, seen, NULL);
    CHECK(t.x && t.x->users == 3);
    round_trip();
    return check_failures();
}

static int only_by_descriptor(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    xcb_generic_event_t *event;
    (void)loop, (void)id, (void)fd, (void)ready, (void)user;
    while ((event = xcb_poll_for_event(t.connection))) {
        free(event);
        t.seen++;
    }
    return ONELOOP_CONTINUE;
}

static int after_some_turns(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (++t.turns < 10)
        return ONELOOP_CONTINUE;
    CHECK(t.seen == 0);
    /* They have been there all the time. */
    only_by_descriptor(loop, id, 0, 0, NULL);
    CHECK(t.seen == EVENTS);
    xcb_disconnect(t.connection);
    oneloop_stop(loop);
    return ONELOOP_REMOVE;
}

/* Without the hook there is none of them. */
int test_xcb_without_the_hook(oneloop_t *loop) {
    begin(loop);
    for (int n = 0; n < EVENTS; n++)
        round_trip();
    oneloop_add_handler(loop, xcb_get_file_descriptor(t.connection), ONELOOP_READABLE,
                        ONELOOP_LEVEL, only_by_descriptor, NULL, NULL, NULL);
    oneloop_add_deferred(loop, after_some_turns, NULL, NULL, NULL);
    return check_failures();
}

static void by_itself(struct oneloop_xcb *x, xcb_generic_event_t *event) {
    here();
    CHECK(event);
    free(event);
    if (++t.seen < EVENTS) {
        /* Sent when the loop sleeps. */
        xcb_change_property(t.connection, XCB_PROP_MODE_REPLACE, t.window, XCB_ATOM_WM_NAME,
                            XCB_ATOM_STRING, 8, 1, "x");
        return;
    }
    oneloop_xcb_detach(x);
    xcb_disconnect(t.connection);
    oneloop_stop(t.loop);
}

/* The program neither flushes nor waits. */
int test_xcb_flushes(oneloop_t *loop) {
    begin(loop);
    t.x = oneloop_xcb_attach(loop, t.connection, by_itself, NULL);
    xcb_change_property(t.connection, XCB_PROP_MODE_REPLACE, t.window, XCB_ATOM_WM_NAME,
                        XCB_ATOM_STRING, 8, 1, "x");
    return check_failures();
}

static void lost(struct oneloop_xcb *x, xcb_generic_event_t *event) {
    here();
    free(event);
    if (event)
        return;
    CHECK(xcb_connection_has_error(x->connection));
    CHECK(t.lost++ == 0);
    oneloop_xcb_detach(x);
    xcb_disconnect(t.connection);
    oneloop_stop(t.loop);
}

int test_xcb_the_server_dies(oneloop_t *loop) {
    begin(loop);
    t.x = oneloop_xcb_attach(loop, t.connection, lost, NULL);
    round_trip();
    CHECK(kill(t.server, SIGKILL) == 0);
    return check_failures();
}

/* The host's own code. */

static void seen_once(struct oneloop_xcb *x, xcb_generic_event_t *event) {
    here();
    CHECK(event && (event->response_type & ~0x80) == XCB_PROPERTY_NOTIFY);
    free(event);
    oneloop_xcb_detach(x);
    xcb_disconnect(t.connection);
    oneloop_stop(t.loop);
}

int test_xcb_beside(oneloop_t *loop) {
    begin(loop);
    t.x = oneloop_xcb_attach(loop, t.connection, seen_once, NULL);
    CHECK(t.x != NULL);
    return check_failures();
}

/* The request stays where it is. */
void xcb_beside_requests(oneloop_t *loop) {
    (void)loop;
    xcb_change_property(t.connection, XCB_PROP_MODE_REPLACE, t.window, XCB_ATOM_WM_NAME,
                        XCB_ATOM_STRING, 8, 1, "x");
}

/* The event is read on the way to the answer. */
void xcb_beside_waits(oneloop_t *loop) {
    (void)loop;
    round_trip();
}

void xcb_beside_wakes(oneloop_t *loop) {
    (void)loop;
    oneloop_xcb_wake(t.x);
}
