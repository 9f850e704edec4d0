// A hint to the processor: memory that will be needed soon.
#pragma once

namespace holdfast {

// gcc takes a function that only prefetches for one without effects, and drops the calls of it: the empty asm is one.
inline void FetchIntoCache(const void* address) {
  __builtin_prefetch(address, 1);
  asm volatile("" : : "r"(address));
}

}  // namespace holdfast
