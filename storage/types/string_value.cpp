#include "storage/types/string_value.h"

#include <algorithm>
#include <array>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

std::string_view Zeros(size_t count) {
  static const std::array<char, kChunkSize> kZeros{};
  return {kZeros.data(), count};
}

}  // namespace

Result<void> CheckStringLength(const Transaction& transaction, uint64_t length, uint64_t extra) {
  const uint64_t max = StringLengthMax(transaction);
  if (extra > max || length > max - extra) return StringTooLongError();
  return {};
}

std::string ChunkedBody::Encode() const {
  std::string body;
  AppendLittle<uint64_t>(body, length);
  AppendLittle<uint64_t>(body, id);
  return body;
}

Result<ChunkedBody> ChunkedBody::Parse(std::string_view body) {
  ByteReader reader(body);
  ChunkedBody parsed;
  parsed.length = reader.Little<uint64_t>();
  parsed.id = reader.Little<uint64_t>();
  if (!reader.AtEnd()) {
    return Error{ErrorCode::kCorruption, "chunked string: row body has " + std::to_string(body.size()) +
                                             " bytes, expected " + std::to_string(kSize)};
  }
  if (parsed.length > kStringLengthHardMax) {
    return Error{ErrorCode::kCorruption, "chunked string: impossible length " + std::to_string(parsed.length)};
  }
  return parsed;
}

std::string ChunkSuffix(uint64_t index) {
  CHECK(index <= UINT32_MAX);
  std::string suffix;
  AppendBig<uint32_t>(suffix, static_cast<uint32_t>(index));
  return suffix;
}

Result<StringValue> StringValue::From(Transaction& transaction, const KeyValue& value) {
  if (value.type != ValueType::kString) return WrongTypeError();
  StringValue string;
  string.transaction_ = &transaction;
  if (value.chunked) {
    ASSIGN_OR_RETURN(ChunkedBody body, ChunkedBody::Parse(value.body));
    string.length_ = body.length;
    string.id_ = body.id;
  } else {
    string.length_ = value.body.size();
    string.inline_bytes_ = value.body;
  }
  return string;
}

std::optional<std::string_view> StringValue::Inline() const {
  if (chunked()) return std::nullopt;
  return inline_bytes_;
}

Result<void> StringValue::VisitPieces(uint64_t offset, uint64_t count, const PieceVisitor& visit) const {
  if (offset >= length_) return {};
  uint64_t end = offset + std::min(count, length_ - offset);
  if (!chunked()) {
    if (end > offset) visit(offset, inline_bytes_.substr(offset, end - offset));
    return {};
  }
  while (offset < end) {
    const uint64_t index = offset / kChunkSize;
    const size_t from = offset % kChunkSize;
    const size_t size = static_cast<size_t>(std::min<uint64_t>(kChunkSize - from, end - offset));
    ASSIGN_OR_RETURN(auto row, transaction_->FindRow(*id_, CollectionKind::kChunk, ChunkSuffix(index)));
    std::string_view chunk = row ? *row : std::string_view();
    std::string_view stored = chunk.size() > from ? chunk.substr(from, size) : std::string_view();
    if (!stored.empty() && !visit(offset, stored)) return {};
    if (stored.size() < size && !visit(offset + stored.size(), Zeros(size - stored.size()))) return {};
    offset += size;
  }
  return {};
}

Result<std::string> StringValue::Read(uint64_t offset, uint64_t count) const {
  std::string bytes;
  if (offset < length_) bytes.reserve(std::min(count, length_ - offset));
  RETURN_IF_ERROR(VisitPieces(offset, count, [&](uint64_t, std::string_view piece) {
    bytes.append(piece);
    return true;
  }));
  return bytes;
}

FoundKey::FoundKey(const std::optional<KeyValue>& found) : value_(found) {
  if (!value_) return;
  body_ = value_->body;
  value_->body = body_;
}

void PutString(Transaction& transaction, int db, std::string_view key, std::string_view bytes, int64_t expire_at_ms,
               const std::optional<KeyValue>& old) {
  KeyValue value;
  value.type = ValueType::kString;
  value.expire_at_ms = expire_at_ms;
  if (bytes.size() <= kInlineStringMax) {
    value.body = bytes;
    transaction.Put(db, key, value, old);
    return;
  }
  FoundKey found(old);
  ChunkedBody body{bytes.size(), transaction.NewCollectionId()};
  for (uint64_t index = 0; index * kChunkSize < bytes.size(); ++index) {
    transaction.PutRow(body.id, CollectionKind::kChunk, ChunkSuffix(index),
                       bytes.substr(index * kChunkSize, kChunkSize));
  }
  std::string encoded = body.Encode();
  value.chunked = true;
  value.body = encoded;
  transaction.Put(db, key, value, found.value());
}

Result<StringEditor> StringEditor::Open(Transaction& transaction, std::string_view key,
                                        const std::optional<KeyValue>& old) {
  StringEditor editor(transaction, key);
  if (!old) return editor;
  if (old->type != ValueType::kString) return WrongTypeError();
  editor.old_ = old;
  editor.old_body_ = old->body;
  if (old->chunked) {
    ASSIGN_OR_RETURN(ChunkedBody body, ChunkedBody::Parse(old->body));
    editor.old_length_ = body.length;
    editor.id_ = body.id;
  } else {
    editor.old_length_ = old->body.size();
  }
  editor.length_ = editor.old_length_;
  return editor;
}

Result<std::string*> StringEditor::LoadChunk(uint64_t index) {
  auto [position, inserted] = chunks_.try_emplace(index);
  if (!inserted) return &position->second;
  if (id_) {
    auto row = transaction_->FindRow(*id_, CollectionKind::kChunk, ChunkSuffix(index));
    if (!row.ok()) {
      chunks_.erase(position);
      return std::move(row).error();
    }
    if (*row) position->second = **row;
  } else if (index == 0) {
    position->second = old_body_;
  } else if (old_body_.size() > index * kChunkSize) {
    position->second = old_body_.substr(index * kChunkSize, kChunkSize);
  }
  return &position->second;
}

Result<std::string> StringEditor::Read(uint64_t offset, uint64_t count) {
  std::string bytes;
  bytes.reserve(count);
  while (count > 0) {
    const size_t from = offset % kChunkSize;
    const size_t size = static_cast<size_t>(std::min<uint64_t>(kChunkSize - from, count));
    const uint64_t index = offset / kChunkSize;
    // A chunk that is only read is not kept: all kept ones are written back.
    std::string_view chunk;
    if (auto loaded = chunks_.find(index); loaded != chunks_.end()) {
      chunk = loaded->second;
    } else if (id_) {
      ASSIGN_OR_RETURN(auto row, transaction_->FindRow(*id_, CollectionKind::kChunk, ChunkSuffix(index)));
      if (row) chunk = *row;
    } else if (index == 0) {
      chunk = old_body_;
    }
    size_t before = bytes.size();
    if (chunk.size() > from) bytes.append(chunk.substr(from, size));
    bytes.resize(before + size, '\0');
    offset += size;
    count -= size;
  }
  return bytes;
}

Result<void> StringEditor::Write(uint64_t offset, std::string_view bytes) {
  Grow(offset + bytes.size());
  while (!bytes.empty()) {
    const size_t from = offset % kChunkSize;
    const size_t size = std::min(kChunkSize - from, bytes.size());
    ASSIGN_OR_RETURN(std::string * chunk, LoadChunk(offset / kChunkSize));
    if (chunk->size() < from + size) chunk->resize(from + size, '\0');
    chunk->replace(from, size, bytes.substr(0, size));
    offset += size;
    bytes.remove_prefix(size);
  }
  return {};
}

void StringEditor::Grow(uint64_t length) {
  CHECK(length <= kStringLengthHardMax);
  length_ = std::max(length_, length);
}

void StringEditor::Finish(std::string_view event) {
  KeyValue value;
  value.type = ValueType::kString;
  value.expire_at_ms = old_ ? old_->expire_at_ms : kNoExpiry;
  if (old_) old_->body = old_body_;
  if (length_ <= kInlineStringMax && !id_) {
    std::string body = chunks_.empty() ? old_body_ : std::move(chunks_.begin()->second);
    body.resize(length_, '\0');
    value.body = body;
    transaction_->Put(transaction_->db(), key_, value, old_);
    transaction_->Notify(KeyEventClass::kString, event, key_);
    return;
  }
  ChunkedBody body{length_, id_ ? *id_ : transaction_->NewCollectionId()};
  // A string that leaves its row takes its first bytes along.
  if (!id_ && !old_body_.empty()) chunks_.try_emplace(0, old_body_);
  for (const auto& [index, chunk] : chunks_) {
    transaction_->PutRow(body.id, CollectionKind::kChunk, ChunkSuffix(index), chunk);
  }
  std::string encoded = body.Encode();
  value.chunked = true;
  value.body = encoded;
  transaction_->Put(transaction_->db(), key_, value, old_);
  transaction_->Notify(KeyEventClass::kString, event, key_);
}

}  // namespace holdfast
