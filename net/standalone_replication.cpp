#include "net/standalone_replication.h"

#include <fmt/format.h>

#include "net/reply.h"
#include "net/server.h"

namespace holdfast::net {

namespace {
constexpr const char* kNoReplication = "replication is not available in this process";
}  // namespace

Result<void> StandaloneReplication::Follow(const std::string&, int) {
  return Error{ErrorCode::kUnsupported, kNoReplication};
}

void StandaloneReplication::HandleReplconf(Client&, std::span<const std::string_view>, Reply& reply) { reply.Ok(); }

void StandaloneReplication::HandlePsync(Client&, std::span<const std::string_view>, Reply& reply) {
  reply.Error(std::string("NOMASTERLINK ") + kNoReplication);
}

Result<std::shared_ptr<const ReplicationService::ComparisonResult>> StandaloneReplication::StartComparison(int64_t) {
  return Error{ErrorCode::kUnsupported, kNoReplication};
}

void StandaloneReplication::AnswerDigest(std::string_view, std::span<const std::string_view>, Reply& reply) {
  reply.Error(std::string("ERR ") + kNoReplication);
}

Result<void> StandaloneReplication::Resync() { return Error{ErrorCode::kUnsupported, kNoReplication}; }

void StandaloneReplication::WriteMembers(Reply& reply) const { reply.Array(0); }

Result<void> StandaloneReplication::SetMembers(std::span<const std::string_view>) {
  return Error{ErrorCode::kUnsupported, kNoReplication};
}

void StandaloneReplication::HandlePromise(Client&, const PromiseQuestion&, Reply& reply) {
  reply.Error(std::string("ERR ") + kNoReplication);
}

void StandaloneReplication::WriteRole(Reply& reply) const {
  reply.Array(3);
  reply.Bulk("master");
  reply.Integer(static_cast<int64_t>(server_.log().AppendedOffset()));
  reply.Array(0);
}

void StandaloneReplication::AppendInfo(std::string& to) const {
  fmt::format_to(std::back_inserter(to), "role:master\r\nconnected_slaves:0\r\nmaster_repl_offset:{}\r\n",
                 server_.log().AppendedOffset());
}

}  // namespace holdfast::net
