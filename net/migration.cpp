#include "net/migration.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "storage/effects/effect_codec.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

constexpr size_t kReplyLineMax = 64 * 1024;
constexpr std::string_view kWriteError = "IOERR error or timeout writing to target instance";
constexpr int64_t kLookMs = 50;  // how often a waiting thread looks whether it is to stop

// A blocking connection with a time limit for each step. Not asio: one thread does one thing after the other.
class TargetSocket {
 public:
  TargetSocket(Clock& clock, const std::atomic<bool>& stopping, int64_t timeout_ms)
      : clock_(clock), stopping_(stopping), timeout_ms_(timeout_ms) {}
  ~TargetSocket() { Close(); }
  TargetSocket(const TargetSocket&) = delete;
  TargetSocket& operator=(const TargetSocket&) = delete;

  bool Connect(const std::string& host, int port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
    for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
      if (ConnectTo(*address)) return true;
      Close();
    }
    return false;
  }

  // The target, or its machine, has answered that nobody listens there.
  [[nodiscard]] bool refused() const { return refused_; }

  bool Write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (!Wait(POLLOUT)) return false;
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // One line without its end. Replies to what is sent here are all of one line.
  std::optional<std::string> ReadLine() {
    while (true) {
      const size_t end = buffer_.find("\r\n");
      if (end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 2);
        return line;
      }
      char bytes[4096];
      if (buffer_.size() > kReplyLineMax || !Wait(POLLIN)) return std::nullopt;
      const ssize_t count = ::recv(fd_, bytes, sizeof(bytes), 0);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return std::nullopt;
      if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
    }
  }

 private:
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  bool ConnectTo(const addrinfo& address) {
    refused_ = false;
    fd_ = ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
    if (fd_ < 0) return false;
    if (::connect(fd_, address.ai_addr, address.ai_addrlen) == 0) return true;
    if (errno != EINPROGRESS || !Wait(POLLOUT)) return false;
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) refused_ = true;
    return !refused_;
  }

  bool Wait(short events) {
    const int64_t deadline_us = clock_.MonotonicUs() + timeout_ms_ * 1000;
    while (!stopping_.load(std::memory_order_relaxed)) {
      const int64_t left_ms = (deadline_us - clock_.MonotonicUs() + 999) / 1000;
      if (left_ms <= 0) return false;
      pollfd waited{fd_, events, 0};
      const int ready = ::poll(&waited, 1, static_cast<int>(std::min(left_ms, kLookMs)));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

  Clock& clock_;
  const std::atomic<bool>& stopping_;
  const int64_t timeout_ms_;
  int fd_ = -1;
  bool refused_ = false;
  std::string buffer_;
};

class Migration {
 public:
  Migration(Clock& clock, const std::atomic<bool>& stopping, const MigrationTarget& target,
            std::vector<MigratedValue> values)
      : clock_(clock), target_(target), socket_(clock, stopping, target.timeout_ms), values_(std::move(values)) {}

  MigrationResult Run() {
    if (!socket_.Connect(target_.host, target_.port)) {
      // Redis notices a refusal when it writes.
      Fail(socket_.refused() ? kWriteError : "IOERR error or timeout connecting to the client");
    } else if (!Send()) {
      // What has arrived nobody knows: it stays here, and may be there as well.
      Fail(kWriteError);
    } else if (!Receive()) {
      Fail("IOERR error or timeout reading from target instance");
    }
    return {std::move(values_), std::move(error_)};
  }

 private:
  void Fail(std::string_view error) {
    if (error_.empty()) error_ = error;
  }

  bool Command(std::initializer_list<std::string_view> words) {
    std::string bytes;
    AppendEffect(bytes, {words.begin(), words.size()});
    return socket_.Write(bytes);
  }

  bool Send() {
    if (target_.user && !Command({"AUTH", *target_.user, *target_.password})) return false;
    if (!target_.user && target_.password && !Command({"AUTH", *target_.password})) return false;
    if (!Command({"SELECT", FormatInteger(target_.db)})) return false;
    return std::all_of(values_.begin(), values_.end(), [this](const MigratedValue& value) {
      // Relative, as Redis sends it: the two clocks need not agree.
      int64_t left_ms = 0;
      if (value.expire_at_ms != kNoExpiry) left_ms = std::max<int64_t>(1, value.expire_at_ms - clock_.WallMs());
      const std::string left = FormatInteger(left_ms);
      return target_.replace ? Command({"RESTORE", value.key, left, value.payload, "REPLACE"})
                             : Command({"RESTORE", value.key, left, value.payload});
    });
  }

  // Notes an error of the target; the first one is the one to tell.
  bool Accepted(const std::string& line) {
    if (!line.starts_with('-')) return true;
    Fail("ERR Target instance replied with error: " + line.substr(1));
    return false;
  }

  bool Receive() {
    bool admitted = true;
    for (int i = target_.password ? 0 : 1; i < 2; ++i) {
      const auto line = socket_.ReadLine();
      if (!line) return false;
      admitted = Accepted(*line) && admitted;
    }
    for (MigratedValue& value : values_) {
      const auto line = socket_.ReadLine();
      if (!line) return false;
      value.arrived = Accepted(*line) && admitted;
    }
    return true;
  }

  Clock& clock_;
  const MigrationTarget& target_;
  TargetSocket socket_;
  std::vector<MigratedValue> values_;
  std::string error_;
};

}  // namespace

void Migrations::Start(MigrationTarget target, std::vector<MigratedValue> values,
                       std::function<void(MigrationResult)> done) {
  auto job = std::make_unique<Job>();
  Job& mine = *job;
  jobs_.push_back(std::move(job));
  mine.thread = std::thread(
      [this, &mine, target = std::move(target), values = std::move(values), done = std::move(done)]() mutable {
        MigrationResult result = Migration(clock_, stopping_, target, std::move(values)).Run();
        if (!stopping_.load(std::memory_order_relaxed)) done(std::move(result));
        mine.over.store(true, std::memory_order_release);
      });
}

std::unique_ptr<Migrations::Place> Migrations::TakePlace() {
  std::erase_if(jobs_, [](const std::unique_ptr<Job>& job) {
    const bool over = job->over.load(std::memory_order_acquire);
    if (over) job->thread.join();
    return over;
  });
  if (*taken_ >= kMigrationsMax) return nullptr;
  return std::make_unique<Place>(taken_);
}

void Migrations::Stop() {
  stopping_ = true;
  for (const auto& job : jobs_) job->thread.join();
  jobs_.clear();
}

}  // namespace holdfast::net
