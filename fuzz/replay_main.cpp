// Runs a fuzz target over files, without a fuzzer: tests/coverage counts what the stored corpora reach.
//
//   <target> DIRECTORY ...
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" {
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// What a fuzzer would bring; there is nothing to mutate here.
size_t LLVMFuzzerMutate(uint8_t*, size_t size, size_t) { return size; }
__attribute__((weak)) int LLVMFuzzerInitialize(int*, char***) { return 0; }
}

int main(int argc, char** argv) {
  LLVMFuzzerInitialize(&argc, &argv);
  size_t inputs = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) continue;  // a target without a stored corpus
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(file), {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      ++inputs;
    }
  }
  std::printf("%zu inputs\n", inputs);
  return 0;
}
