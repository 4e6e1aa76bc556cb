// Which few snapshots a commit takes out of the table's metadata on its way (spec: "Snapshot Retention Policy").
//
// Pure. Only the metadata shrinks: files are never deleted here. More is kept than the table asks for: what is younger
// than kExpireAgeMinMs, the newest kExpireSpareNewest, and all that any branch or tag keeps by its own settings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

inline constexpr size_t kExpirePerCommitMax = 10;
inline constexpr size_t kExpireSpareNewest = 100;
inline constexpr int64_t kExpireAgeMinMs = 6 * 3'600'000LL;
inline constexpr int64_t kOwnTableSnapshotAgeMs = 24 * 3'600'000LL;          // of tables that Firn made
inline constexpr int64_t kForeignTableSnapshotAgeMs = 5 * 24 * 3'600'000LL;  // Java's default

// Oldest first, at most kExpirePerCommitMax. None where gc.enabled is false, where a retention property is no number,
// and on tables that are not ours unless they have a history.expire.* property of their own.
std::vector<SnapshotId> PickExpiredSnapshots(const TableMetadata& base, bool table_is_ours, int64_t now_ms);

}  // namespace firn::iceberg
