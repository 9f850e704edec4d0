// What the file call recorder (file_faults.cpp) and the scenarios (scenarios.py) write and crash_states reads: one
// file, one record after the other, each appended by a single write, so that their order is the order of cause and
// effect over all threads and processes.
//
//   TraceRecord | path | second path | data
//
// All numbers little-endian as the machine has them: a trace is read where it was written.
#pragma once

#include <cstdint>

namespace holdfast::faults {

enum class TraceKind : uint32_t {
  kRoot = 1,      // path: the directory that is recorded; inode. Empty when recording begins, and durable.
  kCreate = 2,    // after: path, inode of a new file
  kWrite = 3,     // before: inode, position, size; data, or none with kZeros
  kTruncate = 4,  // before: inode, position: the new size
  kSyncBegin = 5,
  kSyncEnd = 6,         // after: inode of a file or directory; token: the number of the thread's last kSyncBegin
  kWriteDurable = 7,    // after a write through a descriptor with O_DSYNC: inode, token: of the kWrite before
  kRename = 8,          // after: path to second path
  kRemove = 9,          // after: path of a file or a directory
  kMakeDirectory = 10,  // after: path, inode
  kLink = 11,           // after: path, second path is the new name
  kMark = 12,           // data: a line of the scenario
};

inline constexpr uint32_t kTraceMagic = 0x48465452;
inline constexpr uint32_t kZeros = 1;  // flags: the data are zeros and are not there

struct TraceRecord {
  uint32_t magic = kTraceMagic;
  TraceKind kind = TraceKind::kMark;
  uint32_t flags = 0;
  uint32_t path_size = 0;
  uint32_t second_path_size = 0;
  uint32_t reserved = 0;
  uint64_t inode = 0;
  uint64_t position = 0;
  uint64_t size = 0;       // of a write
  uint64_t data_size = 0;  // in the trace
  uint64_t token = 0;      // pairs begin and end; unique within the trace
};
static_assert(sizeof(TraceRecord) == 64);

}  // namespace holdfast::faults
