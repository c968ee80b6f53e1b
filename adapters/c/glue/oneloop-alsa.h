/* ALSA on a oneloop loop: a PCM, to play or to record.
 *
 *   static void ready(struct oneloop_alsa *on, unsigned short events) {
 *       if (snd_pcm_writei(on->pcm, frames, count) == -EPIPE)
 *           snd_pcm_prepare(on->pcm); // ALSA's underrun
 *   }
 *   ...
 *   snd_pcm_open(&pcm, "default", SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK);
 *   struct oneloop_alsa *on = oneloop_alsa_attach(loop, pcm, ready, user);
 *
 * `events` has POLLOUT if there is room to write, POLLIN if there is something to read, and POLLERR. `ready` is
 * called as long as that holds. Set `on->paused` to 1 while there is nothing to write. Attach once the parameters
 * are set.
 *
 * Errors: if ALSA cannot list its descriptors, or say what they show, that is reported by oneloop_report_error, and
 * the PCM is paused. All others are results of the program's own calls.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_ALSA_H
#define ONELOOP_ALSA_H

#include <alsa/asoundlib.h>
#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>

struct oneloop_alsa {
    oneloop_t *loop;
    snd_pcm_t *pcm; /* NULL once it is detached */
    void (*ready)(struct oneloop_alsa *on, unsigned short events);
    void *user;
    int paused; /* may be changed; outside of the loop's callbacks, oneloop_wake after that */
    /* Private. */
    oneloop_id id;
    int gone; /* with the loop, or after it was detached */
};

static inline void oneloop_alsa_failed(struct oneloop_alsa *on, int error) {
    on->paused = 1;
    oneloop_report_error(on->loop, "ALSA", snd_strerror(error));
}

static inline int oneloop_alsa_list(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout,
                                    void *user) {
    struct oneloop_alsa *on = (struct oneloop_alsa *)user;
    int count, listed;
    (void)loop, (void)timeout;
    if (!on->pcm || on->paused)
        return 0;
    count = snd_pcm_poll_descriptors_count(on->pcm);
    if (count > room)
        return count;
    listed = count < 0 ? count : snd_pcm_poll_descriptors(on->pcm, fds, (unsigned)room);
    if (listed < 0)
        oneloop_alsa_failed(on, listed);
    return listed;
}

static inline void oneloop_alsa_ready(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    struct oneloop_alsa *on = (struct oneloop_alsa *)user;
    unsigned short events = 0;
    int result;
    (void)loop;
    if (!on->pcm || on->paused || count == 0)
        return;
    result = snd_pcm_poll_descriptors_revents(on->pcm, fds, (unsigned)count, &events);
    if (result < 0)
        oneloop_alsa_failed(on, result);
    else if (events)
        on->ready(on, events);
}

static inline void oneloop_alsa_gone(void *user) {
    struct oneloop_alsa *on = (struct oneloop_alsa *)user;
    on->gone = 1;
    if (!on->pcm)
        free(on);
}

/* Takes the PCM off the loop, also inside its callback, before snd_pcm_close(). To be called once, before the loop
 * ends or after. */
static inline void oneloop_alsa_detach(struct oneloop_alsa *on) {
    on->pcm = NULL;
    if (on->gone)
        free(on);
    else /* which frees it, in a later turn */
        oneloop_remove_pollset(on->loop, on->id);
}

/* Puts a PCM on a loop. Returns NULL if there is no memory left, or the loop is closed. */
static inline struct oneloop_alsa *
oneloop_alsa_attach(oneloop_t *loop, snd_pcm_t *pcm,
                    void (*ready)(struct oneloop_alsa *on, unsigned short events), void *user) {
    struct oneloop_alsa *on = (struct oneloop_alsa *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->pcm = pcm;
    on->ready = ready;
    on->user = user;
    if (oneloop_add_pollset(loop, oneloop_alsa_list, oneloop_alsa_ready, on, oneloop_alsa_gone,
                            &on->id) < 0) {
        free(on);
        return NULL;
    }
    return on;
}

#endif
