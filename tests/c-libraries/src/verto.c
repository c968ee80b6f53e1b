/* The promises of libverto, through its own API only: on a loop that a host drives, and, as a program
 * (-DPROGRAM), on a module that is loaded at run time, which may be one of libverto's own.
 *
 *   program MODULE TEST...
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <verto.h>

#include "check.h"

#define MS 1000000LL
#define PERSIST VERTO_EV_FLAG_PERSIST
#define READ VERTO_EV_FLAG_IO_READ
#define WRITE VERTO_EV_FLAG_IO_WRITE
#define FAILED VERTO_EV_FLAG_IO_ERROR
#define CLOSE VERTO_EV_FLAG_IO_CLOSE_FD
#define AGAIN VERTO_EV_FLAG_REINITIABLE
#define HIGH VERTO_EV_FLAG_PRIORITY_HIGH
#define MEDIUM VERTO_EV_FLAG_PRIORITY_MEDIUM
#define LOW VERTO_EV_FLAG_PRIORITY_LOW

typedef void (*step)(void);

/* Of the test that runs on this thread. */
static _Thread_local struct {
    verto_ctx *ctx;
    pthread_t thread;
    int is_over;
    int ends[4][2];
    verto_ev *events[4];
    int calls, reads;
    char order[16]; /* the names of the events that were called */
    int made, freed;
    int turns;
    step then;
    int64_t start;
    int gate[2]; /* what children wait at */
    pid_t pid;
} t;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void over(void) {
    t.is_over = 1;
    stops++;
    verto_break(t.ctx);
}

static void pair(int n) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, t.ends[n]) == 0);
}

static void put(int n, const char *bytes) {
    CHECK(write(t.ends[n][1], bytes, strlen(bytes)) == (ssize_t)strlen(bytes));
}

static int get(int fd) {
    char byte;
    return read(fd, &byte, 1) == 1 ? byte : -1;
}

static void freed(verto_ctx *ctx, verto_ev *ev) {
    CHECK(ctx == t.ctx && verto_get_private(ev) != NULL);
    t.freed++;
}

/* Gives an event a name, which is noted when it is called; and it is counted when it is freed. */
static verto_ev *named(const char *name, verto_ev *ev) {
    CHECK(ev != NULL);
    if (ev) {
        verto_set_private(ev, (void *)name, freed);
        t.made++;
    }
    return ev;
}

static void note(verto_ev *ev) {
    check_thread(t.thread);
    CHECK(verto_get_ctx(ev) == t.ctx);
    t.calls++;
    if (strlen(t.order) + 1 < sizeof t.order)
        strcat(t.order, verto_get_private(ev));
}

static verto_ev *io(const char *name, verto_ev_flag flags, verto_callback *callback, int n) {
    return named(name, verto_add_io(t.ctx, flags, callback, t.ends[n][0]));
}

static verto_ev *timeout(const char *name, verto_ev_flag flags, verto_callback *callback,
                         time_t interval) {
    return named(name, verto_add_timeout(t.ctx, flags, callback, interval));
}

static verto_ev *idle(const char *name, verto_ev_flag flags, verto_callback *callback) {
    return named(name, verto_add_idle(t.ctx, flags, callback));
}

static void a_turn_is_over(verto_ctx *ctx, verto_ev *ev) {
    (void)ev;
    if (--t.turns > 0)
        CHECK(verto_add_timeout(ctx, 0, a_turn_is_over, 0) != NULL);
    else
        t.then();
}

/* Goes on when whatever is ready now has had every chance to be called. */
static void after_some_turns(step then) {
    t.turns = 5;
    t.then = then;
    CHECK(verto_add_timeout(t.ctx, 0, a_turn_is_over, 0) != NULL);
}

static void never(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx, (void)ev;
    CHECK(!"called");
}

/* Descriptors. */

static void three_were_read(void) {
    CHECK(t.calls == 3 && t.freed == 1);
    over();
}

static void read_three(verto_ctx *ctx, verto_ev *ev) {
    note(ev);
    CHECK(ctx == t.ctx);
    CHECK(verto_get_type(ev) == VERTO_EV_TYPE_IO && verto_get_fd(ev) == t.ends[0][0]);
    CHECK(verto_get_flags(ev) == (PERSIST | READ));
    CHECK(verto_get_fd_state(ev) == READ);
    CHECK(get(t.ends[0][0]) == "abcd"[t.calls - 1]);
    if (t.calls < 3)
        return;
    verto_del(ev);
    CHECK(t.freed == 0); /* not while it is called */
    after_some_turns(three_were_read);
}

static void reads(void) {
    pair(0);
    put(0, "abcd");
    io("r", PERSIST | READ, read_three, 0);
}

static void one_was_called(void) {
    CHECK(t.calls == 1 && t.freed == 1);
    over();
}

static void read_nothing(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    after_some_turns(one_was_called);
}

static void reads_once(void) {
    pair(0);
    put(0, "abc");
    io("r", READ, read_nothing, 0);
}

static void has_room(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(t.reads > 0 && verto_get_fd_state(ev) == WRITE);
    verto_del(ev);
    over();
}

static void make_room(void) {
    CHECK(t.calls == 0);
    while (get(t.ends[0][1]) >= 0)
        t.reads++;
}

static void writes(void) {
    static const char bytes[4096];
    pair(0);
    while (write(t.ends[0][0], bytes, sizeof bytes) > 0)
        continue;
    io("w", PERSIST | WRITE, has_room, 0);
    after_some_turns(make_room);
}

static void both_at_once(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_fd_state(ev) == (READ | WRITE));
    over();
}

static void reads_and_writes_in_one_call(void) {
    pair(0);
    put(0, "a");
    io("b", READ | WRITE, both_at_once, 0);
}

static void the_other_goes_on(void) {
    CHECK(t.reads == 2 && t.freed == 1);
    verto_del(t.events[0]);
    over();
}

static void read_beside(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_fd_state(ev) == READ);
    CHECK(get(verto_get_fd(ev)) == 'a');
    if (++t.reads == 2)
        after_some_turns(the_other_goes_on);
}

static void write_beside(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_fd_state(ev) == WRITE);
    if (t.calls < 5)
        return;
    verto_del(ev);
    put(0, "a");
}

static void two_events_on_one_descriptor(void) {
    pair(0);
    put(0, "a");
    t.events[0] = io("r", PERSIST | READ, read_beside, 0);
    t.events[1] = io("w", PERSIST | WRITE, write_beside, 0);
}

static void read_or_not(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    /* The second may find nothing. */
    get(verto_get_fd(ev));
    if (strchr(t.order, '1') && strchr(t.order, '2'))
        over();
    else
        put(0, "a");
}

static void two_readers_of_one_descriptor(void) {
    pair(0);
    put(0, "a");
    io("1", PERSIST | READ, read_or_not, 0);
    io("2", PERSIST | READ, read_or_not, 0);
}

static void toggle(verto_ctx *ctx, verto_ev *ev);

static void resume(void) {
    CHECK(t.calls == 3);
    verto_set_flags(t.events[0], PERSIST | READ);
}

static void toggle(verto_ctx *ctx, verto_ev *ev) {
    static const verto_ev_flag states[] = {READ, WRITE, READ | WRITE, READ};
    static const verto_ev_flag next[] = {WRITE, READ | WRITE, 0, READ};
    (void)ctx;
    note(ev);
    CHECK(t.calls <= 4 && verto_get_fd_state(ev) == states[t.calls - 1]);
    if (t.calls == 4) {
        verto_del(ev);
        over();
        return;
    }
    verto_set_flags(ev, PERSIST | next[t.calls - 1]);
    CHECK(verto_get_flags(ev) == (PERSIST | next[t.calls - 1]));
    if (t.calls == 3)
        after_some_turns(resume);
}

static void flags_toggled_in_callbacks(void) {
    pair(0);
    put(0, "a");
    t.events[0] = io("t", PERSIST | READ, toggle, 0);
}

static void make_it_anew(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(get(t.ends[0][0]) == "abc"[t.calls - 1]);
    /* The event that it replaces goes after it has come. */
    if (t.calls < 3)
        io("r", READ | PERSIST, make_it_anew, 0);
    else
        over();
    verto_del(ev);
}

static void made_anew_in_each_callback(void) {
    pair(0);
    put(0, "abc");
    io("r", READ | PERSIST, make_it_anew, 0);
}

static void take_the_number(verto_ctx *ctx, verto_ev *ev) {
    int fd = t.ends[0][0];
    (void)ctx;
    note(ev);
    CHECK(verto_get_fd(ev) == fd && get(fd) == 'a');
    verto_del(ev);
    if (t.calls == 3) {
        over();
        return;
    }
    close(t.ends[0][1]);
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(dup3(ends[0], fd, O_CLOEXEC) == fd); /* closes it and opens another in one call */
    close(ends[0]);
    t.ends[0][1] = ends[1];
    put(0, "a");
    io("r", READ | PERSIST, take_the_number, 0);
}

static void another_file_under_the_number(void) {
    pair(0);
    put(0, "a");
    io("r", READ | PERSIST, take_the_number, 0);
}

/* At once, but for the child of another test that has the descriptor, too, until it ends. */
static int peer_sees_the_end(int n) {
    struct pollfd fd = {.fd = t.ends[n][1], .events = POLLIN};
    char byte;
    return poll(&fd, 1, 20000) == 1 && read(fd.fd, &byte, 1) == 0;
}

static void forget(int n) {
    CHECK(t.ends[n][0] > 0);
    t.ends[n][0] = 0;
}

static void fired_and_closed(void) {
    char byte;
    CHECK(t.calls == 1 && t.freed == 2);
    CHECK(peer_sees_the_end(1));
    CHECK(read(t.ends[2][1], &byte, 1) == -1 && errno == EAGAIN);
    over();
}

static void fire_and_close(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(get(verto_get_fd(ev)) == 'a');
    after_some_turns(fired_and_closed);
}

static void descriptors_are_closed_with_their_events(void) {
    for (int n = 0; n < 3; n++)
        pair(n);
    t.events[0] = io("d", CLOSE | PERSIST | READ, never, 0);
    verto_del(t.events[0]);
    CHECK(peer_sees_the_end(0));
    put(1, "a");
    io("f", CLOSE | READ, fire_and_close, 1);
    io("n", CLOSE | PERSIST | READ, never, 2);
    for (int n = 0; n < 3; n++)
        forget(n);
}

static void the_last_is_closed(void) { CHECK(peer_sees_the_end(2)); }

static void read_to_the_end(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_fd_state(ev) == READ);
    CHECK(get(verto_get_fd(ev)) == (t.calls == 1 ? 'a' : t.calls == 2 ? 'b' : -1));
    if (t.calls < 3)
        return;
    verto_del(ev);
    over();
}

static void bytes_before_a_hangup_are_read(void) {
    pair(0);
    put(0, "ab");
    close(t.ends[0][1]);
    t.ends[0][1] = 0;
    io("r", PERSIST | READ, read_to_the_end, 0);
}

static void has_failed(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_fd_state(ev) == FAILED);
    if (t.calls == 2)
        over();
}

static void nobody_is_left_to_write_to(void) {
    int ends[2];
    pair(0);
    close(t.ends[0][1]);
    t.ends[0][1] = 0;
    io("w", WRITE, has_failed, 0);
    CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    close(ends[0]);
    t.ends[1][0] = ends[1];
    io("w", WRITE, has_failed, 1);
}

static void a_bad_descriptor_is_refused(void) {
    pair(0);
    /* A number that no other thread gets meanwhile. */
    int fd = fcntl(t.ends[0][0], F_DUPFD_CLOEXEC, 900);
    close(fd);
    CHECK(verto_add_io(t.ctx, READ, never, fd) == NULL);
    CHECK(verto_add_io(t.ctx, READ, never, -1) == NULL);
    CHECK(verto_add_io(t.ctx, PERSIST, never, t.ends[0][1]) == NULL);
    after_some_turns(over);
}

/* Deleting. */

static void only_one(verto_ctx *ctx, verto_ev *ev) {
    const char *name = verto_get_private(ev);
    int me = *name - '0';
    (void)ctx;
    note(ev);
    CHECK(t.events[me] == ev);
    verto_del(t.events[1 - me]);
    CHECK(t.freed == 1);
    verto_del(ev);
    CHECK(t.freed == 1);
}

static void one_was_called_and_both_are_gone(void) {
    CHECK(t.calls == 1 && t.freed == 2);
    over();
}

static void a_reader_deletes_another(void) {
    for (int n = 0; n < 2; n++) {
        pair(n);
        put(n, "a");
        t.events[n] = io(n ? "1" : "0", READ | PERSIST, only_one, n);
    }
    after_some_turns(one_was_called_and_both_are_gone);
}

static void a_timeout_deletes_another(void) {
    for (int n = 0; n < 2; n++)
        t.events[n] = timeout(n ? "1" : "0", PERSIST, only_one, 0);
    after_some_turns(one_was_called_and_both_are_gone);
}

static void wait_for_idle(verto_ctx *ctx, verto_ev *ev) {
    if (t.calls == 0)
        return;
    (void)ctx;
    verto_del(ev);
    after_some_turns(one_was_called_and_both_are_gone);
}

static void an_idle_event_deletes_another(void) {
    for (int n = 0; n < 2; n++)
        t.events[n] = idle(n ? "1" : "0", PERSIST, only_one);
    CHECK(verto_add_timeout(t.ctx, PERSIST, wait_for_idle, 1) != NULL);
}

static void the_middle_was_deleted(void) {
    CHECK(strcmp(t.order, "hl") == 0 && t.freed == 3);
    over();
}

static void of_three_priorities(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (strcmp(t.order, "h") == 0)
        verto_del(t.events[0]);
    else
        after_some_turns(the_middle_was_deleted);
}

static void one_of_high_priority_deletes_another(void) {
    for (int n = 0; n < 3; n++) {
        pair(n);
        put(n, "a");
    }
    io("l", READ | LOW, of_three_priorities, 0);
    t.events[0] = io("m", READ | MEDIUM, of_three_priorities, 1);
    io("h", READ | HIGH, of_three_priorities, 2);
}

/* Timeouts. */

static void not_early(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_type(ev) == VERTO_EV_TYPE_TIMEOUT);
    CHECK(now() - t.start >= verto_get_interval(ev) * MS);
    if (t.calls < 4)
        return;
    CHECK(strcmp(t.order, "0123") == 0);
    over();
}

static void timeouts_fire_in_order_and_not_early(void) {
    t.start = now();
    timeout("3", 0, not_early, 30);
    timeout("1", 0, not_early, 10);
    timeout("2", 0, not_early, 20);
    timeout("0", 0, not_early, 0);
}

static void three_times(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(now() - t.start >= t.calls * verto_get_interval(ev) * MS);
    if (t.calls < 3)
        return;
    verto_del(ev);
    after_some_turns(three_were_read);
}

static void a_timeout_persists(void) {
    t.start = now();
    timeout("p", PERSIST, three_times, 10);
}

static void a_timeout_of_zero_fires_once(void) { timeout("z", 0, read_nothing, 0); }

static void again_and_again(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (t.calls < 5 || t.reads < 3)
        return;
    verto_del(ev);
    over();
}

static void read_among(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    CHECK(get(verto_get_fd(ev)) == 'a');
    t.reads++;
}

static void a_timeout_of_zero_persists(void) {
    pair(0);
    put(0, "aaa");
    io("r", PERSIST | READ, read_among, 0);
    timeout("z", PERSIST, again_and_again, 0);
}

static void timeouts_as_long_as_can_be(void) {
    timeout("l", 0, never, INT64_MAX);
    timeout("l", PERSIST, never, INT64_MAX / 1000000);
    after_some_turns(over);
}

/* Idle. */

static void nothing_else_to_do(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_type(ev) == VERTO_EV_TYPE_IDLE);
    CHECK(t.reads == 20);
    if (t.calls < 3)
        return;
    verto_del(ev);
    after_some_turns(three_were_read);
}

static void idle_events_wait_for_all_else(void) {
    pair(0);
    put(0, "aaaaaaaaaaaaaaaaaaaa");
    idle("i", PERSIST, nothing_else_to_do);
    CHECK(verto_add_io(t.ctx, PERSIST | READ, read_among, t.ends[0][0]) != NULL);
}

static void idle_once(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    after_some_turns(one_was_called);
}

static void an_idle_event_fires_once(void) { idle("i", 0, idle_once); }

static void idle_and_more(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (t.calls < 3)
        idle("i", 0, idle_and_more);
    else
        over();
}

static void idle_events_that_add_others(void) { idle("i", 0, idle_and_more); }

/* Signals. */

static void a_signal(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    CHECK(verto_get_type(ev) == VERTO_EV_TYPE_SIGNAL && verto_get_signal(ev) == SIGUSR1);
    if (t.calls < 3) {
        CHECK(raise(SIGUSR1) == 0);
        return;
    }
    verto_del(ev);
    after_some_turns(three_were_read);
}

static void signals(void) {
    named("s", verto_add_signal(t.ctx, PERSIST, a_signal, SIGUSR1));
    CHECK(raise(SIGUSR1) == 0);
}

static void signal_once(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    after_some_turns(one_was_called);
}

static void a_signal_once(void) {
    /* By default nothing is done about this one. */
    named("s", verto_add_signal(t.ctx, 0, signal_once, SIGURG));
    CHECK(raise(SIGURG) == 0);
}

static void ignored_signals(void) {
    CHECK(verto_add_signal(t.ctx, PERSIST, VERTO_SIG_IGN, SIGUSR2) != NULL);
    CHECK(verto_add_signal(t.ctx, 0, VERTO_SIG_IGN, SIGUSR2) == NULL);
    CHECK(verto_add_signal(t.ctx, PERSIST, never, SIGCHLD) == NULL);
    CHECK(verto_add_signal(t.ctx, PERSIST, never, -1) == NULL);
    CHECK(raise(SIGUSR2) == 0);
    after_some_turns(over);
}

static void signals_that_cannot_be_caught(void) {
    CHECK(verto_add_signal(t.ctx, PERSIST, never, SIGKILL) == NULL);
    CHECK(verto_add_signal(t.ctx, PERSIST, never, 9999) == NULL);
    after_some_turns(over);
}

/* Children. */

/* One that waits at the gate, and then exits with a status, or is killed by a signal. */
static pid_t child(int status, int signal) {
    if (!t.gate[0])
        CHECK(pipe2(t.gate, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        get(t.gate[0]);
        if (signal)
            kill(getpid(), signal);
        _exit(status);
    }
    CHECK(pid > 0);
    return pid;
}

static void open_the_gate(void) { CHECK(write(t.gate[1], "!!!!", 4) == 4); }

static void has_exited(verto_ctx *ctx, verto_ev *ev) {
    int status = verto_get_proc_status(ev);
    (void)ctx;
    note(ev);
    CHECK(verto_get_type(ev) == VERTO_EV_TYPE_CHILD && verto_get_proc(ev) > 0);
    CHECK(waitpid(verto_get_proc(ev), NULL, WNOHANG) == -1);
    if (*(char *)verto_get_private(ev) == 'e')
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    else
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    if (t.calls == 2)
        over();
}

static void children(void) {
    CHECK(verto_add_child(t.ctx, PERSIST, never, getpid()) == NULL);
    CHECK(verto_add_child(t.ctx, 0, never, 0) == NULL);
    named("e", verto_add_child(t.ctx, 0, has_exited, child(7, 0)));
    named("k", verto_add_child(t.ctx, 0, has_exited, child(0, SIGKILL)));
    after_some_turns(open_the_gate);
}

static void two_events_for_one_child(void) {
    pid_t pid = child(7, 0);
    for (int n = 0; n < 2; n++)
        named("e", verto_add_child(t.ctx, 0, has_exited, pid));
    open_the_gate();
}

static void child_of_others(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    CHECK(verto_get_proc_status(ev) == -1);
    over();
}

/* It is there when the event is deleted, and can be waited for. */
static void children_of_others(void) {
    int status;
    pid_t pid = child(7, 0);
    verto_ev *event = named("d", verto_add_child(t.ctx, 0, never, pid));
    verto_del(event);
    open_the_gate();
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
    CHECK(verto_add_child(t.ctx, 0, never, pid) == NULL);
    CHECK(verto_add_child(t.ctx, 0, never, 1) == NULL);
    pid = child(7, 0);
    named("c", verto_add_child(t.ctx, 0, child_of_others, pid));
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
}

/* Priorities. */

static void in_order(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (t.calls < 4)
        return;
    CHECK(strcmp(t.order, "hnml") == 0);
    over();
}

static void priorities_of_descriptors(void) {
    for (int n = 0; n < 4; n++) {
        pair(n);
        put(n, "a");
    }
    io("m", READ | MEDIUM, in_order, 0);
    io("n", READ, in_order, 1);
    io("h", READ | HIGH, in_order, 2);
    io("l", READ | LOW, in_order, 3);
}

static void priorities_of_timeouts(void) {
    timeout("l", LOW, in_order, 0);
    timeout("n", 0, in_order, 0);
    timeout("m", MEDIUM, in_order, 0);
    timeout("h", HIGH, in_order, 0);
}

static void priorities_of_all_kinds(void) {
    pair(0);
    put(0, "a");
    io("l", READ | LOW, in_order, 0);
    timeout("n", 0, in_order, 0);
    timeout("m", MEDIUM, in_order, 0);
    pair(1);
    io("h", WRITE | HIGH, in_order, 1);
}

static void idle_in_order(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (t.calls < 3)
        return;
    CHECK(strcmp(t.order, "hml") == 0);
    over();
}

static void priorities_of_idle_events(void) {
    idle("l", LOW, idle_in_order);
    idle("h", HIGH, idle_in_order);
    idle("m", MEDIUM, idle_in_order);
}

static void change_the_others(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (t.events[2] == ev) {
        verto_set_flags(t.events[0], READ | LOW);
        verto_set_flags(t.events[1], READ | MEDIUM);
    }
    if (t.calls < 3)
        return;
    CHECK(strcmp(t.order, "210") == 0);
    over();
}

static void priorities_are_changed(void) {
    for (int n = 0; n < 3; n++) {
        pair(n);
        put(n, "a");
    }
    t.events[0] = io("0", READ | MEDIUM, change_the_others, 0);
    t.events[1] = io("1", READ | LOW, change_the_others, 1);
    t.events[2] = io("2", READ | LOW, change_the_others, 2);
    verto_set_flags(t.events[2], READ | HIGH);
}

static void take_all(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    while (get(verto_get_fd(ev)) >= 0)
        continue;
    after_some_turns(over);
}

static void what_was_read_is_not_reported_to_lower_ones(void) {
    pair(0);
    put(0, "a");
    io("l", PERSIST | READ | LOW, never, 0);
    io("h", PERSIST | READ | HIGH, take_all, 0);
}

static void hung_up_in_order(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    if (strcmp(t.order, "hl") != 0)
        return;
    CHECK(verto_get_fd_state(ev) == READ);
    over();
}

static void a_hangup_of_low_priority(void) {
    CHECK(pipe2(t.ends[0], O_CLOEXEC | O_NONBLOCK) == 0);
    close(t.ends[0][1]);
    t.ends[0][1] = 0;
    io("l", LOW | READ, hung_up_in_order, 0);
    pair(1);
    io("h", HIGH | WRITE, hung_up_in_order, 1);
}

/* Forks. */

static void read_in_the_child(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    if (getpid() == t.pid)
        return; /* the parent's has the same socket */
    note(ev);
    CHECK(get(verto_get_fd(ev)) == 'a');
    verto_del(ev);
}

static void late_in_the_child(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    if (getpid() == t.pid)
        return;
    CHECK(t.calls == 1);
    verto_del(ev);
    over();
}

static void lost_in_the_child(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx, (void)ev;
    CHECK(getpid() == t.pid);
}

static void the_child_is_fine(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    CHECK(verto_get_proc_status(ev) == 0);
    over();
}

static void before_the_fork(void) {
    t.pid = getpid();
    pair(0);
    pair(1);
    put(1, "a");
    io("a", AGAIN | PERSIST | READ, read_in_the_child, 0);
    io("n", PERSIST | READ, lost_in_the_child, 1);
    timeout("a", AGAIN | PERSIST, late_in_the_child, 20);
    timeout("n", PERSIST, lost_in_the_child, 5);
    put(0, "a");
}

/* The child, which leaves the parent's folders and servers alone. */
static void end_the_child(void) {
    CHECK(t.is_over && t.calls == 1);
    verto_free(t.ctx);
    CHECK(t.made == t.freed);
    _exit(failures ? 1 : 0);
}

static void reinitialized_in_a_child(void) {
    before_the_fork();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        CHECK(verto_reinitialize(t.ctx) != 0);
        CHECK(t.freed == 2);
        verto_run(t.ctx);
        end_the_child();
    }
    CHECK(verto_add_child(t.ctx, 0, the_child_is_fine, pid) != NULL);
}

/* A child of the parent is none of the child's. */
static void an_event_that_cannot_be_made_anew(void) {
    t.pid = getpid();
    pair(0);
    io("a", AGAIN | PERSIST | READ, read_in_the_child, 0);
    t.events[0] = named("c", verto_add_child(t.ctx, AGAIN, never, child(7, 0)));
    timeout("a", AGAIN | PERSIST, late_in_the_child, 20);
    put(0, "a");
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        CHECK(verto_reinitialize(t.ctx) == 0);
        verto_set_flags(t.events[0], AGAIN | HIGH);
        verto_run(t.ctx);
        end_the_child();
    }
    CHECK(verto_add_child(t.ctx, 0, the_child_is_fine, pid) != NULL);
    verto_proc other = verto_get_proc(t.events[0]);
    verto_del(t.events[0]);
    open_the_gate();
    CHECK(waitpid(other, NULL, 0) == other);
}

static void the_other_was_deleted(void) {
    CHECK(t.calls == 1 && t.freed == 2);
    over();
}

static void it_was_kept(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
    after_some_turns(the_other_was_deleted);
}

/* In the same process it deletes events, and nothing else is seen of it. */
static void reinitialized_without_a_fork(void) {
    for (int n = 0; n < 2; n++)
        pair(n);
    io("n", PERSIST | READ, never, 0);
    io("a", AGAIN | READ, it_was_kept, 1);
    CHECK(verto_reinitialize(t.ctx) != 0);
    CHECK(t.freed == 1);
    for (int n = 0; n < 2; n++)
        put(n, "a");
}

#ifdef PROGRAM

static void fork_inside(verto_ctx *ctx, verto_ev *ev) {
    verto_del(ev);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        CHECK(verto_reinitialize(ctx) != 0);
        return; /* the loop that is running goes on, in both */
    }
    CHECK(verto_add_child(ctx, 0, the_child_is_fine, pid) != NULL);
}

static void a_callback_forks(void) {
    before_the_fork();
    CHECK(verto_add_timeout(t.ctx, PERSIST, fork_inside, 0) != NULL);
}

static void count_in_the_child(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx, (void)ev;
    CHECK(getpid() != t.pid);
    t.reads++;
}

static void until_all_was_called(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx, (void)ev;
    if (getpid() != t.pid && t.calls == 1 && t.reads == 2)
        over();
}

static void read_and_raise(verto_ctx *ctx, verto_ev *ev) {
    if (getpid() == t.pid)
        return;
    read_in_the_child(ctx, ev);
    raise(SIGUSR1);
}

/* As programs become daemons. */
static void forked_and_not_reinitialized(void) {
    t.pid = getpid();
    pair(0);
    io("a", PERSIST | READ, read_and_raise, 0);
    timeout("t", PERSIST, until_all_was_called, 1);
    verto_ev *quiet = idle("i", 0, count_in_the_child);
    verto_ev *signal = named("s", verto_add_signal(t.ctx, 0, count_in_the_child, SIGUSR1));
    put(0, "a");
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        verto_run(t.ctx);
        end_the_child();
    }
    verto_del(signal);
    verto_del(quiet);
    CHECK(verto_add_child(t.ctx, 0, the_child_is_fine, pid) != NULL);
}

#endif

struct test {
    const char *name;
    step begin, end;
};

#define TEST(name) {#name, name, NULL}

static const struct test tests[] = {
    TEST(reads),
    TEST(reads_once),
    TEST(writes),
    TEST(reads_and_writes_in_one_call),
    TEST(two_events_on_one_descriptor),
    TEST(two_readers_of_one_descriptor),
    TEST(flags_toggled_in_callbacks),
    TEST(made_anew_in_each_callback),
    TEST(another_file_under_the_number),
    {"descriptors_are_closed_with_their_events", descriptors_are_closed_with_their_events,
     the_last_is_closed},
    TEST(bytes_before_a_hangup_are_read),
    TEST(nobody_is_left_to_write_to),
    TEST(a_bad_descriptor_is_refused),
    TEST(a_reader_deletes_another),
    TEST(a_timeout_deletes_another),
    TEST(an_idle_event_deletes_another),
    TEST(one_of_high_priority_deletes_another),
    TEST(timeouts_fire_in_order_and_not_early),
    TEST(a_timeout_persists),
    TEST(a_timeout_of_zero_fires_once),
    TEST(a_timeout_of_zero_persists),
    TEST(timeouts_as_long_as_can_be),
    TEST(idle_events_wait_for_all_else),
    TEST(an_idle_event_fires_once),
    TEST(idle_events_that_add_others),
    TEST(signals),
    TEST(a_signal_once),
    TEST(ignored_signals),
    TEST(signals_that_cannot_be_caught),
    TEST(children),
    TEST(two_events_for_one_child),
    TEST(children_of_others),
    TEST(priorities_of_descriptors),
    TEST(priorities_of_timeouts),
    TEST(priorities_of_all_kinds),
    TEST(priorities_of_idle_events),
    TEST(priorities_are_changed),
    TEST(what_was_read_is_not_reported_to_lower_ones),
    TEST(a_hangup_of_low_priority),
    TEST(reinitialized_in_a_child),
    TEST(reinitialized_without_a_fork),
    TEST(an_event_that_cannot_be_made_anew),
#ifdef PROGRAM
    TEST(a_callback_forks),
    TEST(forked_and_not_reinitialized),
#endif
};

static _Thread_local const struct test *test;

static const struct test *find(const char *name) {
    for (size_t n = 0; n < sizeof tests / sizeof *tests; n++) {
        if (strcmp(tests[n].name, name) == 0)
            return &tests[n];
    }
    return NULL;
}

static void begin(verto_ctx *ctx) {
    CHECK(ctx != NULL && test != NULL);
    if (!ctx || !test)
        abort();
    memset(&t, 0, sizeof t);
    t.thread = pthread_self();
    t.ctx = ctx;
    test->begin();
}

static void end(void) {
    CHECK(t.is_over);
    verto_free(t.ctx);
    CHECK(t.made == t.freed);
    if (test->end)
        test->end();
    int *fds[] = {t.ends[0], t.ends[1], t.ends[2], t.ends[3], t.gate};
    for (int n = 0; n < 10; n++) {
        if (fds[n / 2][n % 2] > 0)
            close(fds[n / 2][n % 2]);
    }
}

#ifndef PROGRAM

#include "verto-oneloop.h"

/* 0 if there is such a test. */
int verto_test_select(const char *name) {
    test = find(name);
    return test ? 0 : -1;
}

int verto_test_start(oneloop_t *loop) {
    begin(verto_convert_oneloop(loop));
    return failures;
}

static void nothing_more(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
}

/* Without a host, in a program that has the module in it. */
int verto_test_own_loops(void) {
    verto_ctx *made[] = {verto_new_oneloop(), verto_default_oneloop()};
    CHECK(verto_convert_oneloop(NULL) == NULL);
    for (int n = 0; n < 2; n++) {
        memset(&t, 0, sizeof t);
        t.thread = pthread_self();
        t.ctx = made[n];
        CHECK(t.ctx != NULL);
        timeout("o", 0, nothing_more, 1);
        verto_run(t.ctx);
        CHECK(t.calls == 1);
        verto_free(t.ctx);
    }
    return failures;
}

/* When the host has let go of the loop. */
int verto_test_end(void) {
    end();
    return failures;
}

#else

_Thread_local int failures, stops;

static const char *module;

static verto_ctx *make(void) {
    /* Only in its default loop libev has signals and children. */
    verto_ctx *ctx = strcmp(module, "libev") == 0 ? verto_default(module, 0) : verto_new(module, 0);
    if (!ctx) {
        fprintf(stderr, "%s: not loaded\n", module);
        exit(2);
    }
    return ctx;
}

/* The ways to drive. */

static void begin_alone(void) {
    memset(&t, 0, sizeof t);
    t.thread = pthread_self();
    t.ctx = make();
}

static void break_at_twos(verto_ctx *ctx, verto_ev *ev) {
    note(ev);
    if (t.calls % 2 == 0)
        verto_break(ctx);
}

static void broken_and_run_again(void) {
    begin_alone();
    timeout("b", PERSIST, break_at_twos, 1);
    for (int n = 1; n <= 3; n++) {
        verto_run(t.ctx);
        CHECK(t.calls == 2 * n);
    }
    verto_free(t.ctx);
}

static void broken_before_it_runs(void) {
    begin_alone();
    timeout("b", PERSIST, never, 0);
    verto_break(t.ctx);
    verto_run(t.ctx);
    verto_free(t.ctx);
}

static void run_with_nothing_left(void) {
    begin_alone();
    verto_run(t.ctx);
    verto_run_once(t.ctx);
    timeout("o", 0, break_at_twos, 1);
    verto_run(t.ctx);
    CHECK(t.calls == 1);
    verto_free(t.ctx);
}

static void called_once(verto_ctx *ctx, verto_ev *ev) {
    (void)ctx;
    note(ev);
}

static void run_once_is_one_call_for_each_that_is_ready(void) {
    begin_alone();
    pair(0);
    put(0, "a");
    io("r", PERSIST | READ, called_once, 0);
    for (int n = 1; n <= 3; n++) {
        verto_run_once(t.ctx);
        CHECK(t.calls == n);
    }
    get(t.ends[0][0]);
    timeout("t", 0, called_once, 20);
    verto_run_once(t.ctx);
    CHECK(strcmp(t.order, "rrrt") == 0);
    idle("i", 0, called_once);
    verto_run_once(t.ctx);
    CHECK(strcmp(t.order, "rrrti") == 0);
    verto_free(t.ctx);
    close(t.ends[0][0]), close(t.ends[0][1]);
}

static void run_inside(verto_ctx *ctx, verto_ev *ev) {
    note(ev);
    verto_run_once(ctx);
    verto_run(ctx);
    over();
}

static void run_inside_a_callback(void) {
    begin_alone();
    timeout("r", PERSIST, run_inside, 0);
    verto_run(t.ctx);
    CHECK(t.calls == 1);
    verto_free(t.ctx);
}

static void the_default_one(void) {
    CHECK(verto_set_default(module, VERTO_EV_TYPE_IO) == 1);
    verto_ctx *one = verto_default(NULL, VERTO_EV_TYPE_SIGNAL);
    CHECK(one != NULL && one == verto_default(module, 0));
    CHECK(verto_get_supported_types(one) ==
          (VERTO_EV_TYPE_IO | VERTO_EV_TYPE_TIMEOUT | VERTO_EV_TYPE_IDLE | VERTO_EV_TYPE_SIGNAL |
           VERTO_EV_TYPE_CHILD));
    verto_ctx *other = verto_new(NULL, 0);
    CHECK(other != NULL && other != one);
    verto_free(other);
    verto_free(one);
    verto_free(one);
}

/* Found by name, in the folder of libverto. */
static void found_by_name(void) {
    module = "oneloop";
    begin_alone();
    timeout("o", 0, break_at_twos, 1);
    verto_run_once(t.ctx);
    CHECK(t.calls == 1);
    verto_free(t.ctx);
}

static int is_mapped(const char *library) {
    char line[4096];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, library) != NULL;
    fclose(maps);
    return found;
}

/* Of all modules that are there it takes the one for the loop that the program has. */
static void found_as_it_is_linked(void) {
    verto_ctx *ctx = verto_new(NULL, 0);
    CHECK(ctx != NULL);
    CHECK(is_mapped("libverto-oneloop"));
    CHECK(!is_mapped("libverto-libev") && !is_mapped("libverto-glib"));
    verto_free(ctx);
}

/* libverto closes the module; its signal handlers stay. */
static void a_signal_after_the_end(void) {
    begin_alone();
    named("s", verto_add_signal(t.ctx, PERSIST, never, SIGURG));
    verto_free(t.ctx);
    verto_cleanup();
    CHECK(raise(SIGURG) == 0);
}

static const struct test alone[] = {
    TEST(broken_and_run_again),
    TEST(broken_before_it_runs),
    TEST(run_with_nothing_left),
    TEST(run_once_is_one_call_for_each_that_is_ready),
    TEST(run_inside_a_callback),
    TEST(the_default_one),
    TEST(found_by_name),
    TEST(found_as_it_is_linked),
    TEST(a_signal_after_the_end),
};

static int run_alone(const char *name) {
    for (size_t n = 0; n < sizeof alone / sizeof *alone; n++) {
        if (strcmp(alone[n].name, name) == 0) {
            alone[n].begin();
            return 1;
        }
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count < 4)
        return 2;
    module = arguments[1];
    int by_turns = strcmp(arguments[2], "once") == 0;
    for (int n = 3; n < count; n++) {
        alarm(60);
        test = find(arguments[n]);
        if (!test) {
            if (!run_alone(arguments[n]))
                return 2;
            continue;
        }
        begin(make());
        if (by_turns) {
            while (!t.is_over)
                verto_run_once(t.ctx);
        } else {
            verto_run(t.ctx);
        }
        /* The child of a callback comes here, too. */
        if (t.pid && getpid() != t.pid)
            end_the_child();
        end();
    }
    return failures ? 1 : 0;
}

#endif
