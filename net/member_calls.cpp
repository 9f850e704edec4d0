#include "net/member_calls.h"

#include <string_view>
#include <utility>

#include "net/target_socket.h"
#include "storage/effects/effect_codec.h"

namespace holdfast::net {

void MemberCalls::Start(Call call, std::function<void(Result<std::string>)> done) {
  std::erase_if(jobs_, [](const std::unique_ptr<Job>& job) {
    if (!job->over.load(std::memory_order_acquire)) return false;
    job->thread.join();
    return true;
  });
  auto job = std::make_unique<Job>();
  Job& mine = *job;
  jobs_.push_back(std::move(job));
  mine.thread = std::thread([this, &mine, call = std::move(call), done = std::move(done)] {
    Result<std::string> answer = Run(call);
    if (!stopping_.load(std::memory_order_relaxed)) done(std::move(answer));
    mine.over.store(true, std::memory_order_release);
  });
}

Result<std::string> MemberCalls::Run(const Call& call) {
  const Error silent{ErrorCode::kIo, "no answer in time"};
  TargetSocket socket(clock_, stopping_, call.timeout_ms);
  if (!socket.Connect(call.host, call.port)) {
    return Error{ErrorCode::kIo, socket.refused() ? "nobody listens there" : "it cannot be reached"};
  }
  const auto send = [&socket](const std::vector<std::string_view>& words) {
    std::string bytes;
    AppendEffect(bytes, words);
    return socket.Write(bytes);
  };
  if (!call.password.empty()) {
    const bool sent = call.user.empty() ? send({"AUTH", call.password}) : send({"AUTH", call.user, call.password});
    if (!sent) return silent;
    const auto line = socket.ReadLine();
    if (!line) return silent;
    if (line->starts_with('-')) return Error{ErrorCode::kIo, "it refuses masterauth/masteruser: " + line->substr(1)};
  }
  if (!send({call.words.begin(), call.words.end()})) return silent;
  auto line = socket.ReadLine();
  if (!line) return silent;
  return *std::move(line);
}

void MemberCalls::Stop() {
  stopping_ = true;
  for (const auto& job : jobs_) job->thread.join();
  jobs_.clear();
}

}  // namespace holdfast::net
