/* What hiredis.c uses of hiredis, by the names of libvalkey. */
#ifndef VALKEY_NAMES_H
#define VALKEY_NAMES_H

#include <valkey/async.h>

#define redisAsyncCommand valkeyAsyncCommand
#define redisAsyncConnect valkeyAsyncConnect
#define redisAsyncConnectUnix valkeyAsyncConnectUnix
#define redisAsyncConnectWithOptions valkeyAsyncConnectWithOptions
#define redisAsyncContext valkeyAsyncContext
#define redisAsyncDisconnect valkeyAsyncDisconnect
#define redisAsyncFree valkeyAsyncFree
#define redisAsyncHandleWrite valkeyAsyncHandleWrite
#define redisAsyncSetConnectCallback valkeyAsyncSetConnectCallback
#define redisAsyncSetDisconnectCallback valkeyAsyncSetDisconnectCallback
#define redisAsyncSetTimeout valkeyAsyncSetTimeout
#define redisDisconnectCallback valkeyDisconnectCallback
#define redisOneloopAttach valkeyOneloopAttach
#define redisOptions valkeyOptions
#define redisReply valkeyReply

#define REDIS_ERR VALKEY_ERR
#define REDIS_ERR_EOF VALKEY_ERR_EOF
#define REDIS_ERR_IO VALKEY_ERR_IO
#define REDIS_ERR_TIMEOUT VALKEY_ERR_TIMEOUT
#define REDIS_OK VALKEY_OK
#define REDIS_OPTIONS_SET_TCP VALKEY_OPTIONS_SET_TCP
#define REDIS_REPLY_ARRAY VALKEY_REPLY_ARRAY
#define REDIS_REPLY_INTEGER VALKEY_REPLY_INTEGER
#define REDIS_REPLY_NIL VALKEY_REPLY_NIL
#define REDIS_REPLY_STATUS VALKEY_REPLY_STATUS
#define REDIS_REPLY_STRING VALKEY_REPLY_STRING

#endif
