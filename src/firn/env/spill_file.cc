#include "firn/env/spill_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

namespace firn::env {
namespace {

std::unexpected<Error> SystemError(std::string_view action, const std::string& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG ||
                    error_number == EMFILE || error_number == ENFILE;
  const bool refused = error_number == EACCES || error_number == EPERM || error_number == EROFS;
  const ErrorCode code = full      ? ErrorCode::kResourceExhausted
                         : refused ? ErrorCode::kUnauthorized
                                   : ErrorCode::kIoError;
  return Fail(code, fmt::format("cannot {}: '{}': {}", action, path,
                                std::error_code(error_number, std::generic_category()).message()));
}

class LocalSpillFile final : public SpillFile {
 public:
  LocalSpillFile(int fd, std::string folder) : fd_(fd), folder_(std::move(folder)) {}
  ~LocalSpillFile() override { close(fd_); }

  Result<int64_t> Append(std::string_view bytes) override {
    // By offset: what a failed attempt has left behind is written over by the next.
    int64_t at = end_;
    while (!bytes.empty()) {
      ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), at);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) {
        const int error_number = written == 0 ? ENOSPC : errno;
        if (ftruncate(fd_, end_) != 0) return SystemError("cut the spill file back", folder_, errno);
        return SystemError("write a spill file", folder_, error_number);
      }
      bytes.remove_prefix(static_cast<size_t>(written));
      at += written;
    }
    return std::exchange(end_, at);
  }

  Status ReadAt(int64_t offset, char* out, size_t size) override {
    while (size > 0) {
      ssize_t read = pread(fd_, out, size, offset);
      if (read < 0 && errno == EINTR) continue;
      if (read < 0) return SystemError("read a spill file", folder_, errno);
      if (read == 0)
        return Fail(ErrorCode::kCorruption, fmt::format("a spill file is shorter than it was: '{}'", folder_));
      out += read;
      offset += read;
      size -= static_cast<size_t>(read);
    }
    return {};
  }

 private:
  const int fd_;
  const std::string folder_;  // for messages
  int64_t end_ = 0;
};

}  // namespace

Result<std::unique_ptr<LocalSpillFolder>> LocalSpillFolder::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return SystemError("make the spill folder", path, error.value());
  std::unique_ptr<LocalSpillFolder> folder(new LocalSpillFolder(path));
  FIRN_TRY(folder->NewFile());
  struct statfs system{};
  if (statfs(path.c_str(), &system) == 0) {
    folder->in_memory_ = system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC;
  }
  return folder;
}

Result<std::unique_ptr<SpillFile>> LocalSpillFolder::NewFile() {
  int fd = open(path_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)) {
    std::string name = path_ + "/firn-spill-XXXXXX";
    fd = mkostemp(name.data(), O_CLOEXEC);
    if (fd >= 0 && unlink(name.c_str()) != 0) {
      const int error_number = errno;
      close(fd);
      return SystemError("take the name off a spill file", path_, error_number);
    }
  }
  if (fd < 0) return SystemError("make a spill file", path_, errno);
  return std::make_unique<LocalSpillFile>(fd, path_);
}

class LimitedSpillFolder::File final : public SpillFile {
 public:
  File(std::unique_ptr<SpillFile> file, std::shared_ptr<std::atomic<int64_t>> all, int64_t bytes_max)
      : file_(std::move(file)), all_(std::move(all)), bytes_max_(bytes_max) {}
  ~File() override { *all_ -= bytes_; }

  Result<int64_t> Append(std::string_view bytes) override {
    const auto size = static_cast<int64_t>(bytes.size());
    // Taken before it is written: another file may be written to at the same time.
    if (all_->fetch_add(size) + size > bytes_max_) {
      *all_ -= size;
      return Fail(ErrorCode::kResourceExhausted, fmt::format("spill.limit is reached: {} bytes", bytes_max_));
    }
    Result<int64_t> offset = file_->Append(bytes);
    if (offset.has_value()) {
      bytes_ += size;
    } else {
      *all_ -= size;
    }
    return offset;
  }

  Status ReadAt(int64_t offset, char* out, size_t size) override { return file_->ReadAt(offset, out, size); }

 private:
  const std::unique_ptr<SpillFile> file_;
  const std::shared_ptr<std::atomic<int64_t>> all_;
  const int64_t bytes_max_;
  int64_t bytes_ = 0;
};

LimitedSpillFolder::LimitedSpillFolder(SpillFolder& folder, int64_t bytes_max)
    : folder_(folder), bytes_max_(bytes_max) {}

Result<std::unique_ptr<SpillFile>> LimitedSpillFolder::NewFile() {
  FIRN_ASSIGN(std::unique_ptr<SpillFile> file, folder_.NewFile());
  return std::make_unique<File>(std::move(file), bytes_, bytes_max_);
}

}  // namespace firn::env
