/* Poll sets: descriptors that are listed again before each sleep. */

#include "stage.h"

#include <errno.h>

#define PAIRS 20

static _Thread_local struct {
    int pairs[PAIRS + 1][2];
    int listed, prepared, late, timeouts;
    int64_t timeout;
} s;

static void begin_set(void) {
    begin();
    memset(&s, 0, sizeof s);
    s.timeout = ONELOOP_NEVER;
    for (int n = 0; n <= PAIRS; n++)
        pair(s.pairs[n]);
}

static void end_set(oneloop_t *loop) {
    for (int n = 0; n <= PAIRS; n++)
        close(s.pairs[n][0]), close(s.pairs[n][1]);
    CHECK(oneloop_stop(loop) == 0);
}

/* The first pairs, with an entry in between that is passed over, and one for nothing. */
static int list(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout, void *user) {
    (void)loop;
    CHECK(user == &t && *timeout == ONELOOP_NEVER && room >= 1);
    s.prepared++;
    if (s.timeout != ONELOOP_NEVER)
        *timeout = s.timeout;
    for (int n = 0; n < s.listed + 2 && n < room; n++) {
        fds[n].fd = n == 1 ? -1 : s.pairs[n == 0 ? 0 : n - 1][0];
        fds[n].events = n == 0 ? 0 : POLLIN;
    }
    return s.listed + 2;
}

/* Each pair in turn gets a byte, and then a hang-up ends it. */
static void each_in_turn(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    char byte;
    CHECK(user == &t && count == s.listed + 2);
    for (int n = 0; n < count; n++) {
        if (n != t.calls + 2)
            CHECK(fds[n].revents == 0);
    }
    CHECK(fds[t.calls + 2].revents == POLLIN && fds[t.calls + 2].fd == s.pairs[t.calls + 1][0]);
    CHECK(read(fds[t.calls + 2].fd, &byte, 1) == 1);
    if (++t.calls == s.listed - 1) {
        t.inside = 1;
        CHECK(oneloop_remove_pollset(loop, t.id) == 0);
        t.inside = 0;
        CHECK(oneloop_remove_pollset(loop, t.id) == -ENOENT);
        end_set(loop);
        return;
    }
    CHECK(write(s.pairs[t.calls + 1][1], "x", 1) == 1);
}

/* More than there is room for at first. */
int test_a_poll_set_gets_its_entries_back(oneloop_t *loop) {
    begin_set();
    s.listed = PAIRS;
    CHECK(oneloop_add_pollset(loop, list, each_in_turn, &t, destroy, &t.id) == 0);
    CHECK(write(s.pairs[1][1], "x", 1) == 1);
    return failures;
}

/* A descriptor that is not listed any more is not watched, also if data wait there. Errors and hang-ups show, too. */

static void shrinks(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    (void)fds, (void)user;
    if (t.calls++ == 0) {
        CHECK(count == 4 && (fds[2].revents | fds[3].revents) == POLLIN);
        s.listed = 1;
        s.timeout = 20 * MS;
        s.late = s.prepared;
        return;
    }
    CHECK(count == 3);
    if (fds[2].revents == 0) { /* it was ready, and is read below; or this is the timeout */
        s.timeouts++;
        close(s.pairs[1][1]);
        s.pairs[1][1] = dup(s.pairs[0][1]);
        s.timeout = ONELOOP_NEVER;
        return;
    }
    if (fds[2].revents == POLLIN) { /* on a busy machine after the timeout */
        char byte;
        CHECK(read(fds[2].fd, &byte, 1) == 1);
        return;
    }
    CHECK(fds[2].revents == (POLLIN | POLLHUP));
    CHECK(oneloop_remove_pollset(loop, t.id) == 0);
    end_set(loop);
}

int test_a_poll_set_changes_and_times_out(oneloop_t *loop) {
    begin_set();
    s.listed = 2;
    CHECK(oneloop_add_pollset(loop, list, shrinks, &t, destroy, &t.id) == 0);
    CHECK(write(s.pairs[0][1], "x", 1) == 1 && write(s.pairs[1][1], "x", 1) == 1);
    return failures;
}

/* Without descriptors and time it does not keep the loop going, and its data is given back in a turn. */

static int list_nothing(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout, void *user) {
    (void)loop, (void)fds, (void)room, (void)timeout, (void)user;
    return -1;
}

static void not_ready(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    (void)loop, (void)fds, (void)count, (void)user;
    CHECK(!"called");
}

int test_a_poll_set_that_lists_nothing(oneloop_t *outer) {
    oneloop_t *loop = oneloop_new();
    begin();
    CHECK(oneloop_add_pollset(loop, NULL, not_ready, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_add_pollset(loop, list_nothing, NULL, &t, destroy, NULL) == -EINVAL);
    CHECK(oneloop_add_pollset(loop, list_nothing, not_ready, &t, destroy, &t.id) == 0);
    CHECK(oneloop_set_name(loop, t.id, "a library") == 0);
    CHECK(oneloop_run(loop) == 0);
    t.inside = 1;
    CHECK(oneloop_remove_pollset(loop, t.id) == 0);
    t.inside = 0;
    CHECK(t.destroyed == 0);
    CHECK(oneloop_turn(loop, 0, NULL) >= 0);
    CHECK(t.destroyed == 1);
    /* The end of the loop gives it back, too; and one that could not be added is left alone. */
    CHECK(oneloop_add_pollset(loop, list_nothing, not_ready, &t, destroy, NULL) == 0);
    CHECK(oneloop_close(loop) == 0);
    CHECK(t.destroyed == 2);
    CHECK(oneloop_add_pollset(loop, list_nothing, not_ready, &t, destroy, NULL) == -ESHUTDOWN);
    CHECK(t.destroyed == 2);
    oneloop_free(loop);
    CHECK(oneloop_stop(outer) == 0);
    return failures;
}
