// What a name costs that a client has the server keep: a key that it watches, a channel that it listens to.
#pragma once

#include <cstddef>
#include <string_view>

namespace holdfast::net {

// Bytes: in the client and in the server's index, with their nodes.
inline size_t KeptNameBytes(std::string_view name) { return 2 * name.size() + 200; }

}  // namespace holdfast::net
