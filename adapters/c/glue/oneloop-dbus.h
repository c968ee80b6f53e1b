/* libdbus on a oneloop loop.
 *
 *   DBusConnection *bus = dbus_bus_get_private(DBUS_BUS_SESSION, NULL);
 *   oneloop_dbus_attach(loop, bus);
 *   ... send, and add filters, as ever; the loop does the rest ...
 *   oneloop_dbus_detach(bus);
 *
 * Attaching a connection again moves it to the new loop. If the loop ends first, the connection stays usable
 * without a loop, and can be attached to another one. A DBusServer is attached by oneloop_dbus_attach_server.
 *
 * Errors: libdbus' functions for changing a watch or a timeout return nothing. If the loop refuses such a change, that
 * is reported by oneloop_report_error. The loss of a connection is libdbus' signal Disconnected, as ever.
 *
 * Threads: attach, detach and callbacks on the thread that drives the loop. The last reference is given up
 * there, too. After dbus_threads_init_default() messages may be sent from others.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_DBUS_H
#define ONELOOP_DBUS_H

#include <dbus/dbus.h>
#include <oneloop.h>
#include <stdlib.h>

/* Data that the hooks of a connection or a server share. */
struct oneloop_dbus {
    oneloop_t *loop;            /* NULL once the loop is gone */
    DBusConnection *connection; /* NULL for a server */
    oneloop_id dispatch;
    int users; /* sets of hooks */
};

/* libdbus' functions for changing a watch or a timeout return nothing. */
static inline void oneloop_dbus_result(struct oneloop_dbus *dbus, int result) {
    if (result < 0)
        oneloop_report_error(dbus->loop, "libdbus", oneloop_strerror());
}

/* The handler of a watch, or the timer of a timeout: what libdbus keeps with it. */
struct oneloop_dbus_item {
    struct oneloop_dbus *dbus;
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
    item->dbus = dbus;
    item->id = 0;
    if (dbus->loop &&
        oneloop_add_handler(dbus->loop, dbus_watch_get_unix_fd(watch),
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
    if (item->dbus->loop)
        oneloop_dbus_result(item->dbus,
                            oneloop_update_handler(item->dbus->loop, item->id,
                                                   oneloop_dbus_interest(watch)));
}

static inline void oneloop_dbus_remove_watch(DBusWatch *watch, void *data) {
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)dbus_watch_get_data(watch);
    (void)data;
    if (item->dbus->loop)
        oneloop_remove_handler(item->dbus->loop, item->id);
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
    item->dbus = dbus;
    item->id = 0;
    if (dbus->loop &&
        oneloop_add_timer(dbus->loop, oneloop_dbus_delay(timeout), 0, oneloop_dbus_expired, timeout,
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
    if (item->dbus->loop)
        oneloop_dbus_result(item->dbus, oneloop_reset_timer(item->dbus->loop, item->id,
                                                            oneloop_dbus_delay(timeout)));
}

static inline void oneloop_dbus_remove_timeout(DBusTimeout *timeout, void *data) {
    struct oneloop_dbus_item *item = (struct oneloop_dbus_item *)dbus_timeout_get_data(timeout);
    (void)data;
    if (item->dbus->loop)
        oneloop_cancel_timer(item->dbus->loop, item->id);
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
    if (status == DBUS_DISPATCH_DATA_REMAINS && dbus->loop)
        oneloop_enable(dbus->loop, dbus->dispatch, true);
}

static inline void oneloop_dbus_wakeup(void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    if (dbus->loop)
        oneloop_wake(dbus->loop);
}

/* One of the sets of hooks is not used any more. */
static inline void oneloop_dbus_release(void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    if (--dbus->users > 0)
        return;
    if (dbus->loop)
        oneloop_remove_handler(dbus->loop, dbus->dispatch); /* which frees it */
    else
        free(dbus);
}

/* The handler is gone: because of the last release, or with the loop. */
static inline void oneloop_dbus_gone(void *data) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)data;
    dbus->loop = NULL;
    if (dbus->users == 0)
        free(dbus);
}

static inline struct oneloop_dbus *oneloop_dbus_new(oneloop_t *loop, DBusConnection *connection) {
    struct oneloop_dbus *dbus = (struct oneloop_dbus *)calloc(1, sizeof *dbus);
    if (!dbus)
        return NULL;
    dbus->loop = loop;
    dbus->connection = connection;
    dbus->users = 1; /* the function that attaches */
    if (oneloop_add_deferred(loop, oneloop_dbus_dispatch, dbus, oneloop_dbus_gone,
                             &dbus->dispatch) < 0) {
        free(dbus);
        return NULL;
    }
    return dbus;
}

/* Takes the connection off its loop. It does so by itself when it ends. */
static inline void oneloop_dbus_detach(DBusConnection *connection) {
    dbus_connection_set_dispatch_status_function(connection, NULL, NULL, NULL);
    dbus_connection_set_wakeup_main_function(connection, NULL, NULL, NULL);
    dbus_connection_set_timeout_functions(connection, NULL, NULL, NULL, NULL, NULL);
    dbus_connection_set_watch_functions(connection, NULL, NULL, NULL, NULL, NULL);
}

/* Puts a connection on a loop, and takes it off any other loop first. Returns FALSE if there is no memory
 * left, or the loop is closed. The connection is on no loop then. */
static inline dbus_bool_t oneloop_dbus_attach(oneloop_t *loop, DBusConnection *connection) {
    dbus_bool_t attached = TRUE;
    struct oneloop_dbus *dbus;
    /* libdbus would call the old hooks with what belongs to the new ones. */
    oneloop_dbus_detach(connection);
    if (!(dbus = oneloop_dbus_new(loop, connection)))
        return FALSE;
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

/* Takes a server off its loop. To be called before the server's last reference is given up. */
static inline void oneloop_dbus_detach_server(DBusServer *server) {
    dbus_server_set_timeout_functions(server, NULL, NULL, NULL, NULL, NULL);
    dbus_server_set_watch_functions(server, NULL, NULL, NULL, NULL, NULL);
}

/* Puts a server on a loop, as oneloop_dbus_attach does with a connection. The callback of
 * dbus_server_set_new_connection_function attaches each new connection. */
static inline dbus_bool_t oneloop_dbus_attach_server(oneloop_t *loop, DBusServer *server) {
    dbus_bool_t attached = TRUE;
    struct oneloop_dbus *dbus;
    oneloop_dbus_detach_server(server);
    if (!(dbus = oneloop_dbus_new(loop, NULL)))
        return FALSE;
    oneloop_enable(loop, dbus->dispatch, false); /* a server has nothing to dispatch */
    dbus->users++;
    if (!dbus_server_set_timeout_functions(server, oneloop_dbus_add_timeout,
                                           oneloop_dbus_remove_timeout, oneloop_dbus_toggle_timeout,
                                           dbus, oneloop_dbus_release))
        dbus->users--, attached = FALSE;
    dbus->users++;
    if (!dbus_server_set_watch_functions(server, oneloop_dbus_add_watch, oneloop_dbus_remove_watch,
                                         oneloop_dbus_toggle_watch, dbus, oneloop_dbus_release))
        dbus->users--, attached = FALSE;
    if (!attached)
        oneloop_dbus_detach_server(server);
    oneloop_dbus_release(dbus);
    return attached;
}

#endif
