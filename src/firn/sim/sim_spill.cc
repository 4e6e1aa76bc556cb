#include "firn/sim/sim_spill.h"

#include <string>
#include <utility>

namespace firn::sim {
namespace {

// Few blocks are spilled, and each fault ends what the folder is used for in the batch or in the whole process.
constexpr int kFullMore = 5;
constexpr int kUnreadableMore = 4;
constexpr int kTornMore = 6;
constexpr int kLiesMore = 12;

}  // namespace

class SimSpill::File final : public env::SpillFile {
 public:
  File(SimSpill& folder, std::unique_ptr<env::SpillFile> truth) : folder_(folder), truth_(std::move(truth)) {}

  Result<int64_t> Append(std::string_view bytes) override {
    FIRN_TRY(folder_.Room());
    std::string written(bytes);
    const size_t half = written.size() / 2;
    if (folder_.faults_.Chance(FaultKind::kSpillTorn, kTornMore * folder_.weather_.fault_per_mille)) {
      written.replace(half, std::string::npos, written.size() - half, '\0');
    }
    // Torn blocks are seldom good LZ4; these are, and only their checksum tells.
    const int lies_per_mille = kLiesMore * folder_.weather_.fault_per_mille;
    if (folder_.faults_.Chance(FaultKind::kSpillLies, lies_per_mille) && !written.empty()) {
      written[half] = static_cast<char>(written[half] ^ 1);
    }
    return truth_->Append(written);
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
