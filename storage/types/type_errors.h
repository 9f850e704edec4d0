// Errors of store operations that clients see word for word; the texts are Redis'.
#pragma once

#include "storage/base/result.h"

namespace holdfast {

inline Error WrongTypeError() {
  return {ErrorCode::kWrongType, "Operation against a key holding the wrong kind of value"};
}
inline Error NotAnIntegerError() { return {ErrorCode::kInvalidArgument, "value is not an integer or out of range"}; }
inline Error NotAFloatError() { return {ErrorCode::kInvalidArgument, "value is not a valid float"}; }
inline Error StringTooLongError() {
  return {ErrorCode::kLimit, "string exceeds maximum allowed size (proto-max-bulk-len)"};
}
inline Error SyntaxError() { return {ErrorCode::kInvalidArgument, "syntax error"}; }
inline Error NoSuchKeyError() { return {ErrorCode::kNotFound, "no such key"}; }
inline Error IndexOutOfRangeError() { return {ErrorCode::kOutOfRange, "index out of range"}; }
inline Error SameObjectError() { return {ErrorCode::kInvalidArgument, "source and destination objects are the same"}; }
inline Error DbIndexError() { return {ErrorCode::kOutOfRange, "DB index is out of range"}; }

}  // namespace holdfast
