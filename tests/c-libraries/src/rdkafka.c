/* librdkafka with its mock cluster: a producer and a consumer on one loop. */

#include "oneloop-rdkafka.h"

#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define MESSAGES 500

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    rd_kafka_t *producer, *consumer;
    rd_kafka_queue_t *reports, *messages;
    struct oneloop_rdkafka *out, *in;
    int delivered, received, calls;
} t;

static rd_kafka_t *client(rd_kafka_type_t type, const char *const *settings, int events) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[200];
    rd_kafka_t *client;
    for (; *settings; settings += 2)
        CHECK(rd_kafka_conf_set(conf, settings[0], settings[1], text, sizeof text) ==
              RD_KAFKA_CONF_OK);
    rd_kafka_conf_set_events(conf, events);
    client = rd_kafka_new(type, conf, text, sizeof text);
    CHECK(client);
    return client;
}

static void end(oneloop_t *loop, void *user) {
    (void)user;
    rd_kafka_queue_destroy(t.messages);
    rd_kafka_queue_destroy(t.reports);
    rd_kafka_consumer_close(t.consumer);
    rd_kafka_destroy(t.consumer);
    rd_kafka_destroy(t.producer);
    oneloop_stop(loop);
}

static void end_when_all_are_there(void) {
    if (t.delivered < MESSAGES || t.received < MESSAGES)
        return;
    CHECK(t.delivered == MESSAGES && t.received == MESSAGES);
    oneloop_rdkafka_detach(t.in);
    oneloop_rdkafka_detach(t.out);
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, end, NULL, NULL, NULL) == 0);
}

static void reported(struct oneloop_rdkafka *on, rd_kafka_event_t *event) {
    const rd_kafka_message_t *message;
    check_thread(t.thread);
    CHECK(on == t.out);
    if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_DR)
        return;
    while ((message = rd_kafka_event_message_next(event))) {
        CHECK(message->err == RD_KAFKA_RESP_ERR_NO_ERROR);
        t.delivered++;
    }
    end_when_all_are_there();
}

static void fetched(struct oneloop_rdkafka *on, rd_kafka_event_t *event) {
    const rd_kafka_message_t *message;
    check_thread(t.thread);
    CHECK(on == t.in);
    if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_FETCH)
        return;
    while ((message = rd_kafka_event_message_next(event))) {
        CHECK(message->len == sizeof t.received &&
              memcmp(message->payload, &t.received, sizeof t.received) == 0);
        t.received++;
    }
    end_when_all_are_there();
}

int test_rdkafka(oneloop_t *loop) {
    const char *const of_producer[] = {"test.mock.num.brokers", "1", "linger.ms", "1", NULL};
    const char *of_consumer[] = {"bootstrap.servers", NULL, "group.id", "test",
                                 "auto.offset.reset", "earliest", NULL};
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_mock_cluster_t *cluster;
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    t.producer = client(RD_KAFKA_PRODUCER, of_producer, RD_KAFKA_EVENT_DR);
    t.reports = rd_kafka_queue_get_main(t.producer);
    t.out = oneloop_rdkafka_attach(loop, t.reports, reported, NULL);
    CHECK(t.out);

    cluster = rd_kafka_handle_mock_cluster(t.producer);
    CHECK(rd_kafka_mock_topic_create(cluster, "numbers", 1, 1) == RD_KAFKA_RESP_ERR_NO_ERROR);
    of_consumer[1] = rd_kafka_mock_cluster_bootstraps(cluster);
    t.consumer = client(RD_KAFKA_CONSUMER, of_consumer, RD_KAFKA_EVENT_FETCH);
    CHECK(rd_kafka_poll_set_consumer(t.consumer) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_add(partitions, "numbers", 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    CHECK(rd_kafka_assign(t.consumer, partitions) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(partitions);
    t.messages = rd_kafka_queue_get_consumer(t.consumer);
    t.in = oneloop_rdkafka_attach(loop, t.messages, fetched, NULL);
    CHECK(t.in);

    for (int i = 0; i < MESSAGES; i++)
        CHECK(rd_kafka_producev(t.producer, RD_KAFKA_V_TOPIC("numbers"), RD_KAFKA_V_PARTITION(0),
                                RD_KAFKA_V_VALUE(&i, sizeof i),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
    return failures;
}

/* Without a function for events, librdkafka calls its own callbacks. */

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *user) {
    (void)producer, (void)user;
    check_thread(t.thread);
    CHECK(message->err == RD_KAFKA_RESP_ERR_NO_ERROR);
    if (++t.delivered == MESSAGES) {
        oneloop_rdkafka_detach(t.out);
        oneloop_stop(t.loop);
    }
}

int test_rdkafka_callbacks(oneloop_t *loop) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", NULL, 0);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    t.producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    t.reports = rd_kafka_queue_get_main(t.producer);
    for (int i = 0; i < MESSAGES; i++)
        CHECK(rd_kafka_producev(t.producer, RD_KAFKA_V_TOPIC("numbers"),
                                RD_KAFKA_V_VALUE(&i, sizeof i),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
    /* There is something in the queue before the loop has it. */
    while (rd_kafka_queue_length(t.reports) == 0)
        ;
    t.out = oneloop_rdkafka_attach(loop, t.reports, NULL, NULL);
    CHECK(t.out);
    return failures;
}

void rdkafka_callbacks_end(void) {
    rd_kafka_queue_destroy(t.reports);
    rd_kafka_destroy(t.producer);
}

int late_rdkafka(int loop_last) {
    oneloop_t *loop = oneloop_new();
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, NULL, 0);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer);
    struct oneloop_rdkafka *on = oneloop_rdkafka_attach(loop, queue, reported, NULL);
    CHECK(on);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_rdkafka_detach(on);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(producer);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
