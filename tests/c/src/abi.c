/* The C ABI, from C. */

#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

_Thread_local int failures, stops;

int check_failures(void) { return failures; }

/* Asked once after each test. */
bool check_is_over(void) {
    bool over = stops > 0;
    stops = 0;
    return over;
}

/* Handlers. */

static int read_one(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    CHECK(user == &t && id == t.id && fd == t.ends[0]);
    CHECK(oneloop_handler_fd(loop, id) == fd);
    CHECK(ready == ONELOOP_READABLE);
    CHECK(read(fd, &byte, 1) == 1);
    return ++t.calls == 3 ? ONELOOP_REMOVE : ONELOOP_CONTINUE;
}

static void after_removal(oneloop_t *loop, void *user) {
    (void)user;
    CHECK(t.calls == 3 && t.destroyed == 1);
    CHECK(oneloop_remove_handler(loop, t.id) == -ENOENT);
    CHECK(strstr(oneloop_strerror(), "remove_handler") != NULL);
    end(loop);
}

static int watch_removal(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user, (void)id;
    if (t.calls < 3 || t.destroyed < 1)
        return ONELOOP_CONTINUE;
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, after_removal, NULL, NULL, NULL) == 0);
    return ONELOOP_REMOVE;
}

int test_a_level_handler_is_called_until_it_removes_itself(oneloop_t *loop) {
    begin();
    pair(t.ends);
    CHECK(write(t.ends[1], "abc", 3) == 3);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, read_one, &t,
                              destroy, &t.id) == 0);
    CHECK(t.id != 0);
    CHECK(oneloop_add_deferred(loop, watch_removal, NULL, NULL, NULL) == 0);
    return failures;
}

static int remove_both(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)fd, (void)ready, (void)user;
    t.inside = 1;
    CHECK(oneloop_remove_handler(loop, t.other) == 0);
    CHECK(oneloop_remove_handler(loop, id) == 0);
    CHECK(oneloop_remove_handler(loop, id) == -ENOENT);
    CHECK(t.destroyed == 0);
    t.inside = 0;
    CHECK(oneloop_add_deferred(loop, watch_removal, NULL, NULL, NULL) == 0);
    t.calls = 3;
    return ONELOOP_CONTINUE;
}

int test_destroy_is_not_called_inside_remove(oneloop_t *loop) {
    begin();
    pair(t.ends);
    CHECK(write(t.ends[1], "a", 1) == 1);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, remove_both, NULL,
                              NULL, &t.id) == 0);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, never, &t, destroy,
                              &t.other) == 0);
    return failures;
}

static int writable(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)fd, (void)user;
    switch (t.calls++) {
    case 0:
        CHECK(ready == ONELOOP_WRITABLE);
        /* Off and on costs nothing; 0 is nothing. */
        CHECK(oneloop_update_handler(loop, id, 0) == 0);
        CHECK(oneloop_update_handler(loop, id, ONELOOP_READABLE | ONELOOP_ERROR) == 0);
        CHECK(oneloop_update_handler(loop, id, 1 << 20) == -EINVAL);
        CHECK(oneloop_rearm_handler(loop, id) == 0);
        close(t.ends[1]);
        t.ends[1] = t.ends[0];
        return ONELOOP_CONTINUE;
    default:
        /* Not every poller says the rest. */
        CHECK((ready & ~ONELOOP_READ_CLOSED) == (ONELOOP_READABLE | ONELOOP_HANGUP));
        CHECK(oneloop_update_handler(loop, id, 0) == 0);
        end(loop);
        return ONELOOP_CONTINUE;
    }
}

int test_interest_can_be_changed(oneloop_t *loop) {
    begin();
    pair(t.ends);
    CHECK(oneloop_add_handler(loop, t.ends[0], 0, ONELOOP_LEVEL, writable, NULL, NULL, &t.id) == 0);
    CHECK(oneloop_update_handler(loop, t.id, ONELOOP_WRITABLE) == 0);
    return failures;
}

/* In each turn the one of high priority is called first. */
static int ordered(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop;
    CHECK((id == t.id) == (t.calls % 2 == 0));
    t.calls++;
    return user == NULL || t.calls < 6 ? ONELOOP_CONTINUE : (end(loop), ONELOOP_REMOVE);
}

int test_a_handler_of_high_priority_is_called_first(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_deferred(loop, ordered, &t, NULL, &t.other) == 0);
    CHECK(oneloop_add_deferred(loop, ordered, NULL, NULL, &t.id) == 0);
    CHECK(oneloop_set_priority(loop, t.other, ONELOOP_IDLE) == 0);
    CHECK(oneloop_set_priority(loop, t.id, ONELOOP_HIGH) == 0);
    return failures;
}

static int limited(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)fd, (void)ready, (void)user;
    /* Two calls an interval. */
    CHECK(now() - t.start >= t.calls / 2 * 3LL * MS);
    if (++t.calls == 6) {
        CHECK(oneloop_limit_rate(loop, id, 0, 0) == 0);
        end(loop);
        return ONELOOP_REMOVE;
    }
    return ONELOOP_CONTINUE;
}

int test_a_handler_is_called_no_more_often_than_its_limit(oneloop_t *loop) {
    begin();
    pair(t.ends);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_WRITABLE, ONELOOP_LEVEL, limited, NULL, NULL,
                              &t.id) == 0);
    CHECK(oneloop_limit_rate(loop, t.id, 2, 3 * MS) == 0);
    return failures;
}

static int drive_inside(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user, (void)id;
    CHECK(oneloop_run(loop) == -EBUSY);
    CHECK(oneloop_turn(loop, 0, NULL) == -EBUSY);
    CHECK(strstr(oneloop_strerror(), "driven") != NULL);
    end(loop);
    return ONELOOP_REMOVE;
}

int test_bad_arguments_are_errors(oneloop_t *loop) {
    begin();
    oneloop_id id = 7;
    int fds[2];
    pair(fds);
    close(fds[1]);
    /* None of these destroys: what failed to be registered stays the caller's. */
    CHECK(oneloop_add_handler(NULL, fds[0], 1, 0, never, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_handler(loop, fds[0], 1, 0, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(strstr(oneloop_strerror(), "callback") != NULL);
    CHECK(oneloop_add_handler(loop, fds[0], 1, 9, never, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_handler(loop, fds[0], 64, 0, never, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_handler(loop, -1, 1, 0, never, &t, destroy, &id) == -EBADF);
    close(fds[0]);
    CHECK(oneloop_add_handler(loop, 1000000, 1, 0, never, &t, destroy, &id) == -EBADF);
    CHECK(strstr(oneloop_strerror(), "1000000") != NULL);
    CHECK(oneloop_add_timer(loop, 0, -1, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_call_soon(loop, 99, NULL, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_add_hook(loop, NULL, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_signal(loop, SIGKILL, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(id == 7 && t.destroyed == 0);
    CHECK(oneloop_update_handler(loop, 7, 1) == -ENOENT);
    CHECK(oneloop_rearm_handler(loop, 0) == -ENOENT);
    CHECK(oneloop_set_priority(loop, 7, ONELOOP_HIGH) == -ENOENT);
    CHECK(oneloop_set_priority(loop, 7, 3) == -EINVAL);
    CHECK(oneloop_limit_rate(loop, 7, 1, MS) == -ENOENT);
    CHECK(oneloop_limit_rate(loop, 7, 1, -1) == -EINVAL);
    CHECK(oneloop_handler_fd(loop, UINT64_MAX) == -ENOENT);
    CHECK(oneloop_reset_timer(loop, 7, 1) == -ENOENT);
    CHECK(oneloop_cancel_timer(loop, 7) == -ENOENT);
    CHECK(oneloop_remove_hook(loop, 7) == -ENOENT);
    CHECK(oneloop_set_referenced(loop, 7, false) == -ENOENT);
    CHECK(oneloop_run(NULL) == -EINVAL && oneloop_stop(NULL) == -EINVAL);
    oneloop_free(NULL);
    CHECK(oneloop_add_deferred(loop, drive_inside, NULL, NULL, NULL) == 0);
    return failures;
}

/* Timers. */

static void tick(oneloop_t *loop, oneloop_id id, void *user) {
    CHECK(user == &t && id == t.id);
    switch (t.calls++) {
    case 0:
        CHECK(now() - t.start >= MS);
        /* It sleeps now, and can be waked, in its own callback too. */
        CHECK(oneloop_reset_timer(loop, id, 0) == 0);
        break;
    case 1: {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        CHECK(oneloop_reset_timer_at(loop, id, ONELOOP_MONOTONIC, at.tv_sec, at.tv_nsec) == 0);
        break;
    }
    case 2: {
        struct timespec at;
        clock_gettime(CLOCK_REALTIME, &at);
        CHECK(oneloop_reset_timer_at(loop, id, ONELOOP_REALTIME, at.tv_sec, at.tv_nsec) == 0);
        CHECK(oneloop_reset_timer_at(loop, id, 99, 0, 0) == -EINVAL);
        CHECK(oneloop_reset_timer_at(loop, id, ONELOOP_REALTIME, 0, 1000000000) == -EINVAL);
        break;
    }
    default:
        t.inside = 1;
        CHECK(oneloop_cancel_timer(loop, id) == 0);
        CHECK(oneloop_cancel_timer(loop, id) == -ENOENT);
        t.inside = 0;
        t.calls = 3;
        CHECK(oneloop_add_deferred(loop, watch_removal, NULL, NULL, NULL) == 0);
        /* The registrations of `after_removal` are gone in the same way. */
    }
}

int test_a_timer_sleeps_until_it_is_reset(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, tick, &t, destroy, &t.id) == 0);
    CHECK(oneloop_next_timeout(loop) > 1000LL * MS);
    CHECK(oneloop_reset_timer(loop, t.id, MS) == 0);
    CHECK(oneloop_next_timeout(loop) <= MS);
    return failures;
}

/* Timers for one time of a clock, in whichever order they were set: by creation. */

#define MANY 300

static _Thread_local struct {
    oneloop_id ids[2 * MANY];
    int fired;
} one_time;

static void in_order(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    CHECK(id == one_time.ids[one_time.fired++]);
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    if (one_time.fired == 2 * MANY)
        end(loop);
}

int test_timers_for_one_time_fire_by_creation(oneloop_t *loop) {
    static const int clocks[] = {ONELOOP_MONOTONIC, ONELOOP_REALTIME};
    begin();
    one_time.fired = 0;
    for (int n = 0; n < 2 * MANY; n++)
        CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, in_order, NULL, NULL, &one_time.ids[n]) == 0);
    struct timespec at[2];
    clock_gettime(CLOCK_MONOTONIC, &at[0]);
    clock_gettime(CLOCK_REALTIME, &at[1]);
    /* Those of the one clock are due before those of the other, however long this takes. */
    at[1].tv_sec += (at[1].tv_nsec + 20 * MS) / 1000000000;
    at[1].tv_nsec = (at[1].tv_nsec + 20 * MS) % 1000000000;
    for (int n = 2 * MANY - 1; n >= 0; n--) {
        int clock = n / MANY;
        CHECK(oneloop_reset_timer_at(loop, one_time.ids[n], clocks[clock], at[clock].tv_sec,
                                     at[clock].tv_nsec) == 0);
    }
    return failures;
}

/* Times that have passed are in order, too. */
static void long_ago(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    CHECK(id == one_time.ids[one_time.fired--]);
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    if (one_time.fired < 0)
        end(loop);
}

int test_timers_for_times_of_long_ago_fire_in_order(oneloop_t *loop) {
    begin();
    one_time.fired = MANY - 1;
    for (int n = 0; n < MANY; n++) {
        CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, long_ago, NULL, NULL, &one_time.ids[n]) == 0);
        CHECK(oneloop_reset_timer_at(loop, one_time.ids[n], ONELOOP_MONOTONIC, 0, MANY - n) == 0);
    }
    return failures;
}

static void tock(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (++t.calls < 5)
        return;
    CHECK(now() - t.start >= 5 * MS);
    CHECK(oneloop_reset_timer(loop, id, ONELOOP_NEVER) == 0);
    end(loop);
}

int test_a_timer_with_a_period(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_timer(loop, MS, MS, tock, NULL, NULL, NULL) == 0);
    return failures;
}

static void once(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    t.calls++;
}

/* The same as with none. */
int test_a_timer_whose_period_is_never(oneloop_t *outer) {
    oneloop_t *loop = oneloop_new();
    begin();
    CHECK(oneloop_add_timer(loop, 0, ONELOOP_NEVER, once, NULL, NULL, NULL) == 0);
    CHECK(oneloop_turn(loop, 0, NULL) == 1);
    CHECK(oneloop_next_timeout(loop) == ONELOOP_NEVER);
    CHECK(oneloop_run(loop) == 0 && t.calls == 1);
    oneloop_free(loop);
    end(outer);
    return failures;
}

/* Deferred and idle. */

static int idle(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (++t.destroyed == 5)
        end(loop);
    return ONELOOP_CONTINUE;
}

static int deferred(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (++t.calls == 1)
        CHECK(oneloop_add_idle(loop, idle, NULL, NULL, &t.other) == 0);
    if (t.calls == 50) {
        CHECK(t.destroyed == 0); /* nothing was idle so far */
        CHECK(oneloop_enable(loop, id, false) == 0);
        CHECK(oneloop_enable(loop, t.other, false) == 0);
        CHECK(oneloop_enable(loop, t.other, true) == 0);
    }
    return ONELOOP_CONTINUE;
}

int test_deferred_callbacks_every_turn_and_idle_ones_when_there_is_nothing(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_deferred(loop, deferred, NULL, NULL, &t.id) == 0);
    return failures;
}

static int idle_again(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (++t.calls == 1000)
        end(loop);
    return ONELOOP_AGAIN;
}

int test_an_idle_callback_that_wants_again_is_called_again(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_idle(loop, idle_again, NULL, NULL, NULL) == 0);
    return failures;
}

/* A timer is not there before its first deadline, however short its period. */

static int check_not_ticked(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user, (void)id;
    if (++t.calls < 20)
        return ONELOOP_CONTINUE;
    CHECK(oneloop_cancel_timer(loop, t.other) == 0);
    end(loop);
    return ONELOOP_REMOVE;
}

static void ticked(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(!"early");
}

int test_the_first_delay_may_be_longer_than_the_period(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_timer(loop, 1000000LL * MS, 1, ticked, NULL, NULL, &t.other) == 0);
    CHECK(oneloop_add_deferred(loop, check_not_ticked, NULL, NULL, NULL) == 0);
    return failures;
}

/* Posts from another thread. */

#define POSTS 1000

struct post {
    oneloop_t *loop;
    int *next;
    int *freed;
    int number;
};

static struct post posts[POSTS];
static pthread_mutex_t posting = PTHREAD_MUTEX_INITIALIZER;

static void post_destroyed(void *user) { ++*((struct post *)user)->freed; }

static void posted(oneloop_t *loop, void *user) {
    struct post *post = user;
    CHECK(loop == post->loop);
    CHECK(*post->next == post->number);
    if (++*post->next == POSTS) {
        pthread_mutex_unlock(&posting);
        oneloop_stop(loop);
    }
}

static void *poster(void *first) {
    struct post *post = first;
    /* Once the last has run they may be another test's. */
    oneloop_t *loop = post->loop;
    for (int n = 0; n < POSTS; n++, post++)
        if (oneloop_call_soon(loop, ONELOOP_NORMAL, posted, post, post_destroyed, NULL) != 0)
            abort();
    oneloop_free(loop);
    return NULL;
}

int test_posts_from_another_thread_in_order(oneloop_t *loop) {
    static int next, freed;
    pthread_mutex_lock(&posting); /* until the last one has run */
    next = freed = 0;
    for (int n = 0; n < POSTS; n++)
        posts[n] = (struct post){loop, &next, &freed, n};
    /* Something to wait for, and a handle for the thread. */
    CHECK(oneloop_add_timer(loop, 1000000LL * MS, 0, tock, NULL, NULL, NULL) == 0);
    CHECK(oneloop_hold(loop) == loop);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, poster, posts) == 0);
    pthread_detach(thread);
    return failures;
}

/* A handler is moved to another descriptor, whose predecessor is closed already, and learns its number. A check
 * hook sees what the handler is told. */

static _Thread_local int lost[2], seen;

static int moved(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    CHECK(user == &t && id == t.id && ready == ONELOOP_READABLE);
    CHECK(oneloop_handler_ready(loop, id) == ONELOOP_READABLE);
    CHECK(read(fd, &byte, 1) == 1);
    if (t.calls++ == 0) {
        CHECK(fd == lost[0] && byte == 'a');
        CHECK(write(lost[1], "x", 1) == 1); /* is lost */
        close(lost[0]);
        CHECK(oneloop_move_handler(loop, id, lost[0]) == -EBADF);
        CHECK(oneloop_move_handler(loop, id, t.ends[0]) == 0);
        CHECK(oneloop_handler_fd(loop, id) == t.ends[0]);
        close(lost[1]);
        CHECK(write(t.ends[1], "b", 1) == 1);
        return ONELOOP_CONTINUE;
    }
    CHECK(fd == t.ends[0] && byte == 'b' && seen >= 2);
    CHECK(oneloop_remove_hook(loop, t.other) == 0);
    end(loop);
    return ONELOOP_REMOVE;
}

static int64_t no_limit(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    return ONELOOP_NEVER;
}

static void look(oneloop_t *loop, void *user) {
    (void)user;
    int ready = oneloop_handler_ready(loop, t.id);
    CHECK(ready == 0 || ready == ONELOOP_READABLE);
    seen += ready != 0;
}

int test_a_handler_is_moved_to_another_descriptor(oneloop_t *loop) {
    begin();
    seen = 0;
    pair(t.ends), pair(lost);
    CHECK(write(lost[1], "a", 1) == 1);
    CHECK(oneloop_add_handler(loop, lost[0], ONELOOP_READABLE, ONELOOP_LEVEL, moved, &t, NULL,
                              &t.id) == 0);
    CHECK(oneloop_add_hook(loop, no_limit, look, NULL, NULL, &t.other) == 0);
    CHECK(oneloop_move_handler(loop, t.other, lost[0]) == -ENOENT);
    CHECK(oneloop_handler_ready(loop, t.other) == -ENOENT);
    return failures;
}

/* Slow callbacks are reported, by name, and an observer goes in a turn of its own. */

static void slow(oneloop_t *loop, oneloop_id id, void *user) {
    int64_t begun = now();
    (void)loop, (void)user;
    CHECK(id == t.id);
    while (now() - begun < 2 * MS)
        ;
}

static void report(oneloop_t *loop, oneloop_id id, const char *name, int64_t took, void *user) {
    CHECK(user == &t && took >= 2 * MS);
    if (id != t.id) /* another callback that was interrupted for as long */
        return;
    CHECK(name && strcmp(name, "the slow one") == 0);
    t.calls++;
    t.inside = 1;
    CHECK(oneloop_remove_observer(loop, t.other) == 0);
    CHECK(oneloop_remove_observer(loop, t.other) == -ENOENT);
    t.inside = 0;
}

static int until_destroyed(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (!t.destroyed)
        return ONELOOP_CONTINUE;
    CHECK(t.calls == 1);
    end(loop);
    return ONELOOP_REMOVE;
}

int test_slow_callbacks_are_reported(oneloop_t *loop) {
    begin();
    CHECK(oneloop_observe_callbacks(loop, 0, NULL, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_observe_callbacks(loop, -1, report, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_observe_callbacks(loop, 2 * MS, report, &t, destroy, &t.other) == 0);
    CHECK(oneloop_add_timer(loop, 0, 0, slow, NULL, NULL, &t.id) == 0);
    CHECK(oneloop_set_name(loop, t.id, "the slow one") == 0);
    CHECK(oneloop_add_deferred(loop, until_destroyed, NULL, NULL, NULL) == 0);
    return failures;
}

/* The loop's own page, which a client on the same loop asks for. */

static int read_answer(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    static _Thread_local char answer[65536];
    (void)id, (void)ready, (void)user;
    ssize_t length = read(fd, answer + t.calls, sizeof answer - 1 - t.calls);
    if (length > 0) {
        t.calls += length;
        return ONELOOP_CONTINUE;
    }
    CHECK(length == 0);
    answer[t.calls] = 0;
    CHECK(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) == 0);
    CHECK(strstr(answer, "\"name\":\"the client\"") != NULL);
    close(fd);
    end(loop);
    return ONELOOP_REMOVE;
}

int test_a_loop_serves_its_page(oneloop_t *loop) {
    static const char request[] = "GET /snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    begin();
    CHECK(oneloop_features() & ONELOOP_HAS_INSPECT);
    CHECK(oneloop_inspect(loop, NULL) == -EINVAL);
    CHECK(oneloop_inspect(loop, "nowhere") == -EINVAL);
    CHECK(oneloop_inspect(loop, "0.0.0.0:0") == -EACCES);
    CHECK(strstr(oneloop_strerror(), "0.0.0.0:0") != NULL);
    CHECK(oneloop_count(loop, ONELOOP_COUNT_HANDLERS) == 0);
    int port = oneloop_inspect(loop, "127.0.0.1:0");
    CHECK(port > 0);
    CHECK(oneloop_is_alive(loop) == 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(write(client, request, sizeof request - 1) == sizeof request - 1);
    CHECK(oneloop_add_handler(loop, client, ONELOOP_READABLE, ONELOOP_LEVEL, read_answer, NULL, NULL,
                              &t.id) == 0);
    CHECK(oneloop_set_name(loop, t.id, "the client") == 0);
    return failures;
}

/* Hooks: a library that has something in a queue, then wants to be asked soon, and then not. */

static _Thread_local int checks;

static int64_t prepare(oneloop_t *loop, void *user) {
    (void)loop;
    CHECK(user == &t);
    t.calls++;
    return t.calls < 10 ? 0 : t.calls == 10 ? 2 * MS : ONELOOP_NEVER;
}

static void check(oneloop_t *loop, void *user) {
    (void)loop;
    CHECK(user == &t);
    checks++;
    if (t.calls > 10)
        CHECK(now() - t.start >= 2 * MS);
}

static void after_the_sleep(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    /* Some more than need be, but it has slept. */
    CHECK(t.calls > 10 && t.calls < 100);
    CHECK(checks >= 10 && checks < 100);
    CHECK(oneloop_remove_hook(loop, t.id) == 0);
    end(loop);
}

int test_hooks_around_the_sleep(oneloop_t *loop) {
    begin();
    checks = 0;
    CHECK(oneloop_add_hook(loop, prepare, check, &t, destroy, &t.id) == 0);
    CHECK(oneloop_add_timer(loop, 100LL * MS, 0, after_the_sleep, NULL, NULL, NULL) == 0);
    return failures;
}

/* A host in C asks the hooks right before it waits. */

static int64_t limit(oneloop_t *loop, void *user) {
    CHECK(oneloop_ask_hooks(loop) == 0); /* which asks no hook while it is driven */
    t.calls++;
    return *(int64_t *)user;
}

static void emptied(oneloop_t *loop, void *user) {
    (void)loop;
    *(int64_t *)user = ONELOOP_NEVER;
}

static int is_readable(int host) {
    struct pollfd fd = {.fd = host, .events = POLLIN};
    return poll(&fd, 1, 0);
}

static void step_until_sleep(oneloop_t *loop) {
    int step = 0;
    while (step >= 0 && step != ONELOOP_STEP_SLEEP)
        step = oneloop_step(loop, 100);
    CHECK(step == ONELOOP_STEP_SLEEP);
}

int test_a_host_asks_the_hooks(oneloop_t *outer) {
    int64_t queue = ONELOOP_NEVER;
    oneloop_t *loop = oneloop_new();
    begin();
    CHECK(oneloop_step(loop, 100) == -EINVAL);
    int host = oneloop_host_begin(loop, 0);
    CHECK(host >= 0 && oneloop_host_begin(loop, 0) == -EBUSY && oneloop_run(loop) == -EBUSY);
    CHECK(oneloop_ask_hooks(loop) == 0 && !is_readable(host));
    CHECK(oneloop_add_hook(loop, limit, emptied, &queue, NULL, NULL) == 0);
    step_until_sleep(loop);
    /* No descriptor shows what is left in the queue. */
    queue = 0;
    CHECK(!is_readable(host));
    t.calls = 0;
    CHECK(oneloop_ask_hooks(loop) == 0 && t.calls == 1);
    CHECK(is_readable(host));
    step_until_sleep(loop);
    CHECK(queue == ONELOOP_NEVER);
    CHECK(oneloop_ask_hooks(loop) == 0 && !is_readable(host));
    CHECK(oneloop_close(loop) == 0);
    CHECK(oneloop_ask_hooks(loop) == -ESHUTDOWN);
    CHECK(oneloop_step(loop, 100) == -ESHUTDOWN);
    CHECK(oneloop_host_end(loop) == 0);
    oneloop_free(loop);
    end(outer);
    return failures;
}

/* Signals and children. */

static void child_ended(oneloop_t *loop, int pid, int status, int error, void *user) {
    (void)pid;
    CHECK(user == &t && error == 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    end(loop);
}

static int signalled(oneloop_t *loop, oneloop_id id, int number, void *user) {
    CHECK(user == &t && number == SIGUSR1 && id == t.id);
    int pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 7", NULL);
        _exit(1);
    }
    CHECK(oneloop_add_child(loop, pid, child_ended, &t, destroy, NULL) == 0);
    CHECK(oneloop_add_child(loop, 1, child_ended, &t, destroy, NULL) == -ECHILD);
    return ONELOOP_REMOVE;
}

int test_signals_and_children(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_signal(loop, SIGUSR1, signalled, &t, destroy, &t.id) == 0);
    CHECK(oneloop_add_signal(loop, SIGKILL, signalled, &t, destroy, NULL) == -ENOTSUP);
    CHECK(raise(SIGUSR1) == 0);
    return failures;
}

/* The table, for plug-ins, and a loop of C's own inside poll(2). */

static void stop(oneloop_t *loop, oneloop_id id, void *user) {
    const oneloop_api *api = user;
    (void)id;
    t.calls++;
    CHECK(api->stop(loop) == 0);
}

static void let_go(oneloop_t *loop, void *user) {
    t.calls++;
    ((const oneloop_api *)user)->free(loop);
}

/* Each entry is the function of its name. */
static void check_table(const oneloop_api *api) {
#define SAME(name) CHECK(api->name == oneloop_##name)
#undef oneloop_stop
    CHECK(api->new_loop == oneloop_new);
    SAME(features); SAME(strerror); SAME(add_handler); SAME(update_handler); SAME(rearm_handler);
    SAME(remove_handler); SAME(handler_fd); SAME(add_deferred); SAME(add_idle); SAME(enable);
    SAME(add_signal); SAME(add_child); SAME(call_soon); SAME(add_hook); SAME(remove_hook);
    SAME(hold); SAME(free); SAME(close); SAME(run); SAME(turn); SAME(stop); SAME(wake);
    SAME(run_forever); SAME(host_begin); SAME(step); SAME(host_end); SAME(next_timeout); SAME(set_referenced);
    SAME(dump); SAME(set_name); SAME(is_alive); SAME(count); SAME(dump_text); SAME(cancel_post); SAME(add_timer);
    SAME(reset_timer);
    SAME(reset_timer_at); SAME(cancel_timer); SAME(ask_hooks); SAME(set_priority); SAME(limit_rate);
    SAME(add_pollset); SAME(remove_pollset);
    SAME(move_handler); SAME(handler_ready); SAME(observe_callbacks); SAME(remove_observer);
    SAME(report_error);
#undef SAME
#define oneloop_stop check_stop
}

int test_a_plug_in_hosts_a_loop_of_its_own(oneloop_t *outer) {
    begin();
    CHECK(oneloop_get_api(ONELOOP_API_VERSION + 1) == NULL);
    const oneloop_api *api = oneloop_get_api(ONELOOP_API_VERSION);
    CHECK(api->version == ONELOOP_API_VERSION && api->size == sizeof *api);
    check_table(api);
    CHECK(oneloop_version() == ONELOOP_VERSION && api->features() == oneloop_features());
    /* Valgrind has no pidfds, which are the business of tests/old_kernel.rs. */
    CHECK((oneloop_features() & ~(ONELOOP_HAS_PIDFD | ONELOOP_HAS_INSPECT)) ==
          (ONELOOP_HAS_EDGE | ONELOOP_HAS_CLOCK_NOTICE));
    oneloop_t *loop = api->new_loop();
    CHECK(api->hold(loop) == loop);
    api->free(loop);
    CHECK(api->add_timer(loop, 2 * MS, 0, stop, (void *)api, NULL, NULL) == 0);
    struct pollfd fd = {.fd = api->host_begin(loop, 0), .events = POLLIN};
    for (int step = 0; step != ONELOOP_STEP_DONE;) {
        step = api->step(loop, 100);
        CHECK(step > 0);
        if (step == ONELOOP_STEP_SLEEP)
            poll(&fd, 1, -1);
    }
    CHECK(api->host_end(loop) == 0);
    CHECK(t.calls == 1);
    /* One that ends when nothing is left. */
    CHECK(api->host_begin(loop, ONELOOP_HOST_EXIT_WHEN_EMPTY) >= 0);
    CHECK(api->step(loop, 100) == ONELOOP_STEP_DONE);
    CHECK(api->host_end(loop) == 0);
    CHECK(api->stop(loop) == 0 && api->run_forever(loop) == 0);
    /* All that is registered when a loop ends is destroyed once. */
    CHECK(api->add_timer(loop, 0, 0, stop, &t, destroy, NULL) == 0);
    CHECK(api->add_handler(loop, 0, 0, 0, never, &t, destroy, NULL) == 0);
    CHECK(api->call_soon(loop, ONELOOP_IDLE, posted, &t, destroy, NULL) == 0);
    CHECK(api->add_hook(loop, prepare, NULL, &t, destroy, NULL) == 0);
    CHECK(api->add_deferred(loop, watch_removal, &t, destroy, NULL) == 0);
    api->free(loop);
    CHECK(t.destroyed == 5);
    /* The last handle may go inside a callback. */
    loop = api->new_loop();
    CHECK(api->call_soon(loop, ONELOOP_NORMAL, let_go, (void *)api, NULL, NULL) == 0);
    CHECK(api->run(loop) == 0);
    CHECK(t.calls == 2);
    end(outer);
    return failures;
}
