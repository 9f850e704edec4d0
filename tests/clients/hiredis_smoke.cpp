// An application written against hiredis, as small as can be: each type, a transaction, a blocking pop and a message.
// usage: hiredis_smoke <port>; run by tests/system/clients_test.py. Says what went wrong and exits with 1.
#include <hiredis/hiredis.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

namespace {

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Context = std::unique_ptr<redisContext, Free>;
using Reply = std::unique_ptr<redisReply, Free>;

std::string Text(const redisReply* reply) {
  if (reply == nullptr) return "no reply";
  switch (reply->type) {
    case REDIS_REPLY_INTEGER:
      return std::to_string(reply->integer);
    case REDIS_REPLY_NIL:
      return "nil";
    case REDIS_REPLY_ARRAY: {
      std::string text = "[";
      for (size_t i = 0; i < reply->elements; ++i) text += (i > 0 ? " " : "") + Text(reply->element[i]);
      return text + "]";
    }
    default:
      return {reply->str, reply->len};
  }
}

class Application {
 public:
  explicit Application(int port) : context_(redisConnect("127.0.0.1", port)) {
    if (!context_ || context_->err != 0) Fail("connect", context_ ? context_->errstr : "out of memory", "");
  }

  template <typename... Words>
  void Expect(const std::string& wanted, const char* command, Words... words) {
    const Reply reply(static_cast<redisReply*>(redisCommand(context_.get(), command, words...)));
    if (Text(reply.get()) != wanted) Fail(command, Text(reply.get()), wanted);
  }

  // What the server sends without being asked.
  void ExpectNext(const std::string& wanted) {
    void* next = nullptr;
    if (redisGetReply(context_.get(), &next) != REDIS_OK) Fail("read", context_->errstr, wanted);
    const Reply reply(static_cast<redisReply*>(next));
    if (Text(reply.get()) != wanted) Fail("read", Text(reply.get()), wanted);
  }

  void Append(const char* command) {
    redisAppendCommand(context_.get(), command);
    int done = 0;
    while (done == 0 && redisBufferWrite(context_.get(), &done) == REDIS_OK) {
    }
  }

 private:
  [[noreturn]] static void Fail(const std::string& command, const std::string& got, const std::string& wanted) {
    std::cerr << command << ": got '" << got << "', wanted '" << wanted << "'\n";
    std::exit(1);
  }

  Context context_;
};

void Types(Application& one) {
  const std::string binary("\0\r\n\xff", 4);
  one.Expect("OK", "SET hi:string %b", binary.data(), binary.size());
  one.Expect(binary, "GET hi:string");
  one.Expect("3", "RPUSH hi:list a b c");
  one.Expect("[b c]", "LRANGE hi:list 1 -1");
  one.Expect("2", "HSET hi:hash f 1 g 2");
  one.Expect("[1 2 nil]", "HMGET hi:hash f g none");
  one.Expect("1", "SADD hi:set m");
  one.Expect("1", "SISMEMBER hi:set m");
  one.Expect("2", "ZADD hi:zset 1.5 a 2 b");
  one.Expect("[a 1.5]", "ZRANGE hi:zset 0 0 WITHSCORES");
  one.Expect("1", "PFADD hi:log a b c");
  one.Expect("3", "PFCOUNT hi:log");
  one.Expect("1", "GEOADD hi:geo 13.361389 38.115556 Palermo");
  one.Expect("[Palermo]", "GEOSEARCH hi:geo FROMLONLAT 13 38 BYRADIUS 100 km");
  one.Expect("[c b a]", "SORT hi:list ALPHA DESC");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: hiredis_smoke <port>\n";
    return 1;
  }
  const int port = std::atoi(argv[1]);
  Application one(port);
  Application other(port);
  Types(one);
  one.Expect("OK", "MULTI");
  one.Expect("QUEUED", "INCR hi:counter");
  one.Expect("QUEUED", "LPOP hi:list");
  one.Expect("[1 a]", "EXEC");
  for (int i = 0; i < 100; ++i) one.Append("INCR hi:counter");
  for (int i = 0; i < 100; ++i) one.ExpectNext(std::to_string(i + 2));
  one.Expect("[subscribe hi:channel 1]", "SUBSCRIBE hi:channel");
  other.Expect("1", "PUBLISH hi:channel hello");
  one.ExpectNext("[message hi:channel hello]");
  one.Expect("[unsubscribe hi:channel 0]", "UNSUBSCRIBE hi:channel");
  one.Append("BLPOP hi:queue 10");
  other.Expect("PONG", "PING");
  other.Expect("1", "RPUSH hi:queue job");
  one.ExpectNext("[hi:queue job]");
  return 0;
}
