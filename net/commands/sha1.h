// SHA-1 (FIPS 180-4), for DEBUG DIGEST alone, which must give Redis' values. Not for anything that needs security.
#pragma once

#include <array>
#include <string_view>

namespace holdfast::net {

using Sha1Digest = std::array<unsigned char, 20>;

[[nodiscard]] Sha1Digest Sha1(std::string_view bytes);

}  // namespace holdfast::net
