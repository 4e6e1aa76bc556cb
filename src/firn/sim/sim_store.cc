#include "firn/sim/sim_store.h"

#include <utility>

namespace firn::sim {

class SimStore::Writer final : public env::ObjectWriter {
 public:
  Writer(SimStore& store, std::unique_ptr<env::ObjectWriter> truth) : store_(store), truth_(std::move(truth)) {}

  Status Append(std::string_view bytes) override {
    // Bytes are buffered by the client; now and then a part goes out.
    if (Below(store_.random_, 8) == 0) FIRN_TRY(store_.Request(FaultKind::kStoreWritePartial));
    return truth_->Append(bytes);
  }
  Status Close() override {
    FIRN_TRY(store_.Request(FaultKind::kStoreWriteFails));
    FIRN_TRY(truth_->Close());
    return store_.Answer(true);
  }
  int64_t bytes_written() const override { return truth_->bytes_written(); }

 private:
  SimStore& store_;
  std::unique_ptr<env::ObjectWriter> truth_;
};

Status SimStore::Wait(bool slow) {
  if (slow) weather_.Meet(FaultKind::kStoreSlow, faults_);
  const int64_t longest_ms = slow ? weather_.slow_ms_max : weather_.latency_ms_max;
  if (!process_.Await(Below(random_, longest_ms))) return Fail(ErrorCode::kCancelled, "the process is dead");
  return {};
}

Status SimStore::Request(FaultKind failure) {
  FIRN_TRY(Wait(weather_.store_slow_until_ms > process_.scheduler().now_ms()));
  if (weather_.store_down_until_ms > process_.scheduler().now_ms()) {
    weather_.Meet(FaultKind::kStoreDown, faults_);
    return Fail(ErrorCode::kUnavailable, "simulated: the store is down");
  }
  if (faults_.Chance(failure, weather_.fault_per_mille)) {
    return Fail(Below(random_, 2) == 0 ? ErrorCode::kUnavailable : ErrorCode::kTimeout,
                "simulated: the request failed");
  }
  if (faults_.Chance(FaultKind::kStoreUnauthorized, weather_.fault_per_mille / 8)) {
    return Fail(ErrorCode::kUnauthorized, "simulated: credentials have expired");
  }
  return {};
}

Status SimStore::Answer(bool is_write) {
  FIRN_TRY(Wait(false));
  if (is_write && faults_.Chance(FaultKind::kStoreAnswerLost, weather_.fault_per_mille)) {
    return Fail(ErrorCode::kTimeout, "simulated: the answer was lost");
  }
  return {};
}

Result<std::unique_ptr<env::ObjectWriter>> SimStore::OpenWrite(const std::string& location) {
  FIRN_TRY(Request(FaultKind::kStoreWriteFails));
  FIRN_ASSIGN(std::unique_ptr<env::ObjectWriter> truth, truth_.OpenWrite(location));
  return std::unique_ptr<env::ObjectWriter>(new Writer(*this, std::move(truth)));
}

Status SimStore::Put(const std::string& location, std::string_view bytes) {
  FIRN_TRY(Request(FaultKind::kStoreWriteFails));
  FIRN_TRY(truth_.Put(location, bytes));
  return Answer(true);
}

Status SimStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  FIRN_TRY(Request(FaultKind::kStoreWriteFails));
  FIRN_TRY(truth_.PutIfAbsent(location, bytes));
  return Answer(true);
}

Result<std::string> SimStore::Read(const std::string& location) {
  FIRN_TRY(Request(FaultKind::kStoreReadFails));
  FIRN_ASSIGN(std::string bytes, truth_.Read(location));
  FIRN_TRY(Answer(false));
  return bytes;
}

Result<env::ObjectInfo> SimStore::Stat(const std::string& location) {
  FIRN_TRY(Request(FaultKind::kStoreReadFails));
  return truth_.Stat(location);
}

Result<std::vector<env::ObjectInfo>> SimStore::List(const std::string& prefix) {
  FIRN_TRY(Request(FaultKind::kStoreReadFails));
  return truth_.List(prefix);
}

Status SimStore::Delete(const std::string& location) {
  FIRN_TRY(Request(FaultKind::kStoreWriteFails));
  FIRN_TRY(truth_.Delete(location));
  return Answer(true);
}

}  // namespace firn::sim
