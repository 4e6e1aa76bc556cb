#include "firn/sim/sim_spill.h"

#include <string>
#include <utility>

namespace firn::sim {
namespace {

// Few blocks are spilled, and each fault ends what the folder is used for in the batch or in the whole process.
constexpr int kFullMore = 5;
constexpr int kUnreadableMore = 4;
constexpr int kTornMore = 6;

}  // namespace

class SimSpill::File final : public env::SpillFile {
 public:
  File(SimSpill& folder, std::unique_ptr<env::SpillFile> truth) : folder_(folder), truth_(std::move(truth)) {}

  Result<int64_t> Append(std::string_view bytes) override {
    FIRN_TRY(folder_.Room());
    if (!folder_.faults_.Chance(FaultKind::kSpillTorn, kTornMore * folder_.weather_.fault_per_mille)) {
      return truth_->Append(bytes);
    }
    std::string torn(bytes);
    torn.replace(torn.size() / 2, std::string::npos, torn.size() - torn.size() / 2, '\0');
    return truth_->Append(torn);
  }

  Status ReadAt(int64_t offset, char* out, size_t size) override {
    if (folder_.faults_.Chance(FaultKind::kSpillReadFails, kUnreadableMore * folder_.weather_.fault_per_mille)) {
      return Fail(ErrorCode::kIoError, "simulated: the spill disk does not read");
    }
    return truth_->ReadAt(offset, out, size);
  }

 private:
  SimSpill& folder_;
  const std::unique_ptr<env::SpillFile> truth_;
};

Status SimSpill::Room() const {
  if (!faults_.Chance(FaultKind::kSpillFull, kFullMore * weather_.fault_per_mille)) return {};
  return Fail(ErrorCode::kResourceExhausted, "simulated: the spill disk is full");
}

Result<std::unique_ptr<env::SpillFile>> SimSpill::NewFile() {
  FIRN_TRY(Room());
  FIRN_ASSIGN(std::unique_ptr<env::SpillFile> truth, truth_.NewFile());
  return std::unique_ptr<env::SpillFile>(new File(*this, std::move(truth)));
}

}  // namespace firn::sim
