/* PulseAudio's table: playback to a real server, and its contract without one. */

#define _GNU_SOURCE
#include "check.h" /* first, for the table to use what is in it, too */
#include "oneloop-pulse.h"

#include <pulse/pulseaudio.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES 100000
#define RESULT 7

static _Thread_local struct {
    const char *server;
    int pid;
    oneloop_t *loop;
    pthread_t thread;
    pa_mainloop_api *api;
    pa_context *context;
    pa_stream *stream;
    size_t written;
    int drained, failed, quit;
    /* Of the contract. */
    int depth, fired, io, deferred, switched, destroyed, hangups, again, rounds;
    int ends[2], closed[2], pipe[2], slow;
    struct timeval due;
    struct timespec steady;
    pa_time_event *timer, *never, *gone, *monotonic;
    pa_defer_event *defer, *once;
    pa_io_event *in, *out, *hup, *other, *part;
} t;

void pulse_test_server(const char *server, int pid) {
    memset(&t, 0, sizeof t);
    t.server = server;
    t.pid = pid;
}

static void here(void) { check_thread(t.thread); }

static void begin(oneloop_t *loop) {
    t.loop = loop;
    t.thread = pthread_self();
    t.api = oneloop_pulse_new(loop);
    CHECK(t.api);
}

static void finish(void) {
    pa_mainloop_api *api = t.api;
    api->quit(api, RESULT);
    CHECK(oneloop_pulse_result(api) == RESULT);
    oneloop_pulse_free(api);
}

static void drained(pa_stream *stream, int success, void *user) {
    (void)user;
    here();
    CHECK(success);
    t.drained++;
    CHECK(pa_stream_disconnect(stream) == 0);
}

static void writable(pa_stream *stream, size_t room, void *user) {
    (void)user;
    here();
    while (room > 0 && t.written < BYTES) {
        static const char silence[4096];
        size_t size = room < sizeof silence ? room : sizeof silence;
        if (size > BYTES - t.written)
            size = BYTES - t.written;
        CHECK(pa_stream_write(stream, silence, size, NULL, 0, PA_SEEK_RELATIVE) == 0);
        t.written += size;
        room -= size;
    }
    if (t.written == BYTES) {
        t.written++; /* once */
        pa_operation_unref(pa_stream_drain(stream, drained, NULL));
    }
}

static void stream_changed(pa_stream *stream, void *user) {
    (void)user;
    here();
    if (pa_stream_get_state(stream) == PA_STREAM_TERMINATED) {
        pa_stream_unref(stream);
        pa_context_disconnect(t.context);
    }
}

static void context_changed(pa_context *context, void *user) {
    static const pa_sample_spec sound = {PA_SAMPLE_S16LE, 192000, 2};
    (void)user;
    here();
    switch (pa_context_get_state(context)) {
    case PA_CONTEXT_READY:
        t.stream = pa_stream_new(context, "test", &sound, NULL);
        pa_stream_set_state_callback(t.stream, stream_changed, NULL);
        pa_stream_set_write_callback(t.stream, writable, NULL);
        CHECK(pa_stream_connect_playback(t.stream, NULL, NULL, 0, NULL, NULL) == 0);
        break;
    case PA_CONTEXT_TERMINATED:
        CHECK(t.drained == 1);
        pa_context_unref(context);
        finish();
        break;
    case PA_CONTEXT_FAILED:
        CHECK(!"connected");
        oneloop_stop(t.loop);
        break;
    default:
        break;
    }
}

int test_pulse_playback(oneloop_t *loop) {
    begin(loop);
    t.context = pa_context_new(t.api, "oneloop");
    pa_context_set_state_callback(t.context, context_changed, NULL);
    CHECK(pa_context_connect(t.context, t.server, PA_CONTEXT_NOAUTOSPAWN, NULL) == 0);
    return check_failures();
}

static void dies(pa_context *context, void *user) {
    (void)user;
    here();
    if (pa_context_get_state(context) == PA_CONTEXT_READY)
        CHECK(kill(t.pid, SIGKILL) == 0);
    if (pa_context_get_state(context) == PA_CONTEXT_FAILED && !t.failed++) {
        pa_context_unref(context);
        finish();
    }
}

int test_pulse_the_server_dies(oneloop_t *loop) {
    begin(loop);
    t.context = pa_context_new(t.api, "oneloop");
    pa_context_set_state_callback(t.context, dies, NULL);
    CHECK(pa_context_connect(t.context, t.server, PA_CONTEXT_NOAUTOSPAWN, NULL) == 0);
    return check_failures();
}

/* The contract. */

static void io_destroyed(pa_mainloop_api *api, pa_io_event *event, void *user) {
    CHECK(api == t.api && event);
    ++*(int *)user;
}

static void time_destroyed(pa_mainloop_api *api, pa_time_event *event, void *user) {
    CHECK(api == t.api && event);
    ++*(int *)user;
}

static void defer_destroyed(pa_mainloop_api *api, pa_defer_event *event, void *user) {
    CHECK(api == t.api && event);
    ++*(int *)user;
}

/* Eleven events, each destroyed once, in a turn after they were freed. */
static void count_destroyed(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    if (t.destroyed < 11)
        return;
    CHECK(t.destroyed == 11);
    CHECK(((struct oneloop_pulse *)t.api)->users == 1);
    oneloop_cancel_timer(loop, id);
    close(t.pipe[0]);
    close(t.pipe[1]);
    close(t.ends[0]);
    close(t.ends[1]);
    close(t.closed[0]);
    finish();
}

static void is_over(void) {
    if (t.fired < 5 || t.again < 3 || t.io < 3 || !t.hangups || t.switched < 2 || t.monotonic)
        return;
    if (t.rounds++)
        return;
    t.api->time_free(t.timer);
    t.api->time_free(t.never);
    t.api->defer_free(t.defer);
    t.api->io_free(t.in);
    t.api->io_free(t.out);
    t.api->io_free(t.part);
    oneloop_id timer;
    CHECK(oneloop_add_timer(t.loop, 0, 1000000, count_destroyed, NULL, NULL, &timer) == 0);
}

/* Moved on in its callback: into the future, never early, and then into the past, never at once. */
static void due(pa_mainloop_api *api, pa_time_event *event, const struct timeval *time,
                void *user) {
    struct timeval now;
    (void)user;
    here();
    CHECK(event == t.timer && t.depth++ == 0);
    gettimeofday(&now, NULL);
    CHECK(time->tv_sec == t.due.tv_sec && time->tv_usec == t.due.tv_usec);
    CHECK(timercmp(&now, time, >=));
    if (t.fired < 5) {
        struct timeval later = {0, 2000};
        t.fired++;
        timeradd(&now, &later, &t.due);
        api->time_restart(event, &t.due);
    } else if (t.io < 3 || t.again < 3) {
        /* As soon as possible, not at once; and others have their turn, as they had before. */
        CHECK(t.slow == 3);
        t.again++;
        timerclear(&t.due);
        api->time_restart(event, &t.due);
        CHECK(write(t.ends[1], "x", 1) == 1);
    }
    t.depth--;
    is_over();
}

static void not_due(pa_mainloop_api *api, pa_time_event *event, const struct timeval *time,
                    void *user) {
    (void)api, (void)event, (void)time, (void)user;
    CHECK(!"switched off");
}

/* A time of the other clock, which a bit says. */
static void due_by_the_steady_clock(pa_mainloop_api *api, pa_time_event *event,
                                    const struct timeval *time, void *user) {
    struct timespec now;
    (void)time, (void)user;
    CHECK(event == t.monotonic);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > t.steady.tv_sec ||
          (now.tv_sec == t.steady.tv_sec && now.tv_nsec >= t.steady.tv_nsec));
    api->time_free(event);
    t.monotonic = NULL;
    is_over();
}

static pa_time_event *in_ten_milliseconds(pa_mainloop_api *api) {
    struct timeval time;
    clock_gettime(CLOCK_MONOTONIC, &t.steady);
    t.steady.tv_nsec += 10000000;
    t.steady.tv_sec += t.steady.tv_nsec / 1000000000;
    t.steady.tv_nsec = t.steady.tv_nsec % 1000000000 / 1000 * 1000;
    time.tv_sec = t.steady.tv_sec;
    time.tv_usec = t.steady.tv_nsec / 1000 | ONELOOP_PULSE_MONOTONIC;
    return api->time_new(api, &time, due_by_the_steady_clock, &t.destroyed);
}

static void deferred(pa_mainloop_api *api, pa_defer_event *event, void *user) {
    (void)user;
    here();
    CHECK(event == t.defer);
    if (++t.deferred % 3 == 0 && t.switched < 2) {
        t.switched++;
        api->defer_enable(event, 0);
    }
    is_over();
}

static void once(pa_mainloop_api *api, pa_defer_event *event, void *user) {
    (void)user;
    CHECK(event == t.once);
    t.once = NULL;
    api->defer_free(event);
}

/* Reads a part of what is there, and does nothing else: the rest shows again. */
static void in_part(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
                    void *user) {
    char byte;
    (void)api, (void)user;
    CHECK(event == t.part && flags == PA_IO_EVENT_INPUT);
    CHECK(read(fd, &byte, 1) == 1);
    t.slow++;
}

/* Drops its interest, reads a part, and takes it up again, as libpulse does. */
static void in(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
               void *user) {
    char byte;
    (void)user;
    here();
    CHECK(event == t.in && fd == t.ends[0] && flags == PA_IO_EVENT_INPUT);
    api->io_enable(event, PA_IO_EVENT_NULL);
    CHECK(read(fd, &byte, 1) == 1);
    api->io_enable(event, PA_IO_EVENT_INPUT);
    api->defer_enable(t.defer, 1);
    t.io++;
    if (t.other) {
        /* Another's, on another descriptor, that would have been called. */
        api->io_free(t.other);
        t.other = NULL;
    }
    is_over();
}

static void out(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
                void *user) {
    (void)user;
    CHECK(event == t.out && fd == t.ends[0] && flags == PA_IO_EVENT_OUTPUT);
    if (++t.quit < 3) {
        /* Freed in its own callback, and made again for the same descriptor. */
        api->io_free(event);
        t.out = api->io_new(api, fd, PA_IO_EVENT_OUTPUT, out, &t.destroyed);
        api->io_set_destroy(t.out, t.quit == 1 ? NULL : io_destroyed);
    } else {
        api->io_enable(event, PA_IO_EVENT_NULL);
    }
}

static void hung_up(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
                    void *user) {
    (void)fd, (void)user;
    CHECK(event == t.hup && flags & PA_IO_EVENT_HANGUP);
    t.hangups++;
    api->io_free(event);
    is_over();
}

static void never(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
                  void *user) {
    (void)api, (void)event, (void)fd, (void)flags, (void)user;
    CHECK(!"freed");
}

int test_pulse_contract(oneloop_t *loop) {
    pa_mainloop_api *api;
    begin(loop);
    api = t.api;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.ends) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.closed) == 0);
    CHECK(pipe(t.pipe) == 0);
    CHECK(write(t.ends[1], "abc", 3) == 3 && write(t.pipe[1], "abc", 3) == 3);

    gettimeofday(&t.due, NULL);
    t.timer = api->time_new(api, &t.due, due, &t.destroyed);
    api->time_set_destroy(t.timer, time_destroyed);
    t.never = api->time_new(api, NULL, not_due, &t.destroyed);
    api->time_set_destroy(t.never, time_destroyed);
    t.gone = api->time_new(api, &t.due, not_due, &t.destroyed);
    api->time_set_destroy(t.gone, time_destroyed);
    api->time_free(t.gone);

    t.monotonic = in_ten_milliseconds(api);
    api->time_set_destroy(t.monotonic, time_destroyed);

    t.defer = api->defer_new(api, deferred, &t.destroyed);
    api->defer_set_destroy(t.defer, defer_destroyed);
    t.once = api->defer_new(api, once, &t.destroyed);
    api->defer_set_destroy(t.once, defer_destroyed);

    /* Two on one descriptor. */
    t.in = api->io_new(api, t.ends[0], PA_IO_EVENT_INPUT, in, &t.destroyed);
    api->io_set_destroy(t.in, io_destroyed);
    t.out = api->io_new(api, t.ends[0], PA_IO_EVENT_OUTPUT, out, &t.destroyed);
    /* Destroyed without a word: the last of its line has one. */
    t.other = api->io_new(api, t.ends[1], PA_IO_EVENT_NULL, never, &t.destroyed);
    api->io_set_destroy(t.other, io_destroyed);
    t.hup = api->io_new(api, t.closed[0], PA_IO_EVENT_HANGUP, hung_up, &t.destroyed);
    api->io_set_destroy(t.hup, io_destroyed);
    t.part = api->io_new(api, t.pipe[0], PA_IO_EVENT_INPUT, in_part, &t.destroyed);
    api->io_set_destroy(t.part, io_destroyed);
    close(t.closed[1]);
    CHECK(!api->io_new(api, -1, PA_IO_EVENT_INPUT, never, NULL));
    return check_failures();
}
