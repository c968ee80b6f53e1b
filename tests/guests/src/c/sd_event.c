/* sd-event, as the tests drive it, and as a reactor does. */

#include <oneloop.h>

int guests_step(oneloop_t *loop, uint32_t budget);
#define oneloop_step guests_step

#include "oneloop-sd-event.h"

#include <time.h>

void guests_ended(void *user, int error);
int guests_call(void *user);
void guests_free(void *user);

static void ended(struct oneloop_attached *on, int error) { guests_ended(on->user, error); }

void *guests_sd_event_new(void) {
    sd_event *event = NULL;
    sd_event_new(&event);
    return event;
}

void guests_sd_event_free(void *event) { sd_event_unref(event); }

void guests_sd_event_iterate(void *event, int may_block) {
    sd_event_run(event, may_block ? UINT64_MAX : 0);
}

void *guests_sd_event_attach(void *event, oneloop_t *loop, uint32_t flags, void *user) {
    return oneloop_sd_event_attach(event, loop, flags, ended, user);
}

void guests_sd_event_detach(void *on) { oneloop_detach(on); }

/* The functions of the guest, for a guest in Rust. */

int guests_sd_event_list(void *event, struct pollfd *fd, int64_t *timeout) {
    return oneloop_sd_event_list(NULL, fd, 1, timeout, event);
}

void guests_sd_event_turn(void *event, struct pollfd *fd) { oneloop_sd_event_turn(NULL, fd, 1, event); }

/* Sources. Each has a callback, which returns whether it stays. */

static int call(sd_event_source *source, void *user) {
    if (!guests_call(user))
        sd_event_source_disable_unref(source);
    return 0;
}

static int timed(sd_event_source *source, uint64_t time, void *user) {
    (void)time;
    return call(source, user);
}

static int ready(sd_event_source *source, int fd, uint32_t events, void *user) {
    (void)fd, (void)events;
    return call(source, user);
}

void guests_sd_event_after(void *event, uint64_t microseconds, void *user) {
    sd_event_source *source;
    uint64_t now;
    /* Its own notion of now is that of its last turn. */
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    now = (uint64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
    sd_event_add_time(event, &source, CLOCK_MONOTONIC, now + microseconds, 1, timed, user);
    sd_event_source_set_destroy_callback(source, guests_free);
}

void guests_sd_event_watch_read(void *event, int fd, void *user) {
    sd_event_source *source;
    sd_event_add_io(event, &source, fd, EPOLLIN, ready, user);
    sd_event_source_set_destroy_callback(source, guests_free);
}

void guests_sd_event_idle(void *event, void *user) {
    sd_event_source *source;
    sd_event_add_defer(event, &source, call, user);
    sd_event_source_set_destroy_callback(source, guests_free);
    sd_event_source_set_enabled(source, SD_EVENT_ON);
    sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IDLE);
}
