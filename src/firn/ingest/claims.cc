// CompareClaims alone: the one comparison that exactly once rests on. In a file of its own, so that the simulator's
// canary can be linked with another one.
#include "firn/ingest/positions.h"

namespace firn::ingest {

ClaimVerdict CompareClaims(const Marks& marks, const Claims& claims) {
  bool all_done = !claims.empty();
  bool all_believed = true;
  for (const auto& [key, claim] : claims) {
    int64_t stands = OffsetOf(marks, key).value_or(0);
    all_done = all_done && stands == claim.to.offset;
    all_believed = all_believed && stands == claim.from;
  }
  if (all_done) return ClaimVerdict::kAlreadyDone;
  return all_believed ? ClaimVerdict::kGo : ClaimVerdict::kMismatch;
}

}  // namespace firn::ingest
