/* The C ABI, from C: threads beside the one that drives. Their checks are counted in `wrong`, since
 * `failures` is each thread's own. */

#include "stage.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

/* A registration, until its callback has ended it. */
struct item {
    oneloop_id id;
};

static void is_over(struct item *item, oneloop_id id, atomic_int *wrong) {
    *wrong += item->id != id;
    item->id = 0; /* as if it were freed */
}

/* Data that a test's threads share: one that adds, on the test's thread, and one that drives. */
struct adding {
    oneloop_t *loop;
    atomic_bool over;
    atomic_int called;
    atomic_int wrong;
};

static struct adding *adding;

static int item_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *item) {
    (void)loop, (void)fd, (void)ready;
    is_over(item, id, &adding->wrong);
    adding->called++;
    return ONELOOP_REMOVE;
}

static int item_called(oneloop_t *loop, oneloop_id id, void *item) {
    return item_ready(loop, id, -1, 0, item);
}

static void item_due(oneloop_t *loop, oneloop_id id, void *item) {
    adding->wrong += oneloop_cancel_timer(loop, id) != 0;
    item_ready(loop, id, -1, 0, item);
}

static int64_t item_asked(oneloop_t *loop, void *user) {
    struct item *item = user;
    (void)loop;
    adding->wrong += item->id == 0;
    return ONELOOP_NEVER;
}

static void *drive_adding(void *user) {
    (void)user;
    while (!adding->over)
        oneloop_turn(adding->loop, MS, NULL);
    return NULL;
}

#define ITEMS 1000

/* The id is where the caller wants it before the callback is called, which may free that place. */
int test_an_id_is_written_before_its_callback_is_called(oneloop_t *outer) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    static struct item items[ITEMS];
    pthread_t driver;
    begin();
    pair(t.ends);
    CHECK(write(t.ends[1], "x", 1) == 1);
    pthread_mutex_lock(&one_at_a_time);
    memset(items, 0, sizeof items);
    struct adding now = {.loop = oneloop_new()};
    adding = &now;
    CHECK(pthread_create(&driver, NULL, drive_adding, NULL) == 0);
    for (int n = 0; n < ITEMS; n++) {
        struct item *item = &items[n];
        oneloop_t *loop = now.loop;
        switch (n % 5) {
        case 0:
            CHECK(oneloop_add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, item_ready,
                                      item, NULL, &item->id) == 0);
            break;
        case 1: CHECK(oneloop_add_timer(loop, 0, 0, item_due, item, NULL, &item->id) == 0); break;
        case 2: CHECK(oneloop_add_deferred(loop, item_called, item, NULL, &item->id) == 0); break;
        case 3: CHECK(oneloop_add_idle(loop, item_called, item, NULL, &item->id) == 0); break;
        default:
            CHECK(oneloop_add_hook(loop, item_asked, NULL, item, NULL, &item->id) == 0);
            CHECK(oneloop_remove_hook(loop, item->id) == 0);
            now.called++;
        }
        /* Few are enough to have both threads busy. */
        while (n + 1 - now.called > 50)
            sched_yield();
    }
    while (now.called < ITEMS)
        sched_yield();
    now.over = true;
    CHECK(pthread_join(driver, NULL) == 0);
    CHECK(now.wrong == 0);
    int late = 0;
    for (int n = 0; n < ITEMS; n++)
        late += n % 5 < 4 && items[n].id != 0;
    CHECK(late == 0);
    oneloop_free(now.loop);
    pthread_mutex_unlock(&one_at_a_time);
    end(outer);
    return failures;
}

/* Destroy functions and the calls beside which they are called. */

static _Thread_local int in_a_call; /* which must not call back */

struct closing {
    oneloop_t *loop;
    atomic_bool begun;
    atomic_int destroyed;
    atomic_int wrong;
};

static void destroyed_beside(void *user) {
    struct closing *closing = user;
    closing->wrong += in_a_call;
    closing->destroyed++;
}

static int never_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)loop, (void)id, (void)fd, (void)ready, (void)user;
    return ONELOOP_CONTINUE;
}

static void never_due(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
}

static int64_t never_asked(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    return ONELOOP_NEVER;
}

static void *close_soon(void *user) {
    struct closing *closing = user;
    while (!closing->begun)
        sched_yield();
    for (int turns = 0; turns < 3; turns++)
        oneloop_turn(closing->loop, 0, NULL);
    closing->wrong += oneloop_close(closing->loop) != 0;
    return NULL;
}

/* A library may hold its lock around the calls that add and remove. Whichever thread closes the loop
 * meanwhile, none of them calls a destroy function. */
int test_closed_by_another_thread_no_call_destroys_anything(oneloop_t *outer) {
    begin();
    pair(t.ends);
    for (int round = 0; round < 30; round++) {
        struct closing closing = {.loop = oneloop_new()};
        pthread_t closer;
        int added = 0, result;
        CHECK(pthread_create(&closer, NULL, close_soon, &closing) == 0);
        do {
            oneloop_id id = 0;
            in_a_call = 1;
            closing.begun = true;
            switch (round % 3) {
            case 0:
                result = oneloop_add_timer(closing.loop, ONELOOP_NEVER, 0, never_due, &closing,
                                           destroyed_beside, &id);
                added += result == 0;
                oneloop_cancel_timer(closing.loop, id);
                break;
            case 1:
                result = oneloop_add_handler(closing.loop, t.ends[0], 1, ONELOOP_LEVEL, never_ready,
                                             &closing, destroyed_beside, &id);
                added += result == 0;
                oneloop_remove_handler(closing.loop, id);
                break;
            default:
                result = oneloop_add_hook(closing.loop, never_asked, NULL, &closing,
                                          destroyed_beside, &id);
                added += result == 0;
                oneloop_remove_hook(closing.loop, id);
            }
            in_a_call = 0;
        } while (result == 0);
        CHECK(result == -ESHUTDOWN);
        CHECK(pthread_join(closer, NULL) == 0);
        CHECK(closing.wrong == 0);
        CHECK(closing.destroyed == added);
        oneloop_free(closing.loop);
    }
    end(outer);
    return failures;
}
