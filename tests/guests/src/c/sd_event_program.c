#include "oneloop-sd-event.h"

static sd_event *new_outer(void) {
    sd_event *event = NULL;
    sd_event_new(&event);
    return event;
}

static _Thread_local int is_over;

/* Not sd_event_exit(), after which it runs no more. */
static void run_outer(sd_event *event) {
    is_over = 0;
    while (!is_over && sd_event_run(event, UINT64_MAX) >= 0)
        ;
}

typedef sd_event outer_t;
#define attach oneloop_sd_event_attach
#define free_outer sd_event_unref
#define break_outer(event) (is_over = 1)
#define iterate_outer(outer) CHECK(sd_event_run(outer, 0) == -EBUSY)
#define LAST_END end
#define PROGRAM guests_sd_event_program

#include "program.h"

/* The event loop as a guest: a timer, whose callback posts to the loop, whose callback adds a source. */

static int last(sd_event_source *source, void *event) {
    (void)source;
    t.fired++;
    return sd_event_exit(event, 7);
}

static int exiting(sd_event_source *source, void *user) {
    (void)source, (void)user;
    t.ended++;
    return 0;
}

static void adds(oneloop_t *loop, void *event) {
    (void)loop;
    t.posted++;
    CHECK(sd_event_add_defer(event, NULL, last, event) >= 0);
}

static int timed(sd_event_source *source, uint64_t time, void *event) {
    (void)source, (void)time;
    t.read++;
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, adds, event, NULL, NULL) == 0);
    return 0;
}

int guests_sd_event_guest_program(void) {
    sd_event *event = new_outer();
    oneloop_id id, timer;
    int code = 0;
    memset(&t, 0, sizeof t);
    t.loop = oneloop_new();
    CHECK(oneloop_sd_event_add_guest(t.loop, event, &id) == 0);
    CHECK(sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, 1000, 1, timed, event) >= 0);
    CHECK(sd_event_add_exit(event, NULL, exiting, NULL) >= 0);
    /* It ends by sd_event_exit(). */
    CHECK(oneloop_run(t.loop) == 0);
    CHECK(t.read == 1 && t.posted == 1 && t.fired == 1 && t.ended == 1);
    CHECK(sd_event_get_state(event) == SD_EVENT_FINISHED);
    CHECK(sd_event_get_exit_code(event, &code) >= 0 && code == 7);
    CHECK(oneloop_remove_pollset(t.loop, id) == 0);
    sd_event_unref(event);

    /* A guest that keeps the loop going, and is left in peace after its removal. */
    event = new_outer();
    CHECK(oneloop_sd_event_add_guest(t.loop, event, &id) == 0);
    CHECK(oneloop_is_alive(t.loop) == 1);
    CHECK(oneloop_add_timer(t.loop, 1000000, 0, stops, NULL, NULL, &timer) == 0);
    CHECK(oneloop_run(t.loop) == 0);
    CHECK(oneloop_remove_pollset(t.loop, id) == 0);
    CHECK(sd_event_add_defer(event, NULL, last, event) >= 0);
    CHECK(oneloop_reset_timer(t.loop, timer, 1000000) == 0);
    CHECK(oneloop_run(t.loop) == 0 && t.fired == 1);
    oneloop_close(t.loop);
    CHECK(oneloop_sd_event_add_guest(t.loop, event, &id) == -ESHUTDOWN);
    CHECK(oneloop_sd_event_add_guest(NULL, event, &id) == -EINVAL);
    oneloop_free(t.loop);
    sd_event_unref(event);
    return t.failures;
}
