#include "firn/env/local_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <set>
#include <system_error>
#include <utility>

#include "firn/env/clock.h"

namespace firn::env {
namespace {

constexpr size_t kWriteBufferBytes = 1 << 20;
constexpr int kFolderDepthMax = 64;  // below a listed prefix; a loop of bind mounts would otherwise never end

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

ErrorCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR: return ErrorCode::kNotFound;
    case EEXIST: return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS: return ErrorCode::kUnauthorized;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ErrorCode::kResourceExhausted;
    case ENAMETOOLONG:
    case ELOOP:
    case EISDIR:
    case EINVAL: return ErrorCode::kInvalidInput;
    default: return ErrorCode::kIoError;
  }
}

std::string_view RemedyOf(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM: return "; give the user that runs Firn the permission";
    case EROFS: return "; mount the file system for writing";
    case ENOSPC: return "; free space on this file system";
    case EDQUOT: return "; raise the quota of the user that runs Firn";
    case EMFILE:
    case ENFILE: return "; raise the limit of open files";
    default: return "";
  }
}

std::unexpected<Error> SystemError(std::string_view action, const std::string& path, int error_number) {
  std::string reason = std::error_code(error_number, std::generic_category()).message();
  return Fail(CodeOf(error_number), fmt::format("cannot {}: {}{}: '{}'", action, reason, RemedyOf(error_number), path));
}

std::string FolderOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status SyncFolder(const std::string& folder) {
  FileDescriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return SystemError("open the folder to make it durable", folder, errno);
  // EINVAL: a file system that cannot sync folders (some network ones) orders its metadata itself.
  if (fsync(fd.get()) != 0 && errno != EINVAL) return SystemError("make the folder durable", folder, errno);
  return {};
}

// Gives `temporary` the name `path` in one step, unless something has that name. 0 or errno.
int MoveWithoutReplacing(const std::string& temporary, const std::string& path) {
  if (syscall(SYS_renameat2, AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // File systems without RENAME_NOREPLACE (NFS, older overlays): a hard link is as exclusive.
  if (link(temporary.c_str(), path.c_str()) != 0) return errno;
  unlink(temporary.c_str());
  return 0;
}

class LocalWriter final : public ObjectWriter {
 public:
  LocalWriter(FileDescriptor file, std::string temporary, std::string path)
      : file_(std::move(file)), temporary_(std::move(temporary)), path_(std::move(path)) {}
  ~LocalWriter() override {
    if (!published_) unlink(temporary_.c_str());
  }

  Status Append(std::string_view bytes) override {
    FIRN_TRY(RefuseAfterFailure());
    bytes_written_ += static_cast<int64_t>(bytes.size());
    if (buffer_.size() + bytes.size() <= kWriteBufferBytes) {
      buffer_.append(bytes);
      return {};
    }
    FIRN_TRY(Flush());
    if (bytes.size() > kWriteBufferBytes) return WriteAll(bytes);
    buffer_.append(bytes);
    return {};
  }

  Status Close() override {
    FIRN_TRY(RefuseAfterFailure());
    FIRN_TRY(Flush());
    if (fsync(file_.get()) != 0) return SystemError("make the file durable", path_, errno);
    // close(2) reports late write errors of network file systems.
    if (close(file_.Release()) != 0) return SystemError("close the file", path_, errno);
    int error_number = MoveWithoutReplacing(temporary_, path_);
    if (error_number == EEXIST) {
      return Fail(ErrorCode::kAlreadyExists, fmt::format("an object is already at this location: '{}'", path_));
    }
    if (error_number != 0) return SystemError("give the file its name", path_, error_number);
    published_ = true;
    return SyncFolder(FolderOf(path_));
  }

  int64_t bytes_written() const override { return bytes_written_; }

 private:
  // After a failed write nobody knows which bytes are in the file, so it can never be published.
  Status RefuseAfterFailure() const {
    if (!failed_) return {};
    return Fail(ErrorCode::kIoError, fmt::format("an earlier write failed; write the object anew: '{}'", path_));
  }

  Status Flush() {
    FIRN_TRY(WriteAll(buffer_));
    buffer_.clear();
    return {};
  }

  Status WriteAll(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t written = write(file_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        failed_ = true;
        return SystemError("write the file", path_, errno);
      }
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return {};
  }

  FileDescriptor file_;
  const std::string temporary_;
  const std::string path_;
  std::string buffer_;
  int64_t bytes_written_ = 0;
  bool failed_ = false;
  bool published_ = false;
};

// Adds what lies below `folder`; `shown` is the folder's location as the caller spelled it, with a '/' at its end.
Status ListFolder(const std::string& folder, const std::string& shown, int depth, int64_t objects_max,
                  std::vector<ObjectInfo>& out) {
  if (depth > kFolderDepthMax) {
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("folders are nested deeper than {}: '{}'", kFolderDepthMax, folder));
  }
  DIR* opened = opendir(folder.c_str());
  if (opened == nullptr) {
    // Missing, or removed since its parent was listed.
    if (errno == ENOENT || errno == ENOTDIR) return {};
    return SystemError("list the folder", folder, errno);
  }
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opened, closedir);
  while (true) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return SystemError("list the folder", folder, errno);
      return {};
    }
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat info {};
    if (fstatat(dirfd(directory.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return SystemError("look at the file", folder + "/" + entry->d_name, errno);
    }
    std::string location = shown + entry->d_name;
    if (S_ISDIR(info.st_mode)) {
      FIRN_TRY(ListFolder(folder + "/" + entry->d_name, location + "/", depth + 1, objects_max, out));
    } else if (S_ISREG(info.st_mode)) {
      if (static_cast<int64_t>(out.size()) >= objects_max) {
        return Fail(ErrorCode::kResourceExhausted,
                    fmt::format("more than {} objects; list a narrower prefix than the one with: '{}'", objects_max,
                                folder));
      }
      out.push_back({std::move(location), int64_t{info.st_size},
                     int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000});
    }
  }
}

std::unexpected<Error> NotLocal(std::string_view reason, std::string_view location) {
  return Fail(ErrorCode::kInvalidInput, fmt::format("{}: '{}'", reason, location));
}

}  // namespace

// mkdir -p, durable: each folder on the way is fsynced into its parent. That holds for folders that were there as well:
// whoever made them, this process in an earlier life perhaps, may have died before it came to that.
class LocalStore::DurableFolders {
 public:
  Status Make(const std::string& folder) {
    if (folder == "/") return {};
    bool was_there = true;
    struct stat info {};
    if (stat(folder.c_str(), &info) != 0) {
      if (errno == ENOTDIR) {
        return Fail(ErrorCode::kInvalidInput, fmt::format("a part of the path is a file, not a folder: '{}'", folder));
      }
      if (errno != ENOENT) return SystemError("look at the folder", folder, errno);
      FIRN_TRY(Make(FolderOf(folder)));
      was_there = mkdir(folder.c_str(), 0777) != 0;
      if (was_there && errno != EEXIST) return SystemError("make the folder", folder, errno);
      if (was_there && stat(folder.c_str(), &info) != 0) return SystemError("look at the folder", folder, errno);
    }
    if (was_there && !S_ISDIR(info.st_mode)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("a file stands where a folder is needed; move it: '{}'", folder));
    }
    if (was_there && IsKnown(folder)) return {};
    FIRN_TRY(Make(FolderOf(folder)));
    Status synced = SyncFolder(FolderOf(folder));
    // A parent that this user may not even read was made by somebody else, who had it in hand.
    bool foreign = was_there && !synced.has_value() && synced.error().code() == ErrorCode::kUnauthorized;
    if (!foreign) FIRN_TRY(std::move(synced));
    Remember(folder);
    return {};
  }

 private:
  static constexpr size_t kFoldersMax = 1024;

  bool IsKnown(const std::string& folder) {
    std::lock_guard lock(mutex_);
    return known_.contains(folder);
  }
  void Remember(const std::string& folder) {
    std::lock_guard lock(mutex_);
    if (known_.size() >= kFoldersMax) known_.clear();  // then some are synced once more
    known_.insert(folder);
  }

  std::mutex mutex_;
  std::set<std::string> known_;
};

LocalStore::LocalStore(LocalStoreOptions options)
    : options_(options), folders_(std::make_unique<DurableFolders>()) {}
LocalStore::~LocalStore() = default;

Result<std::string> LocalStore::PathOf(std::string_view location) {
  std::string_view path = location;
  if (path.starts_with("file:")) {
    path.remove_prefix(5);
    if (path.starts_with("//")) {
      path.remove_prefix(2);
      if (path.starts_with("localhost/")) path.remove_prefix(9);
      if (!path.starts_with("/")) {
        return NotLocal("a file location with a host name; write file:/// and an absolute path", location);
      }
    }
  }
  if (!path.starts_with("/")) return NotLocal("not an absolute path or file:/// location", location);
  if (path.find('\0') != std::string_view::npos) return NotLocal("a location with a zero byte", location);
  std::string_view rest = path;
  while (!rest.empty()) {
    size_t slash = std::min(rest.find('/'), rest.size());
    std::string_view segment = rest.substr(0, slash);
    if (segment == "." || segment == "..") {
      return NotLocal("'.' and '..' are not allowed in a location; write the path out", location);
    }
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  return std::string(path);
}

Result<std::unique_ptr<ObjectWriter>> LocalStore::OpenWrite(const std::string& location) {
  FIRN_ASSIGN(std::string path, PathOf(location));
  if (path.ends_with('/')) return NotLocal("an object's location cannot end with '/'", location);
  std::string folder = FolderOf(path);
  FIRN_TRY(folders_->Make(folder));
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    return Fail(ErrorCode::kAlreadyExists, fmt::format("an object is already at this location: '{}'", path));
  }
  std::string temporary = fmt::format("{}/firn-{:016x}.tmp", folder == "/" ? "" : folder, SystemRandom().Next64());
  FileDescriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.ok()) return SystemError("create a file in the folder", folder, errno);
  return std::make_unique<LocalWriter>(std::move(file), std::move(temporary), std::move(path));
}

Status LocalStore::Put(const std::string& location, std::string_view bytes) {
  FIRN_ASSIGN(auto writer, OpenWrite(location));
  FIRN_TRY(writer->Append(bytes));
  return writer->Close();
}

Status LocalStore::PutIfAbsent(const std::string& location, std::string_view bytes) { return Put(location, bytes); }

Result<std::string> LocalStore::Read(const std::string& location) {
  FIRN_ASSIGN(std::string path, PathOf(location));
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.ok()) return SystemError("open the file", path, errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return SystemError("look at the file", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return Fail(ErrorCode::kNotFound, fmt::format("no object here, but a folder or device: '{}'", path));
  }
  if (info.st_size > options_.read_bytes_max) {
    return Fail(ErrorCode::kResourceExhausted, fmt::format("the object has {} bytes, more than the limit of {}: '{}'",
                                                           info.st_size, options_.read_bytes_max, path));
  }
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    ssize_t got = read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("read the file", path, errno);
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  if (filled != bytes.size()) {
    return Fail(ErrorCode::kIoError, fmt::format("the file became shorter while it was read: '{}'", path));
  }
  return bytes;
}

Result<ObjectInfo> LocalStore::Stat(const std::string& location) {
  FIRN_ASSIGN(std::string path, PathOf(location));
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return SystemError("look at the file", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return Fail(ErrorCode::kNotFound, fmt::format("no object here, but a folder or device: '{}'", path));
  }
  return ObjectInfo{location, int64_t{info.st_size},
                    int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000};
}

Result<std::vector<ObjectInfo>> LocalStore::List(const std::string& prefix) {
  FIRN_ASSIGN(std::string folder, PathOf(prefix));
  std::string shown = prefix.ends_with('/') ? prefix : prefix + "/";
  std::vector<ObjectInfo> objects;
  FIRN_TRY(ListFolder(folder, shown, 0, options_.list_objects_max, objects));
  std::ranges::sort(objects, {}, &ObjectInfo::location);
  return objects;
}

Status LocalStore::Delete(const std::string& location) {
  FIRN_ASSIGN(std::string path, PathOf(location));
  if (unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
  return SystemError("delete the file", path, errno);
}

}  // namespace firn::env
