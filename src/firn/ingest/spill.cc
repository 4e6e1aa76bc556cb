#include "firn/ingest/spill.h"

#include <fmt/format.h>

#include <utility>

#include "firn/base/log.h"

namespace firn::ingest {

struct Spill::State {
  explicit State(int64_t most) : bytes_max(most) {}
  const int64_t bytes_max;
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> written{0};
  std::atomic<bool> full{false};
  std::atomic<bool> given_up{false};
};

// Counts what is in the file, and refuses what would be too much. Threads of a commit and the ingest thread append.
class Spill::LimitedFile final : public env::SpillFile {
 public:
  LimitedFile(std::unique_ptr<env::SpillFile> file, std::shared_ptr<State> state)
      : file_(std::move(file)), state_(std::move(state)) {}
  ~LimitedFile() override { state_->bytes -= bytes_; }

  Result<int64_t> Append(std::string_view bytes) override {
    const auto size = static_cast<int64_t>(bytes.size());
    std::lock_guard lock(mutex_);
    Result<int64_t> offset = AppendWithinLimit(bytes, size);
    if (!offset.has_value()) {
      if (!state_->full.exchange(true)) {
        LogWarning("rows cannot be spilled, they stay in memory and the commit comes earlier",
                   {{"error", offset.error()}});
      }
      return offset;
    }
    state_->written += size;
    bytes_ += size;
    return offset;
  }

  Status ReadAt(int64_t offset, char* out, size_t size) override { return file_->ReadAt(offset, out, size); }

 private:
  Result<int64_t> AppendWithinLimit(std::string_view bytes, int64_t size) {
    // Taken before it is written: the file of another batch may be written to at the same time.
    if (state_->bytes.fetch_add(size) + size > state_->bytes_max) {
      state_->bytes -= size;
      return Fail(ErrorCode::kResourceExhausted, fmt::format("spill.limit is reached: {} bytes", state_->bytes_max));
    }
    Result<int64_t> offset = file_->Append(bytes);
    if (!offset.has_value()) state_->bytes -= size;
    return offset;
  }

  const std::unique_ptr<env::SpillFile> file_;
  const std::shared_ptr<State> state_;
  std::mutex mutex_;   // appends come one after the other
  int64_t bytes_ = 0;  // guarded by mutex_
};

Spill::Spill(env::SpillFolder* folder, int64_t bytes_max)
    : folder_(folder), state_(std::make_shared<State>(bytes_max)) {}
Spill::~Spill() = default;

bool Spill::usable() const {
  return folder_ != nullptr && !state_->given_up && !state_->full && state_->bytes < state_->bytes_max;
}

std::shared_ptr<env::SpillFile> Spill::File() {
  if (!usable()) return nullptr;
  std::lock_guard lock(mutex_);
  if (file_ != nullptr) return file_;
  Result<std::unique_ptr<env::SpillFile>> file = folder_->NewFile();
  if (!file.has_value()) {
    state_->full = true;
    LogWarning("no spill file can be made, rows stay in memory and the commit comes earlier",
               {{"error", file.error()}});
    return nullptr;
  }
  file_ = std::make_shared<LimitedFile>(std::move(*file), state_);
  return file_;
}

void Spill::EndBatch() {
  std::lock_guard lock(mutex_);
  file_.reset();
  state_->full = false;
}

void Spill::GiveUp() {
  if (state_->given_up.exchange(true)) return;
  LogError("the spill disk does not give back what was written to it; it is not used any more until a restart", {});
}

int64_t Spill::bytes() const {
  return state_->bytes;
}
int64_t Spill::bytes_written() const {
  return state_->written;
}

}  // namespace firn::ingest
