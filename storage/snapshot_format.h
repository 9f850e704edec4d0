// Bytes of a snapshot file, shared by writer and readers. docs/formats-snapshot.md describes them; numbers are
// little-endian.
//
//   file    := header block* index footer
//   header  := magic[8] version:u32 length:u32 fields... checksum:u64                    (length counts all of it)
//   block   := block header[72] stored bytes
//   index   := magic[8] entry[48]*
//   footer  := fields[160]                                                              (the last bytes of the file)
//
//   raw block := rest of the record begun before ("continued" bytes), then records, the last of which may be cut
//   record  := 'k' type:u8 flags:u8 [expire at:i64] key length:varint body length:varint | key body
//            | 'r' kind:u8 suffix length:varint value length:varint | suffix value
//   The part before '|' is never cut. Only a record longer than a full block is cut.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/snapshot.h"

namespace holdfast::snapshot_format {

inline constexpr std::string_view kFileMagic{"HFSNAP\r\n", 8};
inline constexpr std::string_view kIndexMagic{"HFSINDEX", 8};
inline constexpr uint32_t kBlockMagic = 0x42534648;   // "HFSB"
inline constexpr uint32_t kFooterMagic = 0x46534648;  // "HFSF"

inline constexpr size_t kHeaderPrefixSize = 16;  // magic, version, length: the same in every version
inline constexpr size_t kHeaderSizeMax = 64 * 1024;
inline constexpr size_t kBlockHeaderSize = 72;
inline constexpr size_t kIndexEntrySize = 48;
inline constexpr size_t kFooterSize = 160;
inline constexpr size_t kBlockRawMax = 4 << 20;  // what a reader accepts
inline constexpr uint64_t kFieldMax = UINT32_MAX;

inline constexpr uint32_t kBlockZstd = 1;          // stored bytes are one zstd frame, else the raw bytes themselves
inline constexpr uint32_t kBlockContinuesKey = 2;  // the block begins inside a key that began in an earlier block

inline constexpr uint8_t kRecordKey = 'k';
inline constexpr uint8_t kRecordRow = 'r';
inline constexpr uint8_t kKeyHasExpiry = 1;
inline constexpr uint8_t kKeyChunked = 2;

struct BlockHeader {
  uint32_t number = 0;  // counts from 0
  uint32_t flags = 0;
  uint32_t db = 0;  // of all its keys
  uint32_t raw_length = 0;
  uint32_t stored_length = 0;
  uint32_t records = 0;     // that begin here
  uint32_t keys = 0;        // that begin here
  uint32_t continued = 0;   // raw bytes at the front that belong to a record begun before
  uint64_t first_hash = 0;  // of the first key that has bytes here
  uint64_t last_hash = 0;   // of the last one
  uint64_t payload_checksum = 0;
  uint64_t header_checksum = 0;  // seeded by the file header's checksum

  [[nodiscard]] bool continues_key() const { return (flags & kBlockContinuesKey) != 0; }
};

struct IndexEntry {
  uint64_t position = 0;  // of the block header in the file
  uint64_t first_hash = 0;
  uint64_t last_hash = 0;
  uint32_t db = 0;
  uint32_t flags = 0;
  uint32_t raw_length = 0;
  uint32_t stored_length = 0;
  uint32_t records = 0;
  uint32_t keys = 0;

  [[nodiscard]] bool continues_key() const { return (flags & kBlockContinuesKey) != 0; }
  [[nodiscard]] uint64_t end() const { return position + kBlockHeaderSize + stored_length; }
};

struct Footer {
  uint64_t header_checksum = 0;  // copy of the file header's
  uint64_t index_position = 0;
  uint64_t index_checksum = 0;
  uint64_t blocks_digest = 0;  // of all block header checksums in order, see NextBlocksDigest
  SnapshotFooter counts;
};

// Appends the header; returns its checksum.
uint64_t AppendHeader(std::string& to, const SnapshotHeader& header);
struct ParsedHeader {
  SnapshotHeader header;
  uint64_t checksum = 0;
  size_t size = 0;
};
// `bytes` begins with the header and may go on. kInvalidArgument: no snapshot at all; kUnsupported: a newer version.
Result<ParsedHeader> ParseHeader(std::string_view bytes);

// Appends the block header and sets header.header_checksum.
void AppendBlockHeader(std::string& to, BlockHeader& header, uint64_t seed);
Result<BlockHeader> ParseBlockHeader(std::string_view bytes, uint64_t seed);
[[nodiscard]] uint64_t NextBlocksDigest(uint64_t digest, uint64_t block_header_checksum);

// The index with its magic.
std::string EncodeIndex(const std::vector<IndexEntry>& entries);
// `header_end`: where the first block must begin; `index_position`: where the last one must end.
Result<std::vector<IndexEntry>> ParseIndex(std::string_view bytes, uint64_t header_end, uint64_t index_position);
[[nodiscard]] IndexEntry MakeIndexEntry(const BlockHeader& header, uint64_t position);
// Whether a block header says the same as its index entry.
[[nodiscard]] bool Agree(const BlockHeader& header, const IndexEntry& entry);

void AppendFooter(std::string& to, const Footer& footer);
// `bytes`: the last kFooterSize bytes of a file of `file_bytes`.
Result<Footer> ParseFooter(std::string_view bytes, uint64_t file_bytes);

// Heads of records: everything before the payload.
void AppendKeyHead(std::string& to, const KeyValue& value, size_t key_size, size_t body_size);
void AppendRowHead(std::string& to, CollectionKind kind, size_t suffix_size, size_t value_size);
struct RecordHead {
  bool is_key = false;
  KeyValue value;                                // without body
  CollectionKind kind = CollectionKind::kChunk;  // of a row
  uint64_t first_size = 0;                       // key or suffix
  uint64_t second_size = 0;                      // body or value
  size_t head_size = 0;

  [[nodiscard]] uint64_t payload_size() const { return first_size + second_size; }
};
Result<RecordHead> ParseRecordHead(std::string_view bytes);

// Kinds of rows a type has, in the order they are written.
[[nodiscard]] std::string_view KindsOf(ValueType type, bool chunked);

// A stored body apart: the local collection id and what goes into the snapshot. Inline strings have no id.
struct SplitBody {
  bool has_rows = false;
  CollectionId id = 0;
  std::string_view body;
};
Result<SplitBody> SplitStoredBody(const KeyValue& value);
// The stored body of a value with rows, under a new local id.
std::string JoinStoredBody(const KeyValue& value, CollectionId id);

Error Damage(uint64_t position, const std::string& what);

}  // namespace holdfast::snapshot_format
