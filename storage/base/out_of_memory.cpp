#include "storage/base/out_of_memory.h"

#include <new>

namespace holdfast {

void OutOfMemory() {
  if (const std::new_handler handler = std::get_new_handler(); handler != nullptr) handler();
  throw std::bad_alloc();
}

}  // namespace holdfast
