#include "c_loops.h"

#include <stdlib.h>
#include <uv.h>

struct watcher {
    uv_poll_t poll;
    c_loops_ready *ready;
    void *work;
    size_t which;
    int interest;
};

static int to_libuv(int interest) {
    return (interest & C_LOOPS_READ ? UV_READABLE : 0) |
           (interest & C_LOOPS_WRITE ? UV_WRITABLE : 0);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    struct watcher *watcher = (struct watcher *)poll;
    /* The read gets the error. */
    (void)status;
    (void)events;
    int next = watcher->ready(watcher->work, watcher->which);
    int interest = next & (C_LOOPS_READ | C_LOOPS_WRITE);
    if (interest != watcher->interest) {
        watcher->interest = interest;
        if (interest ? uv_poll_start(poll, to_libuv(interest), on_ready) : uv_poll_stop(poll))
            abort();
    }
    if (next & C_LOOPS_STOP)
        uv_stop(poll->loop);
}

int c_loops_libuv(const int *fds, size_t number, c_loops_ready *ready, void *work) {
    uv_loop_t loop;
    struct watcher *watchers = calloc(number, sizeof *watchers);
    if (!watchers)
        return 1;
    if (uv_loop_init(&loop)) {
        free(watchers);
        return 1;
    }
    int failed = 0;
    size_t made = 0;
    while (!failed && made < number) {
        struct watcher *watcher = &watchers[made];
        watcher->ready = ready;
        watcher->work = work;
        watcher->which = made;
        watcher->interest = C_LOOPS_READ;
        failed = uv_poll_init(&loop, &watcher->poll, fds[made]) != 0;
        if (failed)
            break;
        made++;
        failed = uv_poll_start(&watcher->poll, UV_READABLE, on_ready) != 0;
    }
    if (!failed)
        uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < made; i++)
        uv_close((uv_handle_t *)&watchers[i].poll, NULL);
    /* Until all are closed. */
    uv_run(&loop, UV_RUN_DEFAULT);
    failed |= uv_loop_close(&loop) != 0;
    free(watchers);
    return failed;
}
