#include "storage/planted_bug.h"

#ifdef HOLDFAST_PLANTED_BUGS

namespace holdfast {

namespace {
PlantedBug planted = PlantedBug::kNone;
}

bool Planted(PlantedBug bug) { return planted == bug; }

void Plant(PlantedBug bug) { planted = bug; }

}  // namespace holdfast

#endif
