// Runs seeds by hand: simulate [--from N] [--seeds N] [--trace] [--rivals: all of that kind]. Exit code 1: a seed
// failed; its number is printed, and
// --from N --seeds 1 --trace replays it.
#include <fmt/format.h>
#include <malloc.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "tests/simulation/run.h"

namespace {

struct Arguments {
  uint64_t from = 1, seeds = 1000;
  bool trace = false, keep_going = false, rivals = false;
};

bool Parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--trace") {
      arguments.trace = true;
    } else if (name == "--rivals") {
      arguments.rivals = true;
    } else if (name == "--keep-going") {
      arguments.keep_going = true;
    } else if ((name == "--from" || name == "--seeds") && i + 1 < argc) {
      uint64_t& value = name == "--from" ? arguments.from : arguments.seeds;
      const std::string_view text = argv[++i];
      const char* end = text.data() + text.size();
      if (std::from_chars(text.data(), end, value).ptr != end) return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  // Memory that was had once stays: giving it back after each seed costs a fifteenth of the time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) {
    fmt::print(stderr, "usage: simulate [--from N] [--seeds N] [--keep-going] [--trace] [--rivals]\n");
    return 1;
  }
  holdfast::simulation::World::Counts sum;
  int64_t simulated_ms = 0;
  uint64_t failed = 0;
  for (uint64_t seed = arguments.from; seed < arguments.from + arguments.seeds; ++seed) {
    holdfast::simulation::Profile profile = holdfast::simulation::ProfileOf(seed);
    if (arguments.rivals) {
      holdfast::SeededRandom random(seed);
      holdfast::simulation::MakeRivals(profile, random);
    }
    const auto report = holdfast::simulation::RunSeed(seed, profile, arguments.trace);
    simulated_ms += report.simulated_ms;
    sum.Add(report.counts);
    if (seed % 1000 == 0) fmt::print(stderr, "up to seed {}: {} failed\n", seed, failed);
    if (!report.violation.empty()) {
      ++failed;
      fmt::print("seed {}: {}\n", seed, report.violation);
      std::fflush(stdout);
      if (!arguments.keep_going) break;
    }
  }
  fmt::print("{} seeds failed; {:.1f} simulated hours: {}\n", failed, static_cast<double>(simulated_ms) / 3'600'000,
             sum.Describe());
  return failed == 0 ? 0 : 1;
}
