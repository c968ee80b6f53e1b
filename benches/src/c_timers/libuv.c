#include "c_timers.h"

#include <stdlib.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    size_t number;
    size_t fired;
    uv_timer_t timers[];
};

static void on_due(uv_timer_t *timer) {
    struct loop *loop = timer->loop->data;
    loop->fired++;
}

static void *make(size_t number) {
    struct loop *loop = calloc(1, sizeof *loop + number * sizeof *loop->timers);
    if (!loop)
        return NULL;
    if (uv_loop_init(&loop->uv)) {
        free(loop);
        return NULL;
    }
    loop->uv.data = loop;
    loop->number = number;
    for (size_t which = 0; which < number; which++)
        uv_timer_init(&loop->uv, &loop->timers[which]);
    return loop;
}

/* Also resets a pending timer. In milliseconds, its unit. */
static int set(void *of, size_t which, uint64_t deadline) {
    struct loop *loop = of;
    return uv_timer_start(&loop->timers[which], on_due, deadline / 1000000, 0);
}

static int cancel(void *of, size_t which) {
    struct loop *loop = of;
    return uv_timer_stop(&loop->timers[which]);
}

static int fire(void *of, size_t number) {
    struct loop *loop = of;
    while (loop->fired < number)
        uv_run(&loop->uv, UV_RUN_ONCE);
    return 0;
}

static void end(void *of) {
    struct loop *loop = of;
    for (size_t which = 0; which < loop->number; which++)
        uv_close((uv_handle_t *)&loop->timers[which], NULL);
    /* Until all are closed. */
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop->uv))
        abort();
    free(loop);
}

const struct c_timers c_timers_libuv = {make, set, set, cancel, fire, end};
