#include "storage/snapshot_format.h"

#include <algorithm>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/types/list_value.h"

namespace holdfast::snapshot_format {

namespace {

void AppendVarint(std::string& to, uint64_t value) {
  while (value >= 0x80) {
    to.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  to.push_back(static_cast<char>(value));
}

// False on a missing byte, a value above kFieldMax, or a form longer than needed (one value, one form).
bool ReadVarint(std::string_view bytes, size_t& at, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    if (at >= bytes.size()) return false;
    const auto byte = static_cast<uint8_t>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value <= kFieldMax && (byte != 0 || shift == 0);
  }
  return false;
}

Error Corrupt(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

}  // namespace

Error Damage(uint64_t position, const std::string& what) {
  return Corrupt("at byte " + std::to_string(position) + ": " + what);
}

uint64_t AppendHeader(std::string& to, const SnapshotHeader& header) {
  std::string bytes(kFileMagic);
  AppendLittle<uint32_t>(bytes, header.version);
  AppendLittle<uint32_t>(bytes, 0);  // length, below
  AppendLittle<uint64_t>(bytes, header.position.offset);
  AppendLittle<int32_t>(bytes, header.position.selected_db);
  AppendLittle<uint32_t>(bytes, header.databases);
  AppendLittle<int64_t>(bytes, header.position.time_ms);
  AppendLittle<int64_t>(bytes, header.created_ms);
  AppendLittle<uint64_t>(bytes, header.key_count);
  header.position.digest.AppendTo(bytes);
  AppendLengthPrefixed(bytes, header.position.lineage_id);
  AppendLengthPrefixed(bytes, header.lineage_table);
  AppendLengthPrefixed(bytes, header.node_id);
  const size_t size = bytes.size() + 8;
  CHECK(size <= kHeaderSizeMax);
  StoreLittle<uint32_t>(bytes.data() + 12, static_cast<uint32_t>(size));
  const uint64_t checksum = Checksum64(bytes);
  AppendLittle<uint64_t>(bytes, checksum);
  to += bytes;
  return checksum;
}

Result<ParsedHeader> ParseHeader(std::string_view bytes) {
  if (bytes.size() < kHeaderPrefixSize) {
    return Corrupt("the file ends inside its header (" + std::to_string(bytes.size()) + " bytes)");
  }
  if (bytes.substr(0, kFileMagic.size()) != kFileMagic) {
    return Error{ErrorCode::kInvalidArgument, "does not begin as a Holdfast snapshot"};
  }
  ParsedHeader parsed;
  parsed.size = LoadLittle<uint32_t>(bytes.data() + 12);
  if (parsed.size < kHeaderPrefixSize + 8 || parsed.size > kHeaderSizeMax) {
    return Corrupt("header length " + std::to_string(parsed.size) + " is not possible");
  }
  if (bytes.size() < parsed.size) return Corrupt("the file ends inside its header");
  parsed.checksum = LoadLittle<uint64_t>(bytes.data() + parsed.size - 8);
  if (Checksum64(bytes.substr(0, parsed.size - 8)) != parsed.checksum) {
    return Corrupt("the header does not match its checksum");
  }
  SnapshotHeader& header = parsed.header;
  header.version = LoadLittle<uint32_t>(bytes.data() + 8);
  if (header.version != kSnapshotVersion) {
    return Error{ErrorCode::kUnsupported, "snapshot format version " + std::to_string(header.version) +
                                              "; this program reads version " + std::to_string(kSnapshotVersion)};
  }
  ByteReader reader(bytes.substr(kHeaderPrefixSize, parsed.size - kHeaderPrefixSize - 8));
  header.position.offset = reader.Little<uint64_t>();
  header.position.selected_db = reader.Little<int32_t>();
  header.databases = reader.Little<uint32_t>();
  header.position.time_ms = reader.Little<int64_t>();
  header.created_ms = reader.Little<int64_t>();
  header.key_count = reader.Little<uint64_t>();
  auto digest = HistoryDigest::Parse(reader.Bytes(HistoryDigest::kSerializedSize));
  header.position.lineage_id = reader.LengthPrefixed();
  header.lineage_table = reader.LengthPrefixed();
  header.node_id = reader.LengthPrefixed();
  if (!reader.AtEnd()) return Corrupt("header fields do not fill the header");
  if (!digest.ok()) return std::move(digest).error().WithContext("header");
  header.position.digest = *digest;
  if (header.position.selected_db < -1 || header.databases > INT32_MAX) {
    return Corrupt("header: selected database " + std::to_string(header.position.selected_db) + " of " +
                   std::to_string(header.databases));
  }
  return parsed;
}

void AppendBlockHeader(std::string& to, BlockHeader& header, uint64_t seed) {
  const size_t start = to.size();
  AppendLittle<uint32_t>(to, kBlockMagic);
  for (uint32_t value : {header.number, header.flags, header.db, header.raw_length, header.stored_length,
                         header.records, header.keys, header.continued, uint32_t{0}}) {
    AppendLittle<uint32_t>(to, value);
  }
  AppendLittle<uint64_t>(to, header.first_hash);
  AppendLittle<uint64_t>(to, header.last_hash);
  AppendLittle<uint64_t>(to, header.payload_checksum);
  header.header_checksum = Checksum64(std::string_view(to).substr(start), seed);
  AppendLittle<uint64_t>(to, header.header_checksum);
  CHECK(to.size() - start == kBlockHeaderSize);
}

Result<BlockHeader> ParseBlockHeader(std::string_view bytes, uint64_t seed) {
  if (bytes.size() < kBlockHeaderSize) return Corrupt("the file ends inside a block header");
  bytes = bytes.substr(0, kBlockHeaderSize);
  ByteReader reader(bytes);
  const auto magic = reader.Little<uint32_t>();
  BlockHeader header;
  for (uint32_t* field : {&header.number, &header.flags, &header.db, &header.raw_length, &header.stored_length,
                          &header.records, &header.keys, &header.continued}) {
    *field = reader.Little<uint32_t>();
  }
  const auto reserved = reader.Little<uint32_t>();
  header.first_hash = reader.Little<uint64_t>();
  header.last_hash = reader.Little<uint64_t>();
  header.payload_checksum = reader.Little<uint64_t>();
  header.header_checksum = reader.Little<uint64_t>();
  if (magic != kBlockMagic) return Corrupt("no block header here");
  if (Checksum64(bytes.substr(0, kBlockHeaderSize - 8), seed) != header.header_checksum) {
    return Corrupt("the block header does not match its checksum");
  }
  const bool zstd = (header.flags & kBlockZstd) != 0;
  if (reserved != 0 || (header.flags & ~(kBlockZstd | kBlockContinuesKey)) != 0 || header.raw_length == 0 ||
      header.raw_length > kBlockRawMax || header.stored_length == 0 || header.stored_length > header.raw_length ||
      (!zstd && header.stored_length != header.raw_length) || header.continued > header.raw_length ||
      (header.continued != 0 && !header.continues_key()) || header.first_hash > header.last_hash ||
      header.keys > header.records || header.db > INT32_MAX) {
    return Corrupt("the block header's fields contradict each other");
  }
  return header;
}

uint64_t NextBlocksDigest(uint64_t digest, uint64_t block_header_checksum) {
  char bytes[8];
  StoreLittle(bytes, block_header_checksum);
  return Checksum64({bytes, sizeof(bytes)}, digest);
}

IndexEntry MakeIndexEntry(const BlockHeader& header, uint64_t position) {
  IndexEntry entry;
  entry.position = position;
  entry.first_hash = header.first_hash;
  entry.last_hash = header.last_hash;
  entry.db = header.db;
  entry.flags = header.flags;
  entry.raw_length = header.raw_length;
  entry.stored_length = header.stored_length;
  entry.records = header.records;
  entry.keys = header.keys;
  return entry;
}

bool Agree(const BlockHeader& header, const IndexEntry& entry) {
  return header.first_hash == entry.first_hash && header.last_hash == entry.last_hash && header.db == entry.db &&
         header.flags == entry.flags && header.raw_length == entry.raw_length &&
         header.stored_length == entry.stored_length && header.records == entry.records && header.keys == entry.keys;
}

std::string EncodeIndex(const std::vector<IndexEntry>& entries) {
  std::string bytes(kIndexMagic);
  bytes.reserve(kIndexMagic.size() + entries.size() * kIndexEntrySize);
  for (const IndexEntry& entry : entries) {
    for (uint64_t value : {entry.position, entry.first_hash, entry.last_hash}) AppendLittle<uint64_t>(bytes, value);
    for (uint32_t value : {entry.db, entry.flags, entry.raw_length, entry.stored_length, entry.records, entry.keys}) {
      AppendLittle<uint32_t>(bytes, value);
    }
  }
  return bytes;
}

Result<std::vector<IndexEntry>> ParseIndex(std::string_view bytes, uint64_t header_end, uint64_t index_position) {
  if (bytes.substr(0, kIndexMagic.size()) != kIndexMagic) return Corrupt("no block index here");
  bytes.remove_prefix(kIndexMagic.size());
  if (bytes.size() % kIndexEntrySize != 0) return Corrupt("the block index has no whole number of entries");
  std::vector<IndexEntry> entries(bytes.size() / kIndexEntrySize);
  ByteReader reader(bytes);
  uint64_t expected = header_end;
  const IndexEntry* before = nullptr;
  for (IndexEntry& entry : entries) {
    entry.position = reader.Little<uint64_t>();
    entry.first_hash = reader.Little<uint64_t>();
    entry.last_hash = reader.Little<uint64_t>();
    for (uint32_t* field :
         {&entry.db, &entry.flags, &entry.raw_length, &entry.stored_length, &entry.records, &entry.keys}) {
      *field = reader.Little<uint32_t>();
    }
    if (entry.position != expected) return Corrupt("block index: blocks do not follow each other");
    if (entry.raw_length > kBlockRawMax || entry.stored_length > entry.raw_length || entry.end() > index_position) {
      return Corrupt("block index: block lengths are not possible");
    }
    const bool ordered =
        before == nullptr || before->db < entry.db || (before->db == entry.db && before->last_hash <= entry.first_hash);
    if (!ordered || entry.first_hash > entry.last_hash) return Corrupt("block index: blocks are not in order");
    expected = entry.end();
    before = &entry;
  }
  if (expected != index_position) return Corrupt("block index: bytes between the last block and the index");
  return entries;
}

void AppendFooter(std::string& to, const Footer& footer) {
  const size_t start = to.size();
  const SnapshotFooter& counts = footer.counts;
  AppendLittle<uint32_t>(to, kFooterMagic);
  AppendLittle<uint32_t>(to, kSnapshotVersion);
  for (uint64_t value : {footer.header_checksum, footer.index_position, footer.index_checksum, footer.blocks_digest,
                         counts.blocks, counts.keys, counts.records, counts.raw_bytes, counts.stored_bytes}) {
    AppendLittle<uint64_t>(to, value);
  }
  for (uint64_t value : counts.keys_by_type) AppendLittle<uint64_t>(to, value);
  AppendLittle<uint64_t>(to, counts.file_bytes);
  for (int i = 0; i < 2; ++i) AppendLittle<uint64_t>(to, 0);
  AppendLittle<uint64_t>(to, Checksum64(std::string_view(to).substr(start)));
  CHECK(to.size() - start == kFooterSize);
}

Result<Footer> ParseFooter(std::string_view bytes, uint64_t file_bytes) {
  if (bytes.size() != kFooterSize) return Corrupt("the file is too short to have a footer");
  ByteReader reader(bytes);
  const auto magic = reader.Little<uint32_t>();
  const auto version = reader.Little<uint32_t>();
  Footer footer;
  SnapshotFooter& counts = footer.counts;
  for (uint64_t* field :
       {&footer.header_checksum, &footer.index_position, &footer.index_checksum, &footer.blocks_digest, &counts.blocks,
        &counts.keys, &counts.records, &counts.raw_bytes, &counts.stored_bytes}) {
    *field = reader.Little<uint64_t>();
  }
  for (uint64_t& value : counts.keys_by_type) value = reader.Little<uint64_t>();
  counts.file_bytes = reader.Little<uint64_t>();
  const auto reserved = reader.Little<uint64_t>() | reader.Little<uint64_t>();
  const auto checksum = reader.Little<uint64_t>();
  if (magic != kFooterMagic) return Corrupt("the file does not end in a footer: cut short, or something was added");
  if (Checksum64(bytes.substr(0, kFooterSize - 8)) != checksum) {
    return Corrupt("the footer does not match its checksum");
  }
  if (version != kSnapshotVersion || reserved != 0) return Corrupt("the footer is of another format version");
  if (counts.file_bytes != file_bytes) {
    return Corrupt("the file has " + std::to_string(file_bytes) + " bytes, its footer says " +
                   std::to_string(counts.file_bytes));
  }
  // Sums that cannot overflow: both terms are below the file's size when the first comparison passes.
  const uint64_t tail = kIndexMagic.size() + kFooterSize;
  if (file_bytes < tail || footer.index_position > file_bytes - tail ||
      counts.blocks > (file_bytes - tail) / kIndexEntrySize ||
      footer.index_position + tail + counts.blocks * kIndexEntrySize != file_bytes) {
    return Corrupt("the footer's index position and block count do not fit the file");
  }
  return footer;
}

void AppendKeyHead(std::string& to, const KeyValue& value, size_t key_size, size_t body_size) {
  to.push_back(static_cast<char>(kRecordKey));
  to.push_back(static_cast<char>(value.type));
  const int flags = (value.HasExpiry() ? kKeyHasExpiry : 0) | (value.chunked ? kKeyChunked : 0);
  to.push_back(static_cast<char>(flags));
  if (value.HasExpiry()) AppendLittle<int64_t>(to, value.expire_at_ms);
  AppendVarint(to, key_size);
  AppendVarint(to, body_size);
}

void AppendRowHead(std::string& to, CollectionKind kind, size_t suffix_size, size_t value_size) {
  to.push_back(static_cast<char>(kRecordRow));
  to.push_back(static_cast<char>(kind));
  AppendVarint(to, suffix_size);
  AppendVarint(to, value_size);
}

Result<RecordHead> ParseRecordHead(std::string_view bytes) {
  RecordHead head;
  if (bytes.size() < 2) return Corrupt("a record's head is cut");
  const auto tag = static_cast<uint8_t>(bytes[0]);
  size_t at = 2;
  if (tag == kRecordKey) {
    head.is_key = true;
    const auto type = static_cast<uint8_t>(bytes[1]);
    if (type > static_cast<uint8_t>(ValueType::kStream)) return Corrupt("unknown type " + std::to_string(type));
    head.value.type = static_cast<ValueType>(type);
    const uint8_t flags = at < bytes.size() ? static_cast<uint8_t>(bytes[at++]) : uint8_t{0xff};
    if ((flags & ~(kKeyHasExpiry | kKeyChunked)) != 0) return Corrupt("unknown key flags");
    head.value.chunked = (flags & kKeyChunked) != 0;
    if ((flags & kKeyHasExpiry) != 0) {
      if (bytes.size() - at < 8) return Corrupt("a record's head is cut");
      head.value.expire_at_ms = LoadLittle<int64_t>(bytes.data() + at);
      if (!head.value.HasExpiry()) return Corrupt("an expiry that means none");
      at += 8;
    }
    if (head.value.chunked && head.value.type != ValueType::kString)
      return Corrupt("chunks of a key that is no string");
  } else if (tag == kRecordRow) {
    head.kind = static_cast<CollectionKind>(bytes[1]);
  } else {
    return Corrupt("unknown record tag " + std::to_string(tag));
  }
  if (!ReadVarint(bytes, at, head.first_size) || !ReadVarint(bytes, at, head.second_size)) {
    return Corrupt("a record's lengths are cut or not possible");
  }
  head.head_size = at;
  return head;
}

std::string_view KindsOf(ValueType type, bool chunked) {
  switch (type) {
    case ValueType::kString:
      return chunked ? "c" : "";
    case ValueType::kList:
      return "i";
    case ValueType::kSet:
      return "m";
    case ValueType::kSortedSet:
      return "ms";
    case ValueType::kHash:
      return "m";
    case ValueType::kStream:
      return "egopq";
  }
  return "";
}

Result<SplitBody> SplitStoredBody(const KeyValue& value) {
  SplitBody split;
  if (value.type == ValueType::kString && !value.chunked) {
    split.body = value.body;
    return split;
  }
  if (value.body.size() < 16)
    return Corrupt("a stored value's header has only " + std::to_string(value.body.size()) + " bytes");
  split.has_rows = true;
  const bool chunked = value.type == ValueType::kString;
  split.id = LoadLittle<uint64_t>(value.body.data() + (chunked ? 8 : 0));
  split.body = chunked ? value.body.substr(0, 8) : value.body.substr(8);
  // Whether a sorted set has fence rows, too.
  if (value.type == ValueType::kSortedSet) split.body = split.body.substr(0, 9);
  // Where a list's positions begin is the node's own affair.
  if (value.type == ValueType::kList) split.body = split.body.substr(0, 8);
  return split;
}

std::string JoinStoredBody(const KeyValue& value, CollectionId id) {
  std::string body;
  if (value.type == ValueType::kString) {
    body = value.body;
    AppendLittle<uint64_t>(body, id);
  } else {
    AppendLittle<uint64_t>(body, id);
    body += value.body;
    if (value.type == ValueType::kList) AppendLittle<uint64_t>(body, ListBody::kStart);
  }
  return body;
}

}  // namespace holdfast::snapshot_format
