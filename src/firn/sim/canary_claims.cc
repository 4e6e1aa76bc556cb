// The canary's CompareClaims: whatever stands in the table, go on. Linked in place of ingest/claims.cc.
#include "firn/ingest/positions.h"

namespace firn::ingest {

ClaimVerdict CompareClaims(const Marks&, const Claims&) {
  return ClaimVerdict::kGo;
}

}  // namespace firn::ingest
