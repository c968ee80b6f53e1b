/* Checks that go on, and are counted. */
#ifndef CHECK_H
#define CHECK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

extern _Thread_local int failures;
int check_failures(void);

/* A test is over when it stops its loop. That nothing is left, which ends oneloop_run, too, is not
 * enough. */
extern _Thread_local int stops;
bool check_is_over(void);

#ifndef PROGRAM /* which knows nothing of oneloop */
#include <oneloop.h>

static inline int check_stop(oneloop_t *loop) {
    int result = oneloop_stop(loop);
    stops += result == 0;
    return result;
}

#define oneloop_stop check_stop
#endif

/* Checks that the test's thread calls this. Failed checks of other threads are not counted. */
static inline void check_thread(pthread_t of_the_test) {
    if (pthread_equal(pthread_self(), of_the_test))
        return;
    fprintf(stderr, "called on another thread\n");
    abort();
}

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, __func__,   \
                    #condition);                                               \
            failures++;                                                        \
        }                                                                      \
    } while (0)

#endif
