/* libcurl against a server on the same loop: see http.rs of the C tests for what its paths are. */

#include "oneloop-curl.h"

#include <pthread.h>
#include <string.h>

#include "check.h"

#define MS 1000000LL
#define DOWNLOADS 200
#define UPLOAD 500000

/* One transfer. */
struct get {
    size_t seed, received, sent, wrong;
    int callbacks, pauses;
    char text[20];
};

static _Thread_local struct {
    char root[100];
    oneloop_t *loop;
    pthread_t thread;
    CURLM *multi;
    struct oneloop_curl *curl;
    int left, done;
    CURLcode wanted;
    CURL *paused;
    oneloop_id timer;
} t;

/* Where the server is. */
void curl_test_server(const char *root) {
    memset(&t, 0, sizeof t);
    strncpy(t.root, root, sizeof t.root - 1);
}

static void here(void) { check_thread(t.thread); }

static unsigned char byte(size_t seed, size_t position) {
    return (unsigned char)((seed * 31) ^ (position * 7) ^ (position >> 8));
}

static void begin(oneloop_t *loop,
                  void (*done)(struct oneloop_curl *, CURL *, CURLcode, void *)) {
    t.loop = loop;
    t.thread = pthread_self();
    t.multi = curl_multi_init();
    t.curl = oneloop_curl_attach(loop, t.multi, done, &t);
    CHECK(t.curl);
}

static void finish(void) {
    oneloop_curl_detach(t.curl);
    CHECK(curl_multi_cleanup(t.multi) == CURLM_OK);
    oneloop_stop(t.loop);
}

static size_t received(char *data, size_t one, size_t count, void *user) {
    struct get *get = (struct get *)user;
    (void)one;
    here();
    for (size_t n = 0; n < count; n++, get->received++) {
        if (get->received < sizeof get->text)
            get->text[get->received] = data[n];
        get->wrong += (unsigned char)data[n] != byte(get->seed, get->received);
    }
    return count;
}

static CURL *get(const char *word, size_t number) {
    char url[150];
    CURL *easy = curl_easy_init();
    struct get *get = (struct get *)calloc(1, sizeof *get);
    get->seed = number;
    snprintf(url, sizeof url, "%s/%s/%zu", t.root, word, number);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, get);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, received);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Over HTTP/2, rather wait for a stream than open another connection. */
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, strncmp(t.root, "https", 5) ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L); /* no authority has signed it */
    t.left++;
    return easy;
}

static void start(CURL *easy) { CHECK(curl_multi_add_handle(t.multi, easy) == CURLM_OK); }

/* Takes the data that a finished handle has received. */
static struct get take(CURL *easy) {
    struct get *of, result;
    here();
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&of);
    result = *of;
    free(of);
    curl_easy_cleanup(easy);
    t.left--;
    t.done++;
    return result;
}

static void downloaded(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    struct get got = take(easy);
    (void)curl;
    CHECK(user == &t);
    CHECK(result == CURLE_OK);
    CHECK(got.received == got.seed && got.wrong == 0);
    if (t.left == 0) {
        CHECK(t.done == DOWNLOADS);
        finish();
    }
}

int test_curl_downloads(oneloop_t *loop) {
    begin(loop, downloaded);
    curl_multi_setopt(t.multi, CURLMOPT_MAX_HOST_CONNECTIONS, 50L);
    for (size_t n = 0; n < DOWNLOADS; n++)
        start(get("bytes", n * n * 8));
    return check_failures();
}

static void next(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    struct get got = take(easy);
    (void)curl, (void)user;
    CHECK(result == CURLE_OK);
    CHECK(got.received == got.seed && got.wrong == 0);
    if (got.seed == 0)
        return finish();
    start(get("bytes", got.seed - 1));
}

/* Each begins the next, on the same connection. */
int test_curl_one_after_another(oneloop_t *loop) {
    begin(loop, next);
    start(get("bytes", 40));
    return check_failures();
}

static void failed(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    struct get got = take(easy);
    (void)curl, (void)user;
    CHECK(got.wrong == 0);
    CHECK(result == CURLE_OK ? got.received == got.seed
          : result == CURLE_PARTIAL_FILE ? got.received > 0
                                         : result == CURLE_OPERATION_TIMEDOUT ||
                                               result == CURLE_COULDNT_CONNECT);
    t.done += 100 * (result != CURLE_OK);
    if (t.left == 0) {
        CHECK(t.done == 7 * 101 + 7);
        finish();
    }
}

/* A server that dies, one that never answers, one that does not listen, a slow one and a good one. */
int test_curl_failures(oneloop_t *loop) {
    CURL *easy;
    struct get *of;
    begin(loop, failed);
    for (int n = 0; n < 3; n++) {
        start(get("dies", 50000));
        start(get("bytes", 50000));
        start(get("slow", 100));
        easy = get("never", 0);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10L + 20 * n);
        start(easy);
    }
    easy = get("bytes", 10);
    curl_easy_setopt(easy, CURLOPT_URL, "http://127.0.0.1:1/");
    start(easy);
    easy = get("redirect", 5);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&of);
    of->seed = 1000;
    start(easy);
    return check_failures();
}

static size_t sent(char *data, size_t one, size_t count, void *user) {
    struct get *get = (struct get *)user;
    size_t length = UPLOAD - get->sent < one * count ? UPLOAD - get->sent : one * count;
    here();
    if (++get->callbacks % 3 == 0) {
        get->pauses++;
        return CURL_READFUNC_PAUSE;
    }
    for (size_t n = 0; n < length; n++, get->sent++)
        data[n] = (char)byte(get->seed, get->sent);
    return length;
}

static void unpause(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    /* It may write at once, so this is as entering libcurl by any other door. */
    curl_easy_pause(t.paused, CURLPAUSE_CONT);
}

static void uploaded(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    (void)curl, (void)user;
    CHECK(oneloop_cancel_timer(t.loop, t.timer) == 0);
    struct get got = take(easy);
    CHECK(result == CURLE_OK);
    CHECK(got.sent == UPLOAD && got.pauses > 1);
    CHECK(got.received == 11 && memcmp(got.text, "500000 true", 11) == 0);
    finish();
}

/* Paused by its callback again and again, and unpaused by a timer. */
int test_curl_upload_with_pauses(oneloop_t *loop) {
    struct get *of;
    begin(loop, uploaded);
    t.paused = get("upload", UPLOAD);
    curl_easy_getinfo(t.paused, CURLINFO_PRIVATE, (char **)&of);
    curl_easy_setopt(t.paused, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(t.paused, CURLOPT_INFILESIZE, (long)UPLOAD);
    curl_easy_setopt(t.paused, CURLOPT_READDATA, of);
    curl_easy_setopt(t.paused, CURLOPT_READFUNCTION, sent);
    start(t.paused);
    CHECK(oneloop_add_timer(loop, MS, MS, unpause, NULL, NULL, &t.timer) == 0);
    return check_failures();
}

static CURL *others[3];

static void ended_inside(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    (void)user;
    CHECK(result == CURLE_OK);
    take(easy);
    oneloop_curl_detach(curl);
    for (int n = 0; n < 3; n++) {
        CHECK(curl_multi_remove_handle(t.multi, others[n]) == CURLM_OK);
        take(others[n]);
    }
    CHECK(curl_multi_cleanup(t.multi) == CURLM_OK);
    oneloop_stop(t.loop);
}

/* The first that is done ends it all, and others are under way. */
int test_curl_ended_inside(oneloop_t *loop) {
    begin(loop, ended_inside);
    for (int n = 0; n < 3; n++)
        start(others[n] = get("never", 0));
    start(get("slow", 20));
    return check_failures();
}

/* A connection that is the program's: it stays open until its handle is taken out of the multi handle. */

static int answered(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *easy) {
    char text[500];
    size_t length = 0;
    (void)loop, (void)id, (void)fd, (void)ready;
    here();
    CURLcode result = curl_easy_recv(easy, text, sizeof text, &length);
    if (result == CURLE_AGAIN)
        return ONELOOP_CONTINUE;
    CHECK(result == CURLE_OK && length > 12 && memcmp(text, "HTTP/1.1 200", 12) == 0);
    CHECK(curl_multi_remove_handle(t.multi, easy) == CURLM_OK);
    curl_easy_cleanup(easy);
    finish();
    return ONELOOP_REMOVE;
}

static void connect_only_done(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    static const char request[] = "GET /bytes/1 HTTP/1.1\r\nhost: a\r\n\r\n";
    curl_socket_t socket = CURL_SOCKET_BAD;
    size_t length = 0;
    (void)user;
    here();
    CHECK(result == CURLE_OK);
    /* The first is not kept. */
    if (t.done++ == 0) {
        CHECK(curl_easy_send(easy, "x", 1, &length) != CURLE_OK);
        CHECK(oneloop_curl_keep(curl, easy));
        start(easy);
        return;
    }
    CHECK(curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &socket) == CURLE_OK);
    CHECK(socket != CURL_SOCKET_BAD);
    CHECK(curl_easy_send(easy, request, sizeof request - 1, &length) == CURLE_OK);
    CHECK(oneloop_add_handler(t.loop, socket, ONELOOP_READABLE, ONELOOP_LEVEL, answered, easy, NULL,
                              NULL) == 0);
}

int test_curl_connect_only(oneloop_t *loop) {
    CURL *easy = curl_easy_init();
    begin(loop, connect_only_done);
    curl_easy_setopt(easy, CURLOPT_URL, t.root);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    start(easy);
    return failures;
}
