/* The C ABI, from C: what a caller gets wrong. */

#define _GNU_SOURCE
#include "stage.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static int on_turn(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(!"called");
    return ONELOOP_REMOVE;
}

static int on_signal(oneloop_t *loop, oneloop_id id, int signal, void *user) {
    (void)loop, (void)id, (void)signal, (void)user;
    CHECK(!"called");
    return ONELOOP_REMOVE;
}

static void on_child(oneloop_t *loop, int pid, int status, int error, void *user) {
    (void)loop, (void)pid, (void)status, (void)error, (void)user;
    CHECK(!"called");
}

static void on_time(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(!"called");
}

static void on_post(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    CHECK(!"called");
}

static int64_t on_prepare(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    CHECK(!"called");
    return 0;
}

static void on_report(oneloop_t *loop, oneloop_id id, const char *name, int64_t took, void *user) {
    (void)loop, (void)id, (void)name, (void)took, (void)user;
    CHECK(!"called");
}

/* NULL in the place of each callback, and else nothing wrong. */
int test_each_callback_has_to_be_there(oneloop_t *loop) {
    oneloop_id id = 7;
    begin();
    pair(t.ends);
    CHECK(oneloop_add_handler(loop, t.ends[0], 1, 0, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_deferred(loop, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_idle(loop, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_signal(loop, SIGWINCH, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_child(loop, getpid(), NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_timer(loop, 0, 0, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(strstr(oneloop_strerror(), "oneloop_add_timer") != NULL);
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, NULL, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_add_hook(loop, NULL, on_post, &t, destroy, &id) == -EINVAL);
    CHECK(strstr(oneloop_strerror(), "prepare") != NULL);
    CHECK(oneloop_observe_callbacks(loop, 0, NULL, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_report_error(loop, "a library", NULL) == -EINVAL);
    CHECK(id == 7 && t.destroyed == 0);
    end(loop);
    return failures;
}

/* Arguments of which one is wrong. */
int test_arguments_that_make_no_sense(oneloop_t *loop) {
    oneloop_id id = 7, timer;
    begin();
    pair(t.ends);
    CHECK(oneloop_add_handler(loop, t.ends[0], 1, 3, never, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_handler(loop, t.ends[0], 64, 0, never, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_handler(loop, INT32_MIN, 1, 0, never, &t, destroy, &id) == -EBADF);
    CHECK(oneloop_add_timer(loop, 0, -1, on_time, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_call_soon(loop, 3, on_post, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_add_signal(loop, SIGKILL, on_signal, &t, destroy, &id) == -ENOTSUP);
    CHECK(oneloop_add_signal(loop, 100000, on_signal, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_signal(loop, -1, on_signal, &t, destroy, &id) == -EINVAL);
    CHECK(oneloop_add_child(loop, -1, on_child, &t, destroy, &id) == -ECHILD);
    CHECK(oneloop_add_child(loop, 0, on_child, &t, destroy, &id) == -ECHILD);
    CHECK(oneloop_add_child(loop, getpid(), on_child, &t, destroy, &id) == -ECHILD);
    CHECK(id == 7 && t.destroyed == 0);
    CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, on_time, NULL, NULL, &timer) == 0);
    CHECK(oneloop_reset_timer_at(loop, timer, 7, 0, 0) == -EINVAL);
    CHECK(oneloop_reset_timer_at(loop, timer, ONELOOP_MONOTONIC, 0, -1) == -EINVAL);
    CHECK(oneloop_reset_timer_at(loop, timer, ONELOOP_MONOTONIC, INT64_MAX, 999999999) == 0);
    CHECK(oneloop_reset_timer_at(loop, timer, ONELOOP_REALTIME, INT64_MAX, 999999999) == 0);
    CHECK(oneloop_reset_timer(loop, timer, INT64_MAX - 1) == 0);
    CHECK(oneloop_cancel_timer(loop, timer) == 0);
    end(loop);
    return failures;
}

/* Each function that takes a loop returns this error for one with which something is wrong. */
static void check_each(oneloop_t *loop, int error) {
    oneloop_id id = 7;
    CHECK(oneloop_add_handler(loop, t.ends[0], 1, 0, never, &t, destroy, &id) == error);
    CHECK(oneloop_update_handler(loop, 7, 1) == error);
    CHECK(oneloop_rearm_handler(loop, 7) == error);
    CHECK(oneloop_set_priority(loop, 7, ONELOOP_HIGH) == error);
    CHECK(oneloop_limit_rate(loop, 7, 1, MS) == error);
    CHECK(oneloop_remove_handler(loop, 7) == error);
    CHECK(oneloop_handler_fd(loop, 7) == error);
    CHECK(oneloop_move_handler(loop, 7, t.ends[0]) == error);
    CHECK(oneloop_handler_ready(loop, 7) == error);
    CHECK(oneloop_observe_callbacks(loop, 0, on_report, &t, destroy, &id) == error);
    CHECK(oneloop_report_error(loop, "a library", "a text") == error);
    CHECK(oneloop_add_deferred(loop, on_turn, &t, destroy, &id) == error);
    CHECK(oneloop_add_idle(loop, on_turn, &t, destroy, &id) == error);
    CHECK(oneloop_enable(loop, 7, true) == error);
    CHECK(oneloop_add_signal(loop, SIGWINCH, on_signal, &t, destroy, &id) == error);
    CHECK(oneloop_add_timer(loop, 0, 0, on_time, &t, destroy, &id) == error);
    CHECK(oneloop_reset_timer(loop, 7, 0) == error);
    CHECK(oneloop_reset_timer_at(loop, 7, ONELOOP_REALTIME, 0, 0) == error);
    CHECK(oneloop_cancel_timer(loop, 7) == error);
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, on_post, &t, destroy, NULL) == error);
    CHECK(oneloop_add_hook(loop, on_prepare, NULL, &t, destroy, &id) == error);
    CHECK(oneloop_remove_hook(loop, 7) == error);
    CHECK(oneloop_set_referenced(loop, 7, false) == error);
    CHECK(oneloop_run(loop) == error);
    CHECK(oneloop_turn(loop, 0, NULL) == error);
    CHECK(oneloop_run_forever(loop) == error);
    CHECK(oneloop_host_begin(loop, 0) == error);
    CHECK(oneloop_step(loop, 1) == error);
    CHECK(oneloop_next_timeout(loop) == ONELOOP_NEVER);
    CHECK(id == 7 && t.destroyed == 0);
}

int test_no_loop(oneloop_t *loop) {
    begin();
    pair(t.ends);
    check_each(NULL, -EINVAL);
    CHECK(oneloop_add_child(NULL, getpid(), on_child, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_close(NULL) == -EINVAL);
    CHECK(oneloop_stop(NULL) == -EINVAL);
    CHECK(oneloop_wake(NULL) == -EINVAL);
    CHECK(oneloop_ask_hooks(NULL) == -EINVAL);
    CHECK(oneloop_host_end(NULL) == -EINVAL);
    CHECK(oneloop_dump(NULL) == -EINVAL);
    CHECK(oneloop_hold(NULL) == NULL);
    oneloop_free(NULL);
    end(loop);
    return failures;
}

int test_a_closed_loop(oneloop_t *outer) {
    oneloop_t *loop = oneloop_new();
    begin();
    pair(t.ends);
    CHECK(oneloop_close(loop) == 0);
    check_each(loop, -ESHUTDOWN);
    CHECK(oneloop_close(loop) == 0);
    oneloop_free(loop);
    end(outer);
    return failures;
}

/* Ids of a loop that is gone mean nothing on another, though its places are taken again. */
int test_ids_of_a_loop_that_is_gone(oneloop_t *outer) {
    oneloop_id handler, timer, hook, deferred;
    oneloop_t *loop = oneloop_new();
    begin();
    pair(t.ends);
    for (int other = 0; other < 2; other++) {
        CHECK(oneloop_add_handler(loop, t.ends[0], 1, 0, never, NULL, NULL,
                                  other ? NULL : &handler) == 0);
        CHECK(oneloop_add_deferred(loop, on_turn, NULL, NULL, other ? NULL : &deferred) == 0);
        CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, on_time, NULL, NULL,
                                other ? NULL : &timer) == 0);
        CHECK(oneloop_add_hook(loop, on_prepare, NULL, NULL, NULL, other ? NULL : &hook) == 0);
        if (!other) {
            oneloop_free(loop);
            loop = oneloop_new();
        }
    }
    CHECK(oneloop_update_handler(loop, handler, 0) == -ENOENT);
    CHECK(oneloop_rearm_handler(loop, handler) == -ENOENT);
    CHECK(oneloop_set_priority(loop, handler, ONELOOP_HIGH) == -ENOENT);
    CHECK(oneloop_limit_rate(loop, handler, 1, MS) == -ENOENT);
    CHECK(oneloop_remove_handler(loop, handler) == -ENOENT);
    CHECK(oneloop_enable(loop, deferred, false) == -ENOENT);
    CHECK(oneloop_remove_handler(loop, deferred) == -ENOENT);
    CHECK(oneloop_reset_timer(loop, timer, 0) == -ENOENT);
    CHECK(oneloop_cancel_timer(loop, timer) == -ENOENT);
    CHECK(oneloop_remove_hook(loop, hook) == -ENOENT);
    CHECK(oneloop_set_referenced(loop, timer, false) == -ENOENT);
    oneloop_free(loop);
    end(outer);
    return failures;
}

/* The parent's loop, in a child process. */
int test_in_a_child_process(oneloop_t *outer) {
    oneloop_t *loop = oneloop_new();
    int status;
    begin();
    pair(t.ends);
    int child = fork();
    if (child == 0) {
        int before = failures;
        check_each(loop, -ECHILD);
        /* Not by exit, which would end what is the parent's. */
        execl("/bin/sh", "sh", "-c", failures == before ? "exit 0" : "exit 1", NULL);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    oneloop_free(loop);
    end(outer);
    return failures;
}

/* User data that is given back at the end of its loop, in a function that uses the loop. */

static _Thread_local struct {
    oneloop_t *loop;
    int error; /* what each function is to give */
    int given_back;
    bool closed; /* and has a handle still */
} last;

static void use_the_loop(void *user) {
    (void)user;
    last.given_back++;
    check_each(last.loop, last.error);
    CHECK(oneloop_close(last.loop) == 0);
    CHECK(oneloop_stop(last.loop) == 0);
    CHECK(oneloop_wake(last.loop) == 0);
    CHECK(oneloop_host_end(last.loop) == 0);
    /* Held, it is there for longer, and closed all the same. */
    CHECK(oneloop_hold(last.loop) == last.loop);
    CHECK(oneloop_turn(last.loop, 0, NULL) == last.error);
    oneloop_free(last.loop);
    /* There is nothing to give up any more. */
    if (!last.closed)
        oneloop_free(last.loop);
}

static int64_t before_the_end(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    return ONELOOP_NEVER;
}

static int add_last(oneloop_t *loop, int error) {
    last.loop = loop;
    last.error = error;
    last.given_back = 0;
    last.closed = false;
    CHECK(oneloop_add_handler(loop, t.ends[0], 1, 0, never, &t, use_the_loop, NULL) == 0);
    CHECK(oneloop_add_deferred(loop, on_turn, &t, use_the_loop, NULL) == 0);
    CHECK(oneloop_add_idle(loop, on_turn, &t, use_the_loop, NULL) == 0);
    CHECK(oneloop_add_signal(loop, SIGWINCH, on_signal, &t, use_the_loop, NULL) == 0);
    CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, on_time, &t, use_the_loop, NULL) == 0);
    CHECK(oneloop_add_hook(loop, before_the_end, NULL, &t, use_the_loop, NULL) == 0);
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, on_post, &t, use_the_loop, NULL) == 0);
    return 7;
}

/* By the last handle, which is the only one, or is given up by a callback; and by being closed. */
static void free_it(oneloop_t *loop, void *user) {
    (void)user;
    CHECK(oneloop_stop(loop) == 0);
    stops--; /* of another loop than the test's */
    oneloop_free(loop);
}

int test_destroy_functions_use_the_loop_that_ends(oneloop_t *outer) {
    begin();
    pair(t.ends);
    for (int way = 0; way < 3; way++) {
        oneloop_t *loop = oneloop_new();
        if (way == 1)
            CHECK(oneloop_call_soon(loop, ONELOOP_HIGH, free_it, NULL, NULL, NULL) == 0);
        int count = add_last(loop, -ESHUTDOWN);
        last.closed = way == 2;
        if (way == 2)
            CHECK(oneloop_close(loop) == 0 && last.given_back == count);
        if (way == 1)
            CHECK(oneloop_turn(loop, 0, NULL) == 1);
        else
            oneloop_free(loop);
        CHECK(last.given_back == count);
    }
    end(outer);
    return failures;
}

/* The same in a child of the process, of which the loop is not. */
int test_destroy_functions_use_the_loop_that_ends_in_a_child(oneloop_t *outer) {
    oneloop_t *loop = oneloop_new();
    int status;
    begin();
    pair(t.ends);
    int count = add_last(loop, -ECHILD);
    int child = fork();
    if (child == 0) {
        int before = failures;
        oneloop_free(loop);
        CHECK(last.given_back == count);
        execl("/bin/sh", "sh", "-c", failures == before ? "exit 0" : "exit 1", NULL);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    last.error = -ESHUTDOWN;
    oneloop_free(loop);
    CHECK(last.given_back == count);
    end(outer);
    return failures;
}

/* As a thread ends, in what libraries have for its data: after whatever is Rust's was ended there. */

static pthread_key_t key;

static void at_the_end(void *user) {
    oneloop_t *loop = user;
    bool right = oneloop_remove_handler(loop, 7) == -ENOENT && oneloop_strerror() != NULL &&
                 oneloop_call_soon(loop, ONELOOP_NORMAL, NULL, NULL, NULL, NULL) == -EINVAL;
    if (!right)
        abort(); /* failed checks of this thread are not counted */
}

static void *fail_once(void *loop) {
    pthread_setspecific(key, loop);
    return oneloop_remove_handler(loop, 7) == -ENOENT ? NULL : loop;
}

int test_at_the_end_of_a_thread(oneloop_t *loop) {
    pthread_t thread;
    void *failed;
    begin();
    CHECK(pthread_key_create(&key, at_the_end) == 0);
    CHECK(pthread_create(&thread, NULL, fail_once, loop) == 0);
    CHECK(pthread_join(thread, &failed) == 0 && !failed);
    CHECK(pthread_key_delete(key) == 0);
    end(loop);
    return failures;
}
