#include "firn/iceberg/catalog/sqlite_database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <limits>

namespace firn::iceberg {
namespace {

ErrorCode CodeOf(int extended, bool is_write) {
  switch (extended & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::kUnavailable;      // a statement that ends so has been rolled back
    case SQLITE_FULL: return ErrorCode::kResourceExhausted;  // rolled back, too
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return ErrorCode::kUnauthorized;
    case SQLITE_CONSTRAINT: return ErrorCode::kAlreadyExists;
    case SQLITE_NOTADB: return ErrorCode::kCorruption;
    case SQLITE_CANTOPEN: return is_write ? ErrorCode::kUnavailable : ErrorCode::kIoError;  // no journal, no write
    default: break;
  }
  if (is_write) return ErrorCode::kCommitStateUnknown;
  return (extended & 0xff) == SQLITE_CORRUPT ? ErrorCode::kCorruption : ErrorCode::kIoError;
}

struct StatementCloser {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, StatementCloser>;

}  // namespace

Result<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(const std::string& path, int64_t busy_timeout_ms,
                                                             bool create) {
  sqlite3* handle = nullptr;
  // Never read-only: what a killed writer has left half done is rolled back by the next who opens the file.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
  int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  std::unique_ptr<SqliteDatabase> out(new SqliteDatabase(handle));
  if (handle == nullptr) return Fail(ErrorCode::kResourceExhausted, "SQLite has no memory");
  sqlite3_extended_result_codes(handle, 1);
  if (code != SQLITE_OK) {
    std::error_code ignored;
    if (!create && !std::filesystem::exists(path, ignored)) {
      return Fail(ErrorCode::kNotFound, fmt::format("no such file; correct the path, or let 'firn run' make it: '{}'",
                                                    std::filesystem::absolute(path, ignored).string()));
    }
    return std::unexpected<Error>(
        out->LastError(code, false)
            .WithContext("opening the catalog's database; its folder must exist and be writable"));
  }
  constexpr int64_t kTimeoutMax = std::numeric_limits<int>::max();
  sqlite3_busy_timeout(handle, static_cast<int>(std::clamp<int64_t>(busy_timeout_ms, 0, kTimeoutMax)));
  return out;
}

SqliteDatabase::~SqliteDatabase() {
  sqlite3_close_v2(handle_);
}

Error SqliteDatabase::LastError(int code, bool is_write) const {
  int extended = sqlite3_extended_errcode(handle_);
  if (extended == SQLITE_OK) extended = code;
  return Error(CodeOf(extended, is_write), fmt::format("sqlite: {} ({})", sqlite3_errmsg(handle_), extended));
}

Result<std::vector<SqliteDatabase::Row>> SqliteDatabase::Run(const char* sql,
                                                             const std::vector<std::string>& parameters,
                                                             bool is_write) {
  sqlite3_stmt* raw = nullptr;
  int code = sqlite3_prepare_v2(handle_, sql, -1, &raw, nullptr);
  Statement statement(raw);
  // Preparing reads the schema only; nothing can have been applied.
  if (code != SQLITE_OK) return std::unexpected<Error>(LastError(code, false));
  int index = 1;
  for (const std::string& parameter : parameters) {
    code = sqlite3_bind_text64(raw, index++, parameter.data(), parameter.size(), SQLITE_STATIC, SQLITE_UTF8);
    if (code != SQLITE_OK) return std::unexpected<Error>(LastError(code, false));
  }
  std::vector<Row> rows;
  while ((code = sqlite3_step(raw)) == SQLITE_ROW) {
    Row& row = rows.emplace_back();
    for (int column = 0; column < sqlite3_column_count(raw); ++column) {
      const unsigned char* text = sqlite3_column_text(raw, column);
      if (text == nullptr) {
        row.emplace_back();
      } else {
        row.emplace_back(
            std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(sqlite3_column_bytes(raw, column))));
      }
    }
  }
  if (code != SQLITE_DONE) return std::unexpected<Error>(LastError(code, is_write));
  return rows;
}

Result<std::vector<SqliteDatabase::Row>> SqliteDatabase::Query(const char* sql,
                                                               const std::vector<std::string>& parameters) {
  return Run(sql, parameters, false);
}

Result<int64_t> SqliteDatabase::Write(const char* sql, const std::vector<std::string>& parameters) {
  FIRN_TRY(Run(sql, parameters, true));
  return sqlite3_changes64(handle_);
}

}  // namespace firn::iceberg
