/* libdbus on a oneloop loop.
 *
 *   DBusConnection *bus = dbus_bus_get_private(DBUS_BUS_SESSION, NULL);
 *   oneloop_dbus_attach(loop, bus);
 *   ... send, and add filters, as ever; the loop does the rest ...
 *   oneloop_dbus_detach(bus);
 *
 * Threads: attach, detach and callbacks on the thread that drives the loop; the last reference is
 * given up there, too, and before the loop ends. After dbus_threads_init_default() messages may be
 * sent from others.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_DBUS_H
#define ONELOOP_DBUS_H

#include <dbus/dbus.h>
#include <oneloop.h>
#include <stdlib.h>

/* What a connection's hooks share. */
struct oneloop_dbus {
    oneloop_t *loop;
    DBusConnection *connection;
    oneloop_id dispatch;
    int users;
};

/* The handler of a watch, or the timer of a timeout: what libdbus keeps with it. */
struct oneloop_dbus_item {
    oneloop_t *loop;
    oneloop_id id;
};

static inline uint32_t oneloop_dbus_interest(DBusWatch *watch) {
    unsigned flags = dbus_watch_get_flags(watch);
    if (!dbus_watch_get_enabled(watch))
        return 0;
    return (flags & DBUS_WATCH_READABLE ? ONELOOP_READABLE : 0) |
           (flags & DBUS_WATCH_WRITABLE ? ONELOOP_WRITABLE : 0);
}

static inline int oneloop_dbus_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                     void *watch) {
    (void)loop, (void)id, (void)fd;
    dbus_watch_handle((DBusWatch *)watch, (ready & ONELOOP_READABLE ? DBUS_WATCH_READABLE : 0) |
                                              (ready & ONELOOP_WRITABLE ? DBUS_WATCH_WRITABLE : 0) |
                                              (ready & ONELOOP_HANGUP ? DBUS_WATCH_HANGUP : 0) |
                                              (ready & ONELOOP_ERROR ? DBUS_WATCH_ERROR : 0));
    return ONELOOP_CONTINUE;
}

static inline dbus_bool_t oneloop_dbus_add_watch(DBusWatch *watch, void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)malloc(sizeof *item);
    if (!item)
        return FALSE;
    item->loop = dbus->loop;
    if (oneloop_add_handler(dbus->loop, dbus_watch_get_unix_fd(watch),
                            oneloop_dbus_interest(watch), ONELOOP_LEVEL, oneloop_dbus_ready, watch,
                            NULL, &item->id) < 0) {
        free(item);
        return FALSE;
    }
    dbus_watch_set_data(watch, item, free);
    return TRUE;
}

static inline void oneloop_dbus_toggle_watch(DBusWatch *watch, void *data) {
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)dbus_watch_get_data(watch);
    (void)data;
    oneloop_update_handler(item->loop, item->id, oneloop_dbus_interest(watch));
}

static inline void oneloop_dbus_remove_watch(DBusWatch *watch, void *data) {
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)dbus_watch_get_data(watch);
    (void)data;
    oneloop_remove_handler(item->loop, item->id);
    dbus_watch_set_data(watch, NULL, NULL);
}

static inline int64_t oneloop_dbus_delay(DBusTimeout *timeout) {
    if (!dbus_timeout_get_enabled(timeout))
        return ONELOOP_NEVER;
    return dbus_timeout_get_interval(timeout) * (int64_t)1000000;
}

static inline void oneloop_dbus_expired(oneloop_t *loop, oneloop_id id, void *timeout) {
    /* Until it is removed it fires again and again; and it may be, by what is called. */
    oneloop_reset_timer(loop, id, oneloop_dbus_delay((DBusTimeout *)timeout));
    dbus_timeout_handle((DBusTimeout *)timeout);
}

static inline dbus_bool_t oneloop_dbus_add_timeout(DBusTimeout *timeout, void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)malloc(sizeof *item);
    if (!item)
        return FALSE;
    item->loop = dbus->loop;
    if (oneloop_add_timer(dbus->loop, oneloop_dbus_delay(timeout), 0, oneloop_dbus_expired, timeout,
                          NULL, &item->id) < 0) {
        free(item);
        return FALSE;
    }
    dbus_timeout_set_data(timeout, item, free);
    return TRUE;
}

static inline void oneloop_dbus_toggle_timeout(DBusTimeout *timeout, void *data) {
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)dbus_timeout_get_data(timeout);
    (void)data;
    oneloop_reset_timer(item->loop, item->id, oneloop_dbus_delay(timeout));
}

static inline void oneloop_dbus_remove_timeout(DBusTimeout *timeout, void *data) {
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)dbus_timeout_get_data(timeout);
    (void)data;
    oneloop_cancel_timer(item->loop, item->id);
    dbus_timeout_set_data(timeout, NULL, NULL);
}

static inline int oneloop_dbus_dispatch(oneloop_t *loop, oneloop_id id, void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    /* Whatever a message's handler does to the connection, it stays until the end of this. */
    DBusConnection *connection = dbus_connection_ref(dbus->connection);
    /* Off first: another thread that blocks on a reply may queue messages, and switch it on again. */
    oneloop_enable(loop, id, false);
    if (dbus_connection_dispatch(connection) != DBUS_DISPATCH_COMPLETE)
        oneloop_enable(loop, id, true);
    dbus_connection_unref(connection);
    return ONELOOP_CONTINUE;
}

/* Called with libdbus' lock held, from any thread: only says that there is something to do. */
static inline void oneloop_dbus_status(DBusConnection *connection, DBusDispatchStatus status,
                                       void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    (void)connection;
    if (status == DBUS_DISPATCH_DATA_REMAINS)
        oneloop_enable(dbus->loop, dbus->dispatch, true);
}

static inline void oneloop_dbus_wakeup(void *data) {
    oneloop_wake(((struct oneloop_dbus *)data)->loop);
}

/* The connection has no use for one of its sets of hooks any more. */
static inline void oneloop_dbus_release(void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    if (--dbus->users == 0)
        oneloop_remove_handler(dbus->loop, dbus->dispatch); /* which frees it */
}

/* Takes the connection off its loop. It does so by itself when it ends. */
static inline void oneloop_dbus_detach(DBusConnection *connection) {
    dbus_connection_set_dispatch_status_function(connection, NULL, NULL, NULL);
    dbus_connection_set_wakeup_main_function(connection, NULL, NULL, NULL);
    dbus_connection_set_timeout_functions(connection, NULL, NULL, NULL, NULL, NULL);
    dbus_connection_set_watch_functions(connection, NULL, NULL, NULL, NULL, NULL);
}

/* Puts a connection on a loop. False if there is no memory left. */
static inline dbus_bool_t oneloop_dbus_attach(oneloop_t *loop, DBusConnection *connection) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)calloc(1, sizeof *dbus);
    if (!dbus)
        return FALSE;
    dbus->loop = loop;
    dbus->connection = connection;
    if (oneloop_add_deferred(loop, oneloop_dbus_dispatch, dbus, free, &dbus->dispatch) < 0) {
        free(dbus);
        return FALSE;
    }
    dbus->users = 1; /* this function */
    dbus_bool_t attached = TRUE;
    dbus->users++;
    dbus_connection_set_dispatch_status_function(connection, oneloop_dbus_status, dbus,
                                                 oneloop_dbus_release);
    dbus->users++;
    dbus_connection_set_wakeup_main_function(connection, oneloop_dbus_wakeup, dbus,
                                             oneloop_dbus_release);
    dbus->users++;
    if (!dbus_connection_set_timeout_functions(
            connection, oneloop_dbus_add_timeout, oneloop_dbus_remove_timeout,
            oneloop_dbus_toggle_timeout, dbus, oneloop_dbus_release))
        dbus->users--, attached = FALSE;
    dbus->users++;
    if (!dbus_connection_set_watch_functions(connection, oneloop_dbus_add_watch,
                                             oneloop_dbus_remove_watch, oneloop_dbus_toggle_watch,
                                             dbus, oneloop_dbus_release))
        dbus->users--, attached = FALSE;
    if (!attached)
        oneloop_dbus_detach(connection);
    oneloop_dbus_release(dbus);
    return attached;
}

#endif
