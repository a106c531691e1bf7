// The same as C++.
#include "header_alone.c"  // NOLINT
