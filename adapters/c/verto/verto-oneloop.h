/* libverto on oneloop loops: what is written against libverto runs on them.
 *
 * As a module, which needs no change to such a program (`install.sh` builds it):
 *
 *   verto_ctx *ctx = verto_new("/some/prefix/lib/libverto-oneloop.so", VERTO_EV_TYPE_NONE);
 *
 * or, if it is beside libverto under the name that libverto looks for (libverto-oneloop.so.1),
 * verto_new("oneloop", ...), and for a program that links liboneloop verto_new(NULL, ...).
 *
 * On a loop that is there already, and that a host may drive, with verto-oneloop.c compiled into the
 * program or liboneloop and the module linked:
 *
 *   verto_ctx *ctx = verto_convert_oneloop(loop);
 *
 * All of libverto's types are there. Of the events that are ready in one turn those of high priority
 * are called first, then those of none, of medium and of low priority; no event is left out because
 * of others. Idle events are called in turns that have nothing else to do, whatever their priority.
 * On a descriptor that is hung up, VERTO_EV_FLAG_IO_READ is pending, the end included, and
 * VERTO_EV_FLAG_IO_ERROR only for an event that does not read; a pending error is VERTO_EV_FLAG_IO_ERROR. The
 * status of a child that other code has reaped is -1. A signal does nothing once its last event
 * was deleted: its default action does not come back.
 *
 * verto_run returns after verto_break, or when nothing is left that could call back, as with libev.
 * Neither it nor verto_run_once can be called inside a callback, or where a host drives the loop:
 * they return at once then. A verto_ctx that is used in the child after a fork has a loop of its own
 * there, also without verto_reinitialize.
 *
 * Threads: as ever with libverto, all on the thread that drives the loop; but verto_break from any.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef VERTO_ONELOOP_H
#define VERTO_ONELOOP_H

#include <oneloop.h>
#include <verto.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A context with a loop of its own. NULL on error. */
verto_ctx *verto_new_oneloop(void);

/* The default context. NULL on error. */
verto_ctx *verto_default_oneloop(void);

/* A context on a loop, of which it takes a handle of its own. What it has registered is gone from
 * the loop after verto_free, which, as ever, must not be called inside a callback of libverto's.
 * NULL on error. */
verto_ctx *verto_convert_oneloop(oneloop_t *loop);

#ifdef __cplusplus
}
#endif

#endif
