// FaultyStore: an ObjectStore that passes every call on to another one and fails those a test chose.
//
// "Fail the Nth call of a kind", once or from then on, before the call took effect or after it (the lost answer), only
// for locations that contain some text, with an optional delay. Append and Close of the writers it hands out count as
// calls of their own. Thread-safe. The inner store and the clock must outlive it and its writers.
//   FaultyStore store(memory);
//   store.Inject({.call = StoreCall::kClose, .nth = 2, .code = ErrorCode::kTimeout, .after_effect = true});
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"

namespace firn::env {

enum class StoreCall { kOpenWrite, kAppend, kClose, kPut, kPutIfAbsent, kRead, kStat, kList, kDelete, kAny };

struct Fault {
  StoreCall call = StoreCall::kAny;
  int64_t nth = 1;                // the first matching call after Inject is 1
  bool persistent = false;        // false: that call only; true: that call and all later ones
  ErrorCode code = ErrorCode::kUnavailable;
  bool after_effect = false;      // the inner call is made, its success is reported as `code`
  std::string location_contains;  // empty: every location
  int64_t delay_ms = 0;           // slept before the call, by the store's clock
  bool fails = true;              // false: only the delay
};

class FaultyStore final : public ObjectStore {
 public:
  explicit FaultyStore(ObjectStore& inner, Clock& clock = SystemClock());
  ~FaultyStore() override;

  void Inject(Fault fault);
  void ClearFaults();
  int64_t calls(StoreCall call) const;   // made so far, failed ones included; kAny: all of them
  int64_t faults_hit() const;            // how often a fault failed or delayed a call

  Result<std::unique_ptr<ObjectWriter>> OpenWrite(const std::string& location) override;
  Status Put(const std::string& location, std::string_view bytes) override;
  Status PutIfAbsent(const std::string& location, std::string_view bytes) override;
  Result<std::string> Read(const std::string& location) override;
  Result<ObjectInfo> Stat(const std::string& location) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& location) override;

 private:
  struct State;
  class Writer;
  std::shared_ptr<State> state_;
};

}  // namespace firn::env
