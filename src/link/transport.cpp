#include "transport.h"

namespace tutti {

// The forms that a kind of link does not have.  The engine asks streams() first, so reaching one is a bug; it is answered as such.
Progress Link::send(Pieces, const Signature&, uint64_t&) { return Progress::lost; }
Progress Link::receive(Slot&, size_t, const Signature&) { return Progress::lost; }
Progress Link::receive(Pieces, const Signature&) { return Progress::lost; }

}  // namespace tutti
