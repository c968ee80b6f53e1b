#include "c_memory.h"
#include "counted.h"

#include <uv.h>

static void *take(size_t size) {
    return counted_resize(NULL, size);
}

static void *take_zeroed(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *block = counted_resize(NULL, count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

static void give_back(void *block) {
    counted_resize(block, 0);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
}

static void on_due(uv_timer_t *timer) {
    (void)timer;
}

size_t c_memory_libuv(const int *fds, size_t handlers, size_t timers) {
    uv_loop_t loop;
    uv_replace_allocator(take, counted_resize, take_zeroed, give_back);
    if (uv_loop_init(&loop))
        return 0;
    uv_poll_t *poll = calloc(handlers + 1, sizeof *poll);
    uv_timer_t *timer = calloc(timers + 1, sizeof *timer);
    size_t bytes = 0, polls = 0, set = 0;
    int failed = !poll || !timer;
    for (; !failed && polls < handlers; polls++) {
        failed = uv_poll_init(&loop, &poll[polls], fds[polls]);
        if (failed)
            break;
        failed = uv_poll_start(&poll[polls], UV_READABLE, on_ready);
    }
    for (; !failed && set < timers; set++) {
        uint64_t later = (C_MEMORY_LATER + set % C_MEMORY_LATER) * 1000ull;
        uv_timer_init(&loop, &timer[set]);
        failed = uv_timer_start(&timer[set], on_due, later, 0);
    }
    if (!failed) {
        /* Has the kernel told. */
        uv_run(&loop, UV_RUN_NOWAIT);
        bytes = counted_bytes + polls * sizeof *poll + set * sizeof *timer;
    }
    for (size_t i = 0; i < polls; i++)
        uv_close((uv_handle_t *)&poll[i], NULL);
    for (size_t i = 0; i < set; i++)
        uv_close((uv_handle_t *)&timer[i], NULL);
    /* Until all are closed. */
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    free(poll);
    free(timer);
    return bytes;
}
