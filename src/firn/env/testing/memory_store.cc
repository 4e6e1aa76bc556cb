#include "firn/env/testing/memory_store.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <utility>

namespace firn::env {

struct MemoryStore::State {
  struct Object {
    std::shared_ptr<const std::string> bytes;
    int64_t modified_ms = 0;
  };

  State(Clock& store_clock, MemoryStoreOptions store_options) : clock(store_clock), options(store_options) {}

  Status Publish(const std::string& location, std::string bytes, bool replace) {
    Object object{std::make_shared<const std::string>(std::move(bytes)), clock.WallMs()};
    std::lock_guard lock(mutex);
    auto [place, inserted] = objects.try_emplace(location, object);
    if (!inserted && !replace) return AlreadyThere(location);
    if (!inserted) place->second = std::move(object);
    return {};
  }

  bool Contains(const std::string& location) {
    std::lock_guard lock(mutex);
    return objects.contains(location);
  }

  static std::unexpected<Error> AlreadyThere(const std::string& location) {
    return Fail(ErrorCode::kAlreadyExists, fmt::format("an object is already at this location: '{}'", location));
  }

  Clock& clock;
  const MemoryStoreOptions options;
  std::mutex mutex;
  std::map<std::string, Object> objects;
};

class MemoryStore::Writer final : public ObjectWriter {
 public:
  Writer(std::shared_ptr<State> state, std::string location)
      : state_(std::move(state)), location_(std::move(location)) {}
  Status Append(std::string_view bytes) override {
    bytes_.append(bytes);
    bytes_written_ += static_cast<int64_t>(bytes.size());
    return {};
  }
  Status Close() override { return state_->Publish(location_, std::move(bytes_), !state_->options.refuses_replacing); }
  int64_t bytes_written() const override { return bytes_written_; }

 private:
  std::shared_ptr<State> state_;
  const std::string location_;
  std::string bytes_;
  int64_t bytes_written_ = 0;
};

MemoryStore::MemoryStore(Clock& clock, MemoryStoreOptions options) : state_(std::make_shared<State>(clock, options)) {}
MemoryStore::~MemoryStore() = default;

Result<std::unique_ptr<ObjectWriter>> MemoryStore::OpenWrite(const std::string& location) {
  if (state_->options.refuses_replacing && state_->Contains(location)) return State::AlreadyThere(location);
  return std::make_unique<Writer>(state_, location);
}

Status MemoryStore::Put(const std::string& location, std::string_view bytes) {
  return state_->Publish(location, std::string(bytes), !state_->options.refuses_replacing);
}

Status MemoryStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  return state_->Publish(location, std::string(bytes), false);
}

Result<std::string> MemoryStore::Read(const std::string& location) {
  std::lock_guard lock(state_->mutex);
  auto found = state_->objects.find(location);
  if (found == state_->objects.end()) return Fail(ErrorCode::kNotFound, fmt::format("no object: '{}'", location));
  return *found->second.bytes;
}

Result<ObjectInfo> MemoryStore::Stat(const std::string& location) {
  std::lock_guard lock(state_->mutex);
  auto found = state_->objects.find(location);
  if (found == state_->objects.end()) return Fail(ErrorCode::kNotFound, fmt::format("no object: '{}'", location));
  return ObjectInfo{location, static_cast<int64_t>(found->second.bytes->size()), found->second.modified_ms};
}

Result<std::vector<ObjectInfo>> MemoryStore::List(const std::string& prefix) {
  std::string start = prefix.ends_with('/') ? prefix : prefix + "/";
  std::vector<ObjectInfo> found;
  std::lock_guard lock(state_->mutex);
  const auto& objects = state_->objects;
  for (auto it = objects.lower_bound(start); it != objects.end() && it->first.starts_with(start); ++it) {
    found.push_back({it->first, static_cast<int64_t>(it->second.bytes->size()), it->second.modified_ms});
  }
  return found;
}

Status MemoryStore::Delete(const std::string& location) {
  std::lock_guard lock(state_->mutex);
  state_->objects.erase(location);
  return {};
}

std::unique_ptr<MemoryStore> MemoryStore::CrashClone() const {
  auto clone = std::make_unique<MemoryStore>(state_->clock, state_->options);
  std::lock_guard lock(state_->mutex);
  clone->state_->objects = state_->objects;
  return clone;
}

void MemoryStore::Overwrite(const std::string& location, std::string bytes) {
  (void)state_->Publish(location, std::move(bytes), true);
}

size_t MemoryStore::object_count() const {
  std::lock_guard lock(state_->mutex);
  return state_->objects.size();
}

int64_t MemoryStore::total_bytes() const {
  std::lock_guard lock(state_->mutex);
  int64_t total = 0;
  for (const auto& [location, object] : state_->objects) total += static_cast<int64_t>(object.bytes->size());
  return total;
}

}  // namespace firn::env
