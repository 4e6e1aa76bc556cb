// TableLag: how far a table's compaction is behind, and what the table costs a reader, out of its metadata and
// manifests alone. docs/lag.md has each figure's formula.
//
// Pure: values in, values out; no data file is opened, no clock asked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/picker.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::lag {

// What the figures and the picker need of a manifest's live entries; manifests never change, so it is read once.
struct ManifestFacts {
  struct File {
    uint32_t partition = 0;  // index of partitions
    int64_t bytes = 0;
    int64_t rows = 0;
    SnapshotId added_snapshot_id;
    int64_t sequence_number = 0;       // of the file, not of its data
    int64_t data_sequence_number = 0;  // of its data
    bool is_parquet = true;
    bool is_encrypted = false;
  };
  std::vector<std::string> partitions;  // "event_day=2024-01-15"; empty: unpartitioned
  std::vector<File> files;
  // One a file, or none at all: locations, where the table has delete files that may name them; lower bounds of
  // sort_field_id, where the table's order begins with a column.
  std::vector<std::string> paths;
  std::optional<int32_t> sort_field_id;
  std::vector<std::optional<std::string>> sort_bounds;
  std::vector<compaction::LiveFile> deletes;  // of a delete manifest, as far as the picker looks at them
};

struct ManifestState {
  iceberg::ManifestFile manifest;
  std::shared_ptr<const ManifestFacts> facts;
};

struct LagOptions {
  int64_t now_ms = 0;
  int64_t window_ms = 3'600'000;        // for rates
  int64_t behind_after_ms = 3'600'000;  // a table is behind when its lag takes longer than this to work off
  size_t partitions_max = 0;            // how many of the worst partitions are named
  // How the loop picks: compaction.files_min, compaction.cold_after, and the largest input that it may hold.
  size_t files_min = 8;
  int64_t cold_after_ms = 30 * 60'000;
  int64_t memory_bytes = 64 << 20;
  // Of one core, for a capacity that is known from the table's history.
  double cpu_share = 1;
  // Nothing was compacted for so long although there was work: nobody does it. Longer than a loop waits between looks.
  int64_t stalled_after_ms = 30 * 60'000;
};

struct PartitionLag {
  int32_t spec_id = 0;
  std::string partition;
  int64_t files = 0;
  int64_t bytes = 0;
  int64_t uncompacted_files = 0;  // that compaction would take
  int64_t uncompacted_bytes = 0;
  std::optional<int64_t> oldest_ms;  // when the oldest of them was added
  double arrival_bytes_per_s = 0;    // files of the window that are still there
};

enum class LagState : uint8_t {
  kClear,         // nothing to compact
  kKeepsUp,       // compaction is faster than what arrives; forecast: when it is done
  kFallsBehind,   // slower; forecast: when the table is behind
  kBehind,        // the lag takes longer than behind_after to work off; forecast: when it is done, if ever
  kNotCompacted,  // there is something to compact, and nobody does, whatever compaction could do once
  kUnknown,       // the history is too short to tell
};
std::string_view LagStateName(LagState state);  // "keeps_up", ...

struct TableLag {
  // What there is.
  int64_t rows = 0;  // delete files not taken into account
  int64_t data_files = 0;
  int64_t data_bytes = 0;
  int64_t delete_files = 0;
  int64_t partitions = 0;
  int64_t snapshots = 0;
  // What a scan of everything opens: data_files, delete_files, and these.
  int64_t manifests = 0;
  int64_t manifest_bytes = 0;
  std::optional<int64_t> metadata_bytes;  // of metadata.json, where the store tells

  // What compaction has before it: files in groups that the picker finds.
  int64_t uncompacted_files = 0;
  int64_t uncompacted_bytes = 0;
  int64_t uncompacted_partitions = 0;
  // Small files that it leaves alone, by the picker's reasons; "unsupported": all of a table that Firn does not write.
  std::map<std::string, int64_t> left_alone;
  int64_t left_alone_bytes = 0;
  std::optional<int64_t> oldest_ms;  // when the oldest uncompacted file was added
  bool oldest_at_least = false;      // its snapshot is expired: it is older than that
  std::vector<PartitionLag> worst;   // most uncompacted files first

  // How it moves. Unknown where the history does not reach.
  double window_s = 0;  // shorter than asked for where the history is
  std::optional<double> arrival_bytes_per_s;
  std::optional<double> compacted_bytes_per_s;  // inputs of compaction, whoever did it
  // What it could take in: measured by Firn's compactions, times the CPU share.
  std::optional<double> capacity_bytes_per_s;
  std::optional<double> capacity_ratio;       // capacity / arrival
  std::optional<double> write_amplification;  // bytes written / bytes arrived
  // How long there has been something to compact while nothing of the table was compacted; 0: there is nothing.
  int64_t waiting_ms = 0;
  bool stalled = false;  // longer than LagOptions::stalled_after_ms
  LagState state = LagState::kUnknown;
  std::optional<double> forecast_s;
  std::optional<int64_t> last_commit_ms;
  std::optional<int64_t> last_compaction_ms;
  std::optional<int64_t> watermark_ms;  // of the newest commit of a Firn pipeline
};

// Summary member of a compaction's snapshot: milliseconds of CPU that went into it.
inline constexpr std::string_view kCompactionMsSummary = "firn.compaction-ms";

// `manifests`: of the current snapshot, each with its facts.
TableLag ComputeLag(const iceberg::TableMetadata& metadata, const std::vector<ManifestState>& manifests,
                    const LagOptions& options);

// Capacity that is known from elsewhere (a running loop), with the ratio and the forecast that follow from it.
void SetCapacity(TableLag& lag, std::optional<double> bytes_per_s, int64_t behind_after_ms);

// The table's first sort field, if it is a column as it is: the picker packs files by its lower bound.
std::optional<int32_t> SortFieldOf(const iceberg::TableMetadata& metadata);

}  // namespace firn::lag
