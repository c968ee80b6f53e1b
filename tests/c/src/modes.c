/* The C ABI, from C: modes, priorities, what keeps a loop going, and when user data is given back. */

#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <stdlib.h>

/* Calls `then` when whatever is ready now has had every chance to be called. */

static _Thread_local struct {
    int turns;
    void (*then)(oneloop_t *loop);
} later;

static int a_turn_is_over(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (--later.turns > 0)
        return ONELOOP_CONTINUE;
    later.then(loop);
    return ONELOOP_REMOVE;
}

static void after_some_turns(oneloop_t *loop, void (*then)(oneloop_t *loop)) {
    later.turns = 5;
    later.then = then;
    CHECK(oneloop_add_deferred(loop, a_turn_is_over, NULL, NULL, NULL) == 0);
}

/* Edge and one-shot: what is left unread is reported when they are armed again, and not before; with
 * one-shot not even what comes. */

static _Thread_local bool more_comes;

static int read_a_part(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    (void)loop, (void)user;
    CHECK(id == t.id && ready == ONELOOP_READABLE);
    CHECK(read(fd, &byte, 1) == 1);
    CHECK(!more_comes || write(t.ends[1], "d", 1) == 1);
    t.calls++;
    return ONELOOP_CONTINUE;
}

static void armed_twice(oneloop_t *loop) {
    CHECK(t.calls == 2);
    CHECK(oneloop_remove_handler(loop, t.id) == 0);
    end(loop);
}

static void armed_once(oneloop_t *loop) {
    CHECK(t.calls == 1);
    CHECK(oneloop_update_handler(loop, t.id, ONELOOP_READABLE) == 0);
    after_some_turns(loop, armed_twice);
}

static int in_mode(oneloop_t *loop, int mode) {
    begin();
    pair(t.ends);
    more_comes = mode == ONELOOP_ONESHOT;
    CHECK(write(t.ends[1], "abc", 3) == 3);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, mode, read_a_part, NULL, NULL,
                              &t.id) == 0);
    after_some_turns(loop, armed_once);
    return failures;
}

int test_an_edge_is_reported_once(oneloop_t *loop) { return in_mode(loop, ONELOOP_EDGE); }

int test_a_oneshot_is_called_once(oneloop_t *loop) { return in_mode(loop, ONELOOP_ONESHOT); }

/* A handler that wants to be called again, though its descriptor is not ready. */

static int again(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    (void)id, (void)user;
    if (t.calls++ == 0)
        CHECK(ready == ONELOOP_READABLE && read(fd, &byte, 1) == 1);
    if (t.calls < 5)
        return ONELOOP_AGAIN;
    end(loop);
    return ONELOOP_REMOVE;
}

int test_again_is_called_in_the_next_turn(oneloop_t *loop) {
    begin();
    pair(t.ends);
    CHECK(write(t.ends[1], "a", 1) == 1);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_EDGE, again, NULL, NULL,
                              NULL) == 0);
    return failures;
}

/* The descriptor stays the caller's, and as it is. */

static void is_the_same(oneloop_t *loop) {
    int flags = fcntl(t.ends[0], F_GETFL);
    CHECK(t.destroyed == 1);
    CHECK(flags >= 0 && !(flags & O_NONBLOCK));
    end(loop);
}

int test_a_descriptor_is_neither_changed_nor_closed(oneloop_t *loop) {
    begin();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.ends) == 0);
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, never, &t, destroy,
                              &t.id) == 0);
    CHECK(!(fcntl(t.ends[0], F_GETFL) & O_NONBLOCK));
    CHECK(oneloop_remove_handler(loop, t.id) == 0);
    after_some_turns(loop, is_the_same);
    return failures;
}

/* Posts by their priorities. */

static void note(oneloop_t *loop, void *user) {
    (void)loop;
    t.calls = t.calls * 10 + *(int *)user;
}

static void post_all(oneloop_t *loop, void *user) {
    static int numbers[] = {1, 2, 3};
    (void)user;
    CHECK(oneloop_call_soon(loop, ONELOOP_IDLE, note, &numbers[2], NULL, NULL) == 0);
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, note, &numbers[1], NULL, NULL) == 0);
    CHECK(oneloop_call_soon(loop, ONELOOP_HIGH, note, &numbers[0], NULL, NULL) == 0);
}

static void are_in_order(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (t.calls < 100)
        return;
    CHECK(t.calls == 123);
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    end(loop);
}

int test_posts_by_their_priorities(oneloop_t *loop) {
    begin();
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, post_all, NULL, NULL, NULL) == 0);
    CHECK(oneloop_add_timer(loop, MS, MS, are_in_order, NULL, NULL, NULL) == 0);
    return failures;
}

/* Names, counts and the dump as text; posts that are cancelled. */

static void never_due(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(!"called");
}

static int64_t no_limit(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    return ONELOOP_NEVER;
}

static void is_cancelled(oneloop_t *loop) {
    CHECK(t.destroyed == 3 && t.calls == 0);
    CHECK(oneloop_count(loop, ONELOOP_COUNT_POSTS) == 0);
    end(loop);
}

static void no_call(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    t.calls++;
}

int test_names_counts_and_cancelled_posts(oneloop_t *loop) {
    static char text[4096];
    begin();
    pair(t.ends);
    int64_t handlers = oneloop_count(loop, ONELOOP_COUNT_HANDLERS);
    int64_t timers = oneloop_count(loop, ONELOOP_COUNT_TIMERS);
    oneloop_id handler, timer, hook, posts[3];
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, never, &t, NULL,
                              &handler) == 0);
    CHECK(oneloop_add_timer(loop, 1000 * MS, 0, never_due, NULL, NULL, &timer) == 0);
    CHECK(oneloop_add_hook(loop, no_limit, NULL, NULL, NULL, &hook) == 0);
    CHECK(oneloop_count(loop, ONELOOP_COUNT_HANDLERS) == handlers + 1);
    CHECK(oneloop_count(loop, ONELOOP_COUNT_TIMERS) == timers + 1);
    CHECK(oneloop_count(loop, 99) == -EINVAL);
    CHECK(oneloop_is_alive(loop) == 1);

    CHECK(oneloop_set_name(loop, handler, "a reader in C") == 0);
    CHECK(oneloop_set_name(loop, timer, "a timer in C") == 0);
    CHECK(oneloop_set_name(loop, hook, "a hook in C") == 0);
    CHECK(oneloop_set_name(loop, 7, "nothing") == -ENOENT);
    CHECK(oneloop_set_name(loop, timer, NULL) == -EINVAL);
    CHECK(oneloop_set_name(loop, timer, "\xff") == -EINVAL);
    int length = oneloop_dump_text(loop, text, sizeof text);
    CHECK(length > 0 && (size_t)length == strlen(text));
    CHECK(strstr(text, "\"a reader in C\"") && strstr(text, "\"a timer in C\""));
    CHECK(strstr(text, "\"a hook in C\"") && !strstr(text, "nothing"));
    memset(text, 'x', sizeof text);
    CHECK(oneloop_dump_text(loop, text, 10) > 9 && strlen(text) == 9 && text[10] == 'x');
    CHECK(oneloop_dump_text(loop, NULL, 0) > 0);
    CHECK(oneloop_dump_text(loop, NULL, 1) == -EINVAL);
    CHECK(oneloop_remove_handler(loop, handler) == 0);
    CHECK(oneloop_cancel_timer(loop, timer) == 0);
    CHECK(oneloop_remove_hook(loop, hook) == 0);

    for (int n = 0; n < 3; n++)
        CHECK(oneloop_call_soon(loop, n, no_call, &t, destroy, &posts[n]) == 0);
    CHECK(oneloop_count(loop, ONELOOP_COUNT_POSTS) == 3);
    for (int n = 0; n < 3; n++) {
        CHECK(oneloop_cancel_post(loop, posts[n]) == 0);
        CHECK(oneloop_cancel_post(loop, posts[n]) == -ENOENT);
    }
    CHECK(t.destroyed == 0);
    after_some_turns(loop, is_cancelled);
    return failures;
}

/* A registration, and how often its user data was given back. */

struct thing {
    int given_back;
};

static void give_back(void *thing) { ((struct thing *)thing)->given_back++; }

static int call_again(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    return ONELOOP_CONTINUE;
}

static int no_signal(oneloop_t *loop, oneloop_id id, int signal, void *user) {
    (void)loop, (void)id, (void)signal, (void)user;
    CHECK(!"came");
    return ONELOOP_CONTINUE;
}

static void no_end(oneloop_t *loop, int pid, int status, int error, void *user) {
    (void)loop, (void)pid, (void)status, (void)error, (void)user;
    CHECK(!"ended");
}

static void no_timer(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(!"due");
}

static void no_post(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    CHECK(!"called");
}

#define KINDS 7

/* One of each kind, none of which is called, and a child that has to be killed. */
static int add_each(oneloop_t *loop, struct thing *things, oneloop_id *ids) {
    int child = fork();
    if (child == 0) {
        execl("/bin/sleep", "sleep", "1000", NULL);
        _exit(1);
    }
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, never, &things[0],
                              give_back, &ids[0]) == 0);
    CHECK(oneloop_add_deferred(loop, call_again, &things[1], give_back, &ids[1]) == 0);
    CHECK(oneloop_add_idle(loop, call_again, &things[2], give_back, &ids[2]) == 0);
    CHECK(oneloop_add_signal(loop, SIGWINCH, no_signal, &things[3], give_back, &ids[3]) == 0);
    CHECK(oneloop_add_child(loop, child, no_end, &things[4], give_back, &ids[4]) == 0);
    CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, no_timer, &things[5], give_back, &ids[5]) == 0);
    CHECK(oneloop_add_hook(loop, no_limit, NULL, &things[6], give_back, &ids[6]) == 0);
    return child;
}

static void end_child(int child) {
    CHECK(kill(child, SIGKILL) == 0);
    waitpid(child, NULL, 0);
}

static _Thread_local struct thing things[KINDS];

static void given_back_once(oneloop_t *loop) {
    for (int n = 0; n < KINDS; n++)
        CHECK(things[n].given_back == 1);
    end(loop);
}

/* Removed, whichever kind it is: in a turn to come, once, and not by the call. */
static void remove_each(oneloop_t *loop, void *user) {
    oneloop_id ids[KINDS];
    (void)user;
    end_child(add_each(loop, things, ids));
    for (int n = 0; n < KINDS; n++) {
        int (*removes)(oneloop_t *, oneloop_id) =
            n < 5 ? oneloop_remove_handler : n == 5 ? oneloop_cancel_timer : oneloop_remove_hook;
        /* An id is of one kind. */
        if (n < 5)
            CHECK(oneloop_cancel_timer(loop, ids[n]) == -ENOENT);
        else
            CHECK(oneloop_remove_handler(loop, ids[n]) == -ENOENT);
        CHECK(removes(loop, ids[n]) == 0);
        CHECK(removes(loop, ids[n]) == -ENOENT);
        CHECK(things[n].given_back == 0);
    }
    after_some_turns(loop, given_back_once);
}

int test_removed_each_gives_its_data_back_once(oneloop_t *loop) {
    begin();
    memset(things, 0, sizeof things);
    pair(t.ends);
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, remove_each, NULL, NULL, NULL) == 0);
    return failures;
}

/* The same if the loop ends with them: by its last handle, or by being closed. */
int test_the_loop_ends_and_each_gives_its_data_back_once(oneloop_t *outer) {
    begin();
    pair(t.ends);
    for (int closed = 0; closed < 2; closed++) {
        struct thing things[KINDS + 1] = {0};
        oneloop_id ids[KINDS];
        oneloop_t *loop = oneloop_new();
        int child = add_each(loop, things, ids);
        CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, no_post, &things[KINDS], give_back, NULL) == 0);
        if (closed)
            CHECK(oneloop_close(loop) == 0);
        oneloop_free(loop);
        for (int n = 0; n <= KINDS; n++)
            CHECK(things[n].given_back == 1);
        end_child(child);
    }
    end(outer);
    return failures;
}

/* A timer that has fired is there until it is cancelled. */

static void fired(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop;
    CHECK(user == &t && id == t.id);
    t.calls++;
}

static void fired_twice(oneloop_t *loop) {
    CHECK(t.calls == 2 && t.destroyed == 0);
    CHECK(oneloop_cancel_timer(loop, t.id) == 0);
    end(loop);
}

static void fired_once(oneloop_t *loop) {
    CHECK(t.calls == 1);
    CHECK(oneloop_reset_timer(loop, t.id, 0) == 0);
    after_some_turns(loop, fired_twice);
}

int test_a_timer_that_has_fired_can_be_set_again(oneloop_t *loop) {
    begin();
    CHECK(oneloop_add_timer(loop, 0, 0, fired, &t, destroy, &t.id) == 0);
    after_some_turns(loop, fired_once);
    return failures;
}

/* Registrations that keep oneloop_run going. */

static void remove_id(oneloop_t *loop, oneloop_id id, void *user) {
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    CHECK(oneloop_remove_handler(loop, *(oneloop_id *)user) == 0);
}

int test_what_keeps_a_loop_going(oneloop_t *outer) {
    oneloop_t *loop = oneloop_new();
    oneloop_id paused, watched;
    begin();
    pair(t.ends);
    /* Neither what is paused, nor what sleeps, nor hooks. */
    CHECK(oneloop_add_handler(loop, t.ends[0], 0, ONELOOP_LEVEL, never, NULL, NULL, &paused) == 0);
    CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, no_timer, NULL, NULL, NULL) == 0);
    CHECK(oneloop_add_hook(loop, no_limit, NULL, NULL, NULL, NULL) == 0);
    CHECK(oneloop_run(loop) == 0);
    /* A handler counts until it is unreferenced. */
    CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, never, &t, destroy,
                              &watched) == 0);
    CHECK(oneloop_turn(loop, 0, NULL) == 0);
    CHECK(oneloop_set_referenced(loop, watched, false) == 0);
    CHECK(oneloop_run(loop) == 0 && t.destroyed == 0);
    /* User data is given back before it returns. */
    CHECK(oneloop_add_timer(loop, 0, 0, remove_id, &watched, NULL, NULL) == 0);
    CHECK(oneloop_run(loop) == 0);
    CHECK(t.destroyed == 1);
    /* A stop before counts once. */
    CHECK(oneloop_stop(loop) == 0);
    CHECK(oneloop_add_deferred(loop, call_again, NULL, NULL, &paused) == 0);
    CHECK(oneloop_run(loop) == 0);
    oneloop_free(loop);
    end(outer);
    return failures;
}

/* A signal handler stops a loop that sleeps. */

static _Thread_local oneloop_t *sleeper;

static void wake_and_stop(int signal) {
    (void)signal;
    (oneloop_wake)(sleeper);
    oneloop_stop(sleeper);
}

static void *send_signal(void *to) {
    pthread_kill(*(pthread_t *)to, SIGUSR2);
    return NULL;
}

/* Before each sleep: from here on the signal finds a loop that sleeps, or is about to. */
static int64_t send_one(oneloop_t *loop, void *user) {
    static _Thread_local pthread_t self;
    pthread_t sender;
    (void)loop, (void)user;
    if (t.calls++)
        return ONELOOP_NEVER;
    self = pthread_self();
    CHECK(pthread_create(&sender, NULL, send_signal, &self) == 0);
    pthread_detach(sender);
    return ONELOOP_NEVER;
}

int test_stopped_by_a_signal_handler(oneloop_t *loop) {
    struct sigaction action = {.sa_handler = wake_and_stop, .sa_flags = SA_RESTART};
    begin();
    sleeper = loop;
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    CHECK(oneloop_add_timer(loop, 1000000LL * MS, 0, no_timer, NULL, NULL, NULL) == 0);
    CHECK(oneloop_add_hook(loop, send_one, NULL, NULL, NULL, NULL) == 0);
    return failures;
}
