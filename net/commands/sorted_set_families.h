// What the parts of the sorted set family share.
#pragma once

#include <vector>

#include "net/command.h"

namespace holdfast::net {

std::vector<CommandSpec> SortedSetRangeCommands();  // sorted_set_ranges.cpp: ZRANGE, ZCOUNT, ZREMRANGEBY* and their kin
std::vector<CommandSpec> SortedSetPopCommands();    // sorted_set_pops.cpp: ZPOPMIN to BZMPOP
std::vector<CommandSpec> SortedSetAlgebraCommands();  // sorted_set_algebra.cpp: ZUNION to ZINTERCARD

}  // namespace holdfast::net
