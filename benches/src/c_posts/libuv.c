#include <stdlib.h>
#include <uv.h>

struct posts {
    uv_loop_t loop;
    uv_async_t async;
    int (*woken)(void *work);
    void *work;
};

static void on_woken(uv_async_t *async) {
    struct posts *posts = async->data;
    if (!posts->woken(posts->work))
        uv_stop(&posts->loop);
}

/* NULL: it could not be made. */
struct posts *c_posts_libuv_new(void) {
    struct posts *posts = calloc(1, sizeof *posts);
    if (!posts)
        return NULL;
    if (uv_loop_init(&posts->loop)) {
        free(posts);
        return NULL;
    }
    if (uv_async_init(&posts->loop, &posts->async, on_woken)) {
        uv_loop_close(&posts->loop);
        free(posts);
        return NULL;
    }
    posts->async.data = posts;
    return posts;
}

/* From any thread. */
void c_posts_libuv_wake(struct posts *posts) {
    if (uv_async_send(&posts->async))
        abort();
}

/* Calls back, once or more often after each time that it was woken, until that gives 0. */
void c_posts_libuv_run(struct posts *posts, int (*woken)(void *work), void *work) {
    posts->woken = woken;
    posts->work = work;
    uv_run(&posts->loop, UV_RUN_DEFAULT);
}

/* When no thread has it any more. */
void c_posts_libuv_free(struct posts *posts) {
    uv_close((uv_handle_t *)&posts->async, NULL);
    /* Until it is closed. */
    uv_run(&posts->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&posts->loop))
        abort();
    free(posts);
}
