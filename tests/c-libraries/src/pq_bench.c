/* Parameterised queries by libpq in pipeline mode, in rounds: each is sent when the one before is answered. */

#include "oneloop-libpq.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pq_work {
    oneloop_t *loop;
    struct oneloop_pg *pg;
    int rounds, depth, answered;
    bool prepared, failed;
};

static void pq_send_round(struct pq_work *work) {
    PGconn *conn = work->pg->conn;
    static const int lengths[] = {4}, formats[] = {1};
    static const Oid types[] = {23}; /* int4 */
    for (int n = 0; n < work->depth; n++) {
        uint32_t number = htonl((uint32_t)n);
        const char *values[] = {(const char *)&number};
        int sent = work->prepared
                       ? PQsendQueryPrepared(conn, "one", 1, values, lengths, formats, 1)
                       : PQsendQueryParams(conn, "SELECT $1::int4", 1, types, values, lengths,
                                           formats, 1);
        work->failed |= sent != 1;
    }
    work->answered = 0;
    work->failed |= PQpipelineSync(conn) != 1;
}

static void pq_got(struct oneloop_pg *pg, PGresult *result) {
    struct pq_work *work = pg->user;
    if (!result)
        return;
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK: {
        uint32_t number;
        memcpy(&number, PQgetvalue(result, 0, 0), sizeof number);
        work->failed |= (int)ntohl(number) != work->answered++;
        break;
    }
    case PGRES_PIPELINE_SYNC:
        work->failed |= work->answered != work->depth;
        if (--work->rounds > 0)
            pq_send_round(work);
        else
            oneloop_stop(work->loop);
        break;
    default:
        fprintf(stderr, "%s", PQresultErrorMessage(result));
        work->failed = true;
        oneloop_stop(work->loop);
    }
    PQclear(result);
}

static void pq_connected(struct oneloop_pg *pg, int ok) {
    struct pq_work *work = pg->user;
    if (!ok) {
        work->failed = true;
        oneloop_stop(work->loop);
        return;
    }
    pg->result = pq_got;
    if (work->prepared)
        PQclear(PQprepare(pg->conn, "one", "SELECT $1::int4", 0, NULL));
    work->failed |= PQenterPipelineMode(pg->conn) != 1;
    pq_send_round(work);
}

/* Begins. The loop is stopped when it is over. */
struct pq_work *pq_bench_begin(oneloop_t *loop, const char *conninfo, int rounds, int depth,
                               bool prepared) {
    struct pq_work *work = calloc(1, sizeof *work);
    work->loop = loop;
    work->rounds = rounds;
    work->depth = depth;
    work->prepared = prepared;
    work->pg = oneloop_pg_connect(loop, conninfo, ONELOOP_NEVER, pq_connected, work);
    return work;
}

/* Returns true if all was answered. */
bool pq_bench_end(struct pq_work *work) {
    bool failed = work->failed;
    oneloop_pg_close(work->pg);
    free(work);
    return !failed;
}
