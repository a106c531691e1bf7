// Memory of tutti_alloc in a family of communicators: what was allocated on one is lent in calls of the others.
#pragma once

#include <tutti/tutti.h>

#include <string>

namespace tutti::test {

// On every rank of `world`, which has five: calls of it and of two generations of splits, on memory of each other,
// and after the end of the first.  Ends `world`.  "" if all is right.
std::string check_family_memory(tutti_comm* world);

// Memory that is kept: lent while the family of `world` lives, there after its end, and freed once.  Ends `world`.
std::string check_kept_memory(tutti_comm* world);

}  // namespace tutti::test
