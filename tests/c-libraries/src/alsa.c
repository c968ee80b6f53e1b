/* ALSA without a sound card: a PCM that writes what it is given into a file, and one of the test's own that takes it
 * at the pace of a timer. */

#define _GNU_SOURCE
#include "oneloop-alsa.h"

#include <alsa/pcm_external.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "check.h"

#define FRAMES 100000
#define PERIOD 1000

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    snd_pcm_t *pcm;
    struct oneloop_alsa *on;
    snd_pcm_ioplug_t device;
    snd_pcm_uframes_t at; /* where the device is in its buffer */
    int written, calls, waits;
    char path[100];
} t;

static void close_pcm(oneloop_t *loop, void *user) {
    (void)user;
    snd_pcm_close(t.pcm);
    oneloop_stop(loop);
}

static void end(void) {
    oneloop_alsa_detach(t.on);
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, close_pcm, NULL, NULL, NULL) == 0);
}

/* Writes the next numbers, as many as there is room for. */
static void writable(struct oneloop_alsa *on, unsigned short events) {
    int16_t numbers[PERIOD];
    snd_pcm_sframes_t done;
    check_thread(t.thread);
    CHECK(on == t.on && on->user == &t && events & POLLOUT && !on->paused);
    t.calls++;
    for (int i = 0; i < PERIOD; i++)
        numbers[i] = (int16_t)(t.written + i);
    done = snd_pcm_writei(on->pcm, numbers, PERIOD);
    CHECK(done > 0);
    if (done > 0)
        t.written += (int)done;
    if (t.written >= FRAMES)
        end();
}

static void check_file(void) {
    FILE *file = fopen(t.path, "rb");
    int16_t number;
    int count = 0;
    while (file && fread(&number, sizeof number, 1, file) == 1)
        CHECK(number == (int16_t)count++);
    CHECK(count == t.written);
    if (file)
        fclose(file);
    remove(t.path);
}

static int set_up(oneloop_t *loop) {
    CHECK(snd_pcm_set_params(t.pcm, SND_PCM_FORMAT_S16, SND_PCM_ACCESS_RW_INTERLEAVED, 1, 48000, 1,
                             500000) == 0);
    t.loop = loop;
    t.thread = pthread_self();
    t.on = oneloop_alsa_attach(loop, t.pcm, writable, &t);
    CHECK(t.on);
    return failures;
}

int test_alsa_file(oneloop_t *loop) {
    char name[200];
    memset(&t, 0, sizeof t);
    snprintf(t.path, sizeof t.path, "/tmp/oneloop-alsa-%d-%p", getpid(), (void *)&t);
    snprintf(name, sizeof name, "tee:null,'%s',raw", t.path);
    CHECK(snd_pcm_open(&t.pcm, name, SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK) == 0);
    return set_up(loop);
}

/* Once it is stopped, and so closed. */
int alsa_file_is_whole(void) {
    check_file();
    return failures;
}

/* A device with a buffer of four periods. It takes one at each tick of a timer, which is its descriptor. */

static int device_start(snd_pcm_ioplug_t *device) {
    struct itimerspec every = {{0, 1000000}, {0, 1000000}};
    return timerfd_settime(device->poll_fd, 0, &every, NULL);
}

static int device_stop(snd_pcm_ioplug_t *device) {
    struct itimerspec never = {{0, 0}, {0, 0}};
    return timerfd_settime(device->poll_fd, 0, &never, NULL);
}

static snd_pcm_sframes_t device_at(snd_pcm_ioplug_t *device) {
    return (snd_pcm_sframes_t)(t.at % device->buffer_size);
}

static snd_pcm_sframes_t device_takes(snd_pcm_ioplug_t *device, const snd_pcm_channel_area_t *areas,
                                      snd_pcm_uframes_t offset, snd_pcm_uframes_t size) {
    (void)device, (void)areas, (void)offset;
    return (snd_pcm_sframes_t)size;
}

/* Its descriptor is readable when it may be written to, which ALSA translates. */
static int device_shows(snd_pcm_ioplug_t *device, struct pollfd *fds, unsigned int count,
                        unsigned short *events) {
    uint64_t ticks = 0;
    snd_pcm_uframes_t filled = device->appl_ptr - t.at, taken;
    CHECK(count == 1 && fds->fd == device->poll_fd && fds->revents == POLLIN);
    *events = 0;
    if (read(device->poll_fd, &ticks, sizeof ticks) != sizeof ticks)
        return 0;
    /* Never all of it, which would be an underrun. */
    taken = ticks * PERIOD < filled ? ticks * PERIOD : filled > 1 ? filled - 1 : 0;
    t.at += taken;
    t.waits++;
    if (taken)
        *events = POLLOUT;
    return 0;
}

static const snd_pcm_ioplug_callback_t device = {
    .start = device_start,
    .stop = device_stop,
    .pointer = device_at,
    .transfer = device_takes,
    .poll_revents = device_shows,
};

int test_alsa_device(oneloop_t *loop) {
    static const unsigned int accesses[] = {SND_PCM_ACCESS_RW_INTERLEAVED},
                              formats[] = {SND_PCM_FORMAT_S16};
    int16_t silence[4 * PERIOD] = {0};
    snd_pcm_hw_params_t *hardware;
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    t.device.version = SND_PCM_IOPLUG_VERSION;
    t.device.name = "a device of the test";
    t.device.callback = &device;
    t.device.poll_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    t.device.poll_events = POLLIN;
    CHECK(snd_pcm_ioplug_create(&t.device, "test", SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK) == 0);
    snd_pcm_ioplug_set_param_list(&t.device, SND_PCM_IOPLUG_HW_ACCESS, 1, accesses);
    snd_pcm_ioplug_set_param_list(&t.device, SND_PCM_IOPLUG_HW_FORMAT, 1, formats);
    snd_pcm_ioplug_set_param_minmax(&t.device, SND_PCM_IOPLUG_HW_CHANNELS, 1, 1);
    snd_pcm_ioplug_set_param_minmax(&t.device, SND_PCM_IOPLUG_HW_RATE, 48000, 48000);
    t.pcm = t.device.pcm;
    snd_pcm_hw_params_alloca(&hardware);
    snd_pcm_hw_params_any(t.pcm, hardware);
    snd_pcm_hw_params_set_access(t.pcm, hardware, SND_PCM_ACCESS_RW_INTERLEAVED);
    snd_pcm_hw_params_set_format(t.pcm, hardware, SND_PCM_FORMAT_S16);
    snd_pcm_hw_params_set_channels(t.pcm, hardware, 1);
    snd_pcm_hw_params_set_rate(t.pcm, hardware, 48000, 0);
    CHECK(snd_pcm_hw_params_set_period_size(t.pcm, hardware, PERIOD, 0) == 0);
    CHECK(snd_pcm_hw_params_set_buffer_size(t.pcm, hardware, 4 * PERIOD) == 0);
    CHECK(snd_pcm_hw_params(t.pcm, hardware) == 0);
    CHECK(snd_pcm_writei(t.pcm, silence, 4 * PERIOD) == 4 * PERIOD);
    if (snd_pcm_state(t.pcm) != SND_PCM_STATE_RUNNING)
        CHECK(snd_pcm_start(t.pcm) == 0);
    t.on = oneloop_alsa_attach(loop, t.pcm, writable, &t);
    CHECK(t.on);
    return failures;
}

/* The device was waited for, again and again. */
int alsa_device_was_waited_for(void) {
    CHECK(t.waits >= 90 && t.calls >= 90);
    close(t.device.poll_fd);
    return failures;
}

int late_alsa(int loop_last) {
    oneloop_t *loop = oneloop_new();
    snd_pcm_t *pcm;
    struct oneloop_alsa *on;
    CHECK(snd_pcm_open(&pcm, "null", SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK) == 0);
    on = oneloop_alsa_attach(loop, pcm, writable, NULL);
    CHECK(on);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_alsa_detach(on);
    snd_pcm_close(pcm);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
