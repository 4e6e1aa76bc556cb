// SimStore: the object store as one simulated process reaches it: latency before and after every effect, faults,
// outages.
//
// The truth is a MemoryStore that all processes share. A write that fails may have gone out in part (no object is
// there) or whole (the answer is lost), as with S3.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/object_store.h"
#include "firn/sim/fault_kinds.h"
#include "firn/sim/process.h"

namespace firn::sim {

// What holds for everybody at the moment; the world changes it.
struct Weather {
  int64_t store_down_until_ms = 0;
  int64_t store_slow_until_ms = 0;
  int64_t catalog_down_until_ms = 0;
  int64_t catalog_slow_until_ms = 0;
  int64_t latency_ms_max = 40;          // of the store, one way
  int64_t catalog_latency_ms_max = 40;  // of the catalog
  int64_t slow_ms_max = 4000;
  int fault_per_mille = 10;  // of each call and kind

  // Outages that have begun and that nobody has met yet: they count when somebody does.
  mutable std::set<FaultKind> unmet;
  void Meet(FaultKind kind, SimFaults& faults) const {
    if (unmet.erase(kind) > 0) faults.Note(kind, "is met");
  }
};

class SimStore final : public env::ObjectStore {
 public:
  SimStore(Process& process, env::ObjectStore& truth, SimFaults& faults, const Weather& weather, env::Random& random)
      : process_(process), truth_(truth), faults_(faults), weather_(weather), random_(random) {}

  Result<std::unique_ptr<env::ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<env::ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<env::ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

 private:
  class Writer;
  // The request is on its way; an error: it never got there.
  Status Request(FaultKind failure);
  // The effect stands; an error: the answer got lost.
  Status Answer(bool is_write);
  Status Wait(bool slow);

  Process& process_;
  env::ObjectStore& truth_;
  SimFaults& faults_;
  const Weather& weather_;
  env::Random& random_;
};

}  // namespace firn::sim
