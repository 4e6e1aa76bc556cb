#include "firn/iceberg/catalog/catalog.h"

#include <fmt/format.h>

namespace firn::iceberg {

std::string TableIdentifier::ToString() const {
  std::string out;
  for (const std::string& level : namespace_levels) out += level + ".";
  return out + name;
}

Result<TableIdentifier> TableIdentifier::Parse(const std::string& dotted) {
  TableIdentifier out;
  size_t start = 0;
  while (true) {
    size_t dot = dotted.find('.', start);
    std::string part = dotted.substr(start, dot == std::string::npos ? dot : dot - start);
    if (part.empty()) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("a table name must be namespace.table, got: '{}'", dotted));
    }
    if (dot == std::string::npos) {
      out.name = std::move(part);
      break;
    }
    out.namespace_levels.push_back(std::move(part));
    start = dot + 1;
  }
  if (out.namespace_levels.empty()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a table name needs a namespace before it (namespace.table), got: '{}'", dotted));
  }
  return out;
}

}  // namespace firn::iceberg
