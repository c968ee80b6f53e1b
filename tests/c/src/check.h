/* Checks that go on, and are counted. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

extern _Thread_local int failures;
int check_failures(void);

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, __func__,   \
                    #condition);                                               \
            failures++;                                                        \
        }                                                                      \
    } while (0)

#endif
