// Numbers of the RDB format, shared by reader and writer. docs/formats-rdb.md says what they mean and which are read
// and written. The format is Redis'; the numbers are those of its documentation and sources (versions to 8.x) and of
// Valkey's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::rdb {

inline constexpr int kVersionWritten = 10;       // Redis 7.0 and later, Valkey
inline constexpr int kVersionWrittenOld = 9;     // Redis 5.0 to 6.2
inline constexpr int kVersionRedisMax = 15;      // newest of Redis that is read
inline constexpr int kVersionValkeyMin = 80;     // Valkey counts from here on, and says VALKEY
inline constexpr int kVersionValkeyMax = 81;     // newest of Valkey that is read
inline constexpr int kVersionChecksumSince = 5;  // a checksum follows the end
inline constexpr size_t kHeaderSize = 9;         // "REDIS" and four digits, or "VALKEY" and three

// What a byte before a key means.
enum class Opcode : uint8_t {
  kSlotInfo = 244,       // slot, keys, keys with expiry: lengths
  kFunction = 245,       // library code
  kFunctionPreGa = 246,  // a form of it that only release candidates of 7.0 wrote
  kModuleAux = 247,
  kIdle = 248,           // length: seconds
  kFreq = 249,           // byte
  kAux = 250,            // name, value
  kResizeDb = 251,       // keys, keys with expiry: lengths
  kExpireMs = 252,       // i64 LE
  kExpireSeconds = 253,  // i32 LE
  kSelectDb = 254,       // length
  kEnd = 255,
};

// Types of values: how the bytes after the key are to be read.
enum class Type : uint8_t {
  kString = 0,
  kList = 1,
  kSet = 2,
  kZset = 3,  // scores as text
  kHash = 4,
  kZset2 = 5,
  kModulePreGa = 6,
  kModule = 7,
  kHashZipmap = 9,
  kListZiplist = 10,
  kSetIntset = 11,
  kZsetZiplist = 12,
  kHashZiplist = 13,
  kListQuicklist = 14,
  kStream = 15,
  kHashListpack = 16,
  kZsetListpack = 17,
  kListQuicklist2 = 18,
  kStream2 = 19,
  kSetListpack = 20,
  kStream3 = 21,
  // From here on Redis and Valkey go different ways: these are Redis'.
  kHashTtlPreGa = 22,
  kHashListpackTtlPreGa = 23,
  kHashTtl = 24,
  kHashListpackTtl = 25,
  kStream4 = 26,
  kStream5 = 27,
};
inline constexpr uint8_t kTypeValkeyHashTtl = 22;

// The newest type that the reader of version kVersionWritten knows.
inline constexpr uint8_t kTypeWrittenMax = static_cast<uint8_t>(Type::kStream2);

// Length: the first two bits say how it goes on.
inline constexpr uint8_t kLength6 = 0;     // the other six bits
inline constexpr uint8_t kLength14 = 1;    // and the next byte
inline constexpr uint8_t kLengthLong = 2;  // kLength32 or kLength64 as a whole
inline constexpr uint8_t kLengthEncoded = 3;
inline constexpr uint8_t kLength32 = 0x80;  // u32 BE follows
inline constexpr uint8_t kLength64 = 0x81;  // u64 BE follows

// Strings whose length is "encoded".
inline constexpr uint8_t kEncodedInt8 = 0;
inline constexpr uint8_t kEncodedInt16 = 1;
inline constexpr uint8_t kEncodedInt32 = 2;
inline constexpr uint8_t kEncodedLzf = 3;  // compressed length, raw length, bytes

// Scores as text: their length, or one of these.
inline constexpr uint8_t kScoreNan = 253;
inline constexpr uint8_t kScoreInfinity = 254;
inline constexpr uint8_t kScoreMinusInfinity = 255;

// What stands before a node of kListQuicklist2.
inline constexpr uint64_t kNodePlain = 1;
inline constexpr uint64_t kNodePacked = 2;

// Parts of a module's value.
inline constexpr uint64_t kModuleEnd = 0;
inline constexpr uint64_t kModuleSigned = 1;
inline constexpr uint64_t kModuleUnsigned = 2;
inline constexpr uint64_t kModuleFloat = 3;
inline constexpr uint64_t kModuleDouble = 4;
inline constexpr uint64_t kModuleString = 5;

// DUMP's payload ends with the version, u16 LE, and the checksum of all before it, u64 LE.
inline constexpr size_t kPayloadFooterSize = 10;

// "hash-ziplist": for messages.
[[nodiscard]] std::string TypeName(uint8_t type, bool valkey);
// The name of a module from its id: nine letters of six bits each, then ten bits of version.
[[nodiscard]] std::string ModuleName(uint64_t id);

}  // namespace holdfast::rdb
