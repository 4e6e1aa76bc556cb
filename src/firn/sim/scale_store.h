// ScaleStore: the store of a scale run: a MemoryStore that forgets what nobody reads any more, so that a run of many
// days or of very large manifest lists fits into memory.
//
// One OS thread. Of a data file it keeps no bytes: nobody reads rows in a scale run. Names of data files, manifest
// lists of snapshots that are not current any more and what a lost attempt has written go after kScaleKeptMs, which is
// longer than an attempt takes; a manifest goes with the last listed snapshot whose list named it. It has to be told of
// each commit, and counts on tables that are only appended to and expired from the oldest snapshot on, as those of a
// scale run are.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::sim {

inline constexpr int64_t kScaleKeptMs = 3'600'000;

class ScaleStore final : public env::ObjectStore {
 public:
  explicit ScaleStore(env::Clock& clock) : clock_(clock), truth_(clock) {}

  Result<std::unique_ptr<env::ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override { return truth_.Read(location); }
  Result<env::ObjectInfo> Stat(const std::string& location) override { return truth_.Stat(location); }
  Result<std::vector<env::ObjectInfo>> List(const std::string& prefix) override { return truth_.List(prefix); }
  Status Delete(const std::string& location) override { return truth_.Delete(location); }

  // Forgets what the commit has made unreachable. kCorruption: a manifest list cannot be read.
  Status OnCommit(const std::string& table, const iceberg::TableMetadata& before, const iceberg::TableMetadata& after);
  size_t object_count() const { return truth_.object_count(); }
  int64_t total_bytes() const { return truth_.total_bytes(); }

 private:
  class Writer;
  struct Written {
    int64_t at_ms;
    std::string location;
  };
  struct Manifests {
    std::string list;                             // the current snapshot's
    std::map<std::string, int64_t> listed;        // in it → its sequence number
    std::multimap<int64_t, std::string> dropped;  // by the sequence number of the last list that named it
  };
  void NoteWritten(const std::string& location) { written_.push_back({clock_.BootMs(), location}); }
  Status SeeList(Manifests& manifests, const iceberg::Snapshot& snapshot);
  void ForgetOld();

  env::Clock& clock_;
  env::MemoryStore truth_;
  std::deque<Written> written_;  // or replaced, by time: to be looked at again
  std::set<std::string> kept_;   // current lists, and manifests of listed snapshots
  std::map<std::string, Manifests> manifests_;  // by table
};

}  // namespace firn::sim
