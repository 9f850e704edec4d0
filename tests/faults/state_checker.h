// Recovers one directory that a power cut could have left by the server's code, and says what is wrong with the
// outcome.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/result.h"
#include "tests/faults/disk_model.h"

namespace holdfast::faults {

// What may be found after a cut, as the marks so far say.
class Allowed {
 public:
  struct Range {
    uint64_t acked = 0, sent = 0;
  };

  void Mark(std::string_view line);
  [[nodiscard]] const std::map<std::string, Range>& histories() const { return histories_; }
  // Of the configuration file; null: nobody wrote one.
  [[nodiscard]] const Range* config() const { return has_config_ ? &config_ : nullptr; }

 private:
  std::map<std::string, Range> histories_;
  Range config_;
  bool has_config_ = false;
};

struct Expected {
  std::map<std::string, std::map<std::string, std::vector<uint64_t>>> digests;  // of each history
  std::map<uint64_t, std::string> configs;                                      // in hex
};

Expected ReadExpected(const std::string& path);

class StateChecker {
 public:
  explicit StateChecker(Expected expected) : expected_(std::move(expected)) {}

  // What needs no recovery.
  [[nodiscard]] Result<void> CheckConfig(const DiskState& state, const Allowed& allowed) const;
  [[nodiscard]] Result<void> CheckDigest(const std::string& digest, const Allowed& allowed) const;

  // Recovers the directory; returns the digest of its data. `thorough`: then everything else, too.
  Result<std::string> Recover(const std::string& path, bool thorough, Random& random) const;

 private:
  const Expected expected_;
};

}  // namespace holdfast::faults
