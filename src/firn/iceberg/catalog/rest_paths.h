// RestPaths: the paths of the Iceberg REST API under one catalog's prefix, and percent-encoding.
//
// A value; immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firn/iceberg/catalog/catalog.h"

namespace firn::iceberg {

// Everything but the unreserved characters of RFC 3986 as %XX.
std::string PercentEncode(std::string_view text);

// Scheme, host and path only, for messages: user info and query may hold secrets.
std::string PrintableUri(std::string_view uri);

struct RestPaths {
  std::string prefix;                       // as the server gave it, already encoded; may be empty
  std::string namespace_separator = "%1F";  // between encoded namespace levels, already encoded

  std::string EncodeNamespace(const std::vector<std::string>& levels) const;
  std::string Namespaces() const;
  std::string Namespace(const std::vector<std::string>& levels) const;
  std::string Tables(const std::vector<std::string>& levels) const;
  std::string Table(const TableIdentifier& identifier) const;
};

}  // namespace firn::iceberg
