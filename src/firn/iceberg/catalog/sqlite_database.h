// SqliteDatabase: one connection to one SQLite file, with every outcome as a firn::Error.
//
// Not thread-safe; its owner holds a lock. Each statement is a transaction of its own. A write whose outcome SQLite
// cannot tell (an I/O error while it commits) is kCommitStateUnknown; a lock that somebody else kept too long is
// kUnavailable and certainly without effect.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"

struct sqlite3;

namespace firn::iceberg {

class SqliteDatabase {
 public:
  using Row = std::vector<std::optional<std::string>>;  // columns as text; nothing: NULL

  // Opens the file; `create`: makes it if it is missing. kNotFound: it is missing; kIoError: the folder is missing or
  // may not be written; kCorruption: no SQLite file.
  static Result<std::unique_ptr<SqliteDatabase>> Open(const std::string& path, int64_t busy_timeout_ms, bool create);
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  Result<std::vector<Row>> Query(const char* sql, const std::vector<std::string>& parameters);
  // Returns the number of changed rows. kAlreadyExists: a key is taken.
  Result<int64_t> Write(const char* sql, const std::vector<std::string>& parameters);

 private:
  explicit SqliteDatabase(sqlite3* handle) : handle_(handle) {}
  Result<std::vector<Row>> Run(const char* sql, const std::vector<std::string>& parameters, bool is_write);
  Error LastError(int code, bool is_write) const;

  sqlite3* handle_;
};

}  // namespace firn::iceberg
