// History: is the map that stands in a table's property still the truth about its rows? (positions.md, section 5.7)
//
// The chain of snapshots is judged without IO; manifests are read only where it ends before a snapshot of the pipeline.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/spec/table_metadata.h"
#include "firn/ingest/positions.h"

namespace firn::ingest {

struct HistoryVerdict {
  bool unchanged = true;
  std::string reason;  // when changed: what was seen
};

inline constexpr std::string_view kSummaryPipeline = "firn.pipeline";
inline constexpr std::string_view kSummaryWorker = "firn.worker";

// What the list of snapshots and the map say by themselves.
struct ChainVerdict {
  enum class Kind : uint8_t {
    kUnchanged,
    kChanged,
    kAskRows,      // expired: unchanged if a manifest proves that the last rows were part of this history
    kAskSequence,  // a catalog without history: the same, or by sequence numbers alone
  } kind = Kind::kUnchanged;
  std::string reason;  // kChanged
};
// `known_sequence_number`: the highest one of a commit of this pipeline to this table that is known from elsewhere (the
// home); 0: none. Data and property that were set back together are seen by it alone.
ChainVerdict JudgeChain(const iceberg::TableMetadata& metadata, std::string_view table, std::string_view pipeline,
                        const PositionsMap& map, int64_t known_sequence_number);

// Do the entries of a manifest in the current snapshot's list prove that the last snapshot with rows is part of its
// history? A file of it is live, or a rewritten one has its data sequence number; or the manifest records that one was
// removed.
bool ProvesRows(const iceberg::ManifestFile& manifest, std::span<const iceberg::ManifestEntry> entries,
                const PositionsMap& map);

// Why the table is another one than the home lists under its name; empty: it is not. Also one of this pipeline can be:
// an older table that was given the name back.
std::string SwappedReason(const iceberg::TableMetadata& metadata, const ListedTable& listed);

// `map`: what the property of `metadata` says. `table`: the identifier under which it was loaded.
Result<HistoryVerdict> JudgeHistory(const iceberg::TableMetadata& metadata, std::string_view table,
                                    std::string_view pipeline, const PositionsMap& map, env::ObjectStore& store,
                                    int64_t known_sequence_number = 0);

// The newest listed snapshot, from current along parents, that the pipeline committed; nullptr: none. A cherry-picked
// one is somebody else's commit, whatever marks it copied. `chain_complete`: the walk ended in a snapshot without a
// parent.
const iceberg::Snapshot* NewestSnapshotOf(const iceberg::TableMetadata& metadata, std::string_view pipeline,
                                          bool& chain_complete);

// The map in the manifest list of that snapshot. kNotFound: there is none, or going back to it would double rows,
// because a snapshot above it was cherry-picked from this pipeline's. kCorruption: its manifest list has no such map.
// `origin_uuid`: of another table whose snapshots these may be copies of; empty: there is none.
Result<PositionsMap> MapToRewindTo(const iceberg::TableMetadata& metadata, std::string_view pipeline,
                                   env::ObjectStore& store, std::string_view origin_uuid = {});

}  // namespace firn::ingest
