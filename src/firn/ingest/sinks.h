// Sinks: the tables of a pipeline as the ingest thread sees them: route → table → decoder → columns → packed rows.
//
// Owned by the ingest thread; only TableState inside is shared with the commit thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/ingest/attach.h"
#include "firn/ingest/memory_budget.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/rejects.h"
#include "firn/ingest/resume.h"
#include "firn/ingest/spill.h"
#include "firn/ingest/table_rows.h"
#include "firn/ingest/table_state.h"

namespace firn::ingest {

class WorkerMetrics;

// Rows of a slab: what is decoded before it is packed. Its bytes: MemoryBudget::slab_bytes_max, over all tables.
inline constexpr int64_t kSlabRowsMax = 131'072;
// Of values that are decoded between two looks at the slabs.
inline constexpr uint64_t kBytesBetweenLooks = 1 << 20;

struct Sink {
  Sink(iceberg::TableIdentifier identifier, MemoryBudget& memory_budget, Spill& spill_files,
       const TableRows::Limits& limits)
      : state(std::move(identifier)), memory(memory_budget), spill(spill_files), row_limits(limits) {}

  TableState state;
  const TableRule* rule = nullptr;  // null: the rejects table
  bool open = false;                // attached and decodable
  std::string closed_reason;        // why not
  bool hold = false;                // a person has to decide
  bool refused = false;             // a template's, that could not be opened: its records are rejects

  // The plan: valid for `plan_table`'s current schema.
  std::shared_ptr<const iceberg::LoadedTable> plan_table;
  int32_t schema_id = -1;
  int32_t spec_id = -1;
  std::unique_ptr<decode::json::JsonDecoder> decoder;
  std::unique_ptr<RejectsAppender> rejects;
  std::unique_ptr<columnar::RowBuilder> rows;
  std::unique_ptr<columnar::RowBuilder> scratch;  // rows that are decoded only to see whether they are rejects
  iceberg::Properties unremembered_sources;       // to be set along with the next rows

  // Rows that were packed out of `rows`, since the last commit.
  MemoryBudget& memory;
  Spill& spill;
  const TableRows::Limits& row_limits;
  std::unique_ptr<TableRows> waiting;
  MemoryHold slab_hold{memory, MemoryUse::kSlabs};
  int64_t measured_rows = 0;  // of `rows`, when `slab_hold` was set

  // What this sink knows of a source partition, from the assignment on.
  struct AtPartition {
    int64_t believed = 0;        // T[p], moved by own commits alone; what a commit claims from
    int64_t skip_below = 0;      // records below are in the table, or none of its; INT64_MAX: it takes nothing of p
    bool detached = false;       // the home lists it so
    bool hold = false;           // and a person has to decide
    int64_t since_ms = 0;        // by which an entry is told from one that was made anew
    int64_t rejected_below = 0;  // detached, or not any more: its rejects below are in the rejects table,
    int64_t owed_below = 0;      // and those from there to here are not, wherever that table's own positions stand
    int64_t rejected = kNoMark;  // what the rejects table's map says of its rejects (PositionsMap::rejected)
  };
  std::vector<AtPartition> at;  // by PartitionIndex

  bool is_rejects() const { return rule == nullptr; }
  int64_t buffered_rows() const { return (waiting ? waiting->rows() : 0) + (rows ? rows->row_count() : 0); }
  // Decoded, as measured last, and packed.
  int64_t buffered_bytes() const { return slab_hold.bytes() + (waiting ? waiting->waiting_bytes() : 0); }
  int64_t skip_below(stream::PartitionIndex index) const {
    if (!open) return INT64_MAX;
    return index < at.size() ? at[index].skip_below : 0;
  }
  bool detached_for(stream::PartitionIndex index) const { return index < at.size() && at[index].detached; }
  // Detached in the home still, but main reads for it again: the next checkpoint can take the entry off.
  bool taken_in(stream::PartitionIndex index) const { return detached_for(index) && skip_below(index) != INT64_MAX; }
  // Forgets its rows and takes nothing any more. `hold`: until a person decides.
  void Close(std::string reason, bool hold_it);
  // Tells the budget what the slab holds, when it has other rows than the last time.
  void MeasureSlab();
  // Packs the decoded rows.
  void CutSlab();
  // All rows, for the commit; null when there are none. The sink is empty afterwards.
  std::unique_ptr<TableRows> Freeze();
  void Discard();
  columnar::RowBuilder& ScratchRows();
};

class Sinks {
 public:
  // `metrics` may be constructed later than this, but before Open.
  Sinks(const PipelineOptions& options, Home& home, MapCommitter& committer, WorkerMetrics& metrics,
        MemoryBudget& memory, Spill& spill);

  // Opens or attaches; on success the sink is open, or closed and held. A table whose history was changed is treated by
  // its policy. Errors as AttachTable; then it is as it was, and the caller closes it.
  Status Open(Sink& sink, std::stop_token stop);
  // Compiles the plan, the first time or when the table's schema has changed; only while no row is buffered.
  Status RefreshPlan(Sink& sink);

  // The sink of a table, made on first sight (not opened). kResourceExhausted beyond options.tables_max.
  Result<Sink*> FindOrMake(const std::string& table, const TableRule* rule);
  Result<Sink*> Rejects();
  Sink* Find(const std::string& table);
  const Sink* Find(const std::string& table) const { return const_cast<Sinks*>(this)->Find(table); }

  std::vector<std::unique_ptr<Sink>>& all() { return sinks_; }  // rejects last
  const std::vector<std::unique_ptr<Sink>>& all() const { return sinks_; }
  // Packs what is a slab already and, while all slabs together are too large, the largest.
  void PackFullSlabs();
  // The rows have to be committed, because memory and spill files take no more of them.
  bool full() const;
  int64_t buffered_bytes() const;
  int64_t buffered_rows() const;
  void DiscardAll();

 private:
  Status CompilePlan(Sink& sink, std::shared_ptr<const iceberg::LoadedTable> table);
  Result<AttachRequest> RequestFor(const Sink& sink) const;
  // True: the table has positions again. False: it stays on hold; `reason` is then added to.
  Result<bool> FollowPolicy(Sink& sink, std::string& reason, std::stop_token stop);

  const PipelineOptions& options_;
  Home& home_;
  MapCommitter& committer_;
  WorkerMetrics& metrics_;
  MemoryBudget& memory_;
  Spill& spill_;
  const TableRows::Limits row_limits_;
  std::vector<std::unique_ptr<Sink>> sinks_;
  std::map<std::string, Sink*> by_name_;
};

// Of a sink; `rule` null: the rejects table, which follows the pipeline's.
HistoryPolicy HistoryPolicyOf(const PipelineOptions& options, const TableRule* rule);

// What the configuration's rule makes of a missing table. kInvalidInput: partition or sort text does not fit.
Result<iceberg::CreateTableRequest> CreateRequestOf(const TableRule& rule);

}  // namespace firn::ingest
