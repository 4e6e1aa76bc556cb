#include "firn/iceberg/catalog/rest_paths.h"

namespace firn::iceberg {

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kUnreservedMarks = "-._~";
  std::string out;
  for (char c : text) {
    bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      kUnreservedMarks.find(c) != std::string_view::npos;
    auto byte = static_cast<unsigned char>(c);
    if (unreserved) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    }
  }
  return out;
}

std::string PrintableUri(std::string_view uri) {
  std::string out(uri.substr(0, uri.find_first_of("?#")));
  size_t scheme_end = out.find("://");
  size_t host = scheme_end == std::string::npos ? 0 : scheme_end + 3;
  size_t at = out.substr(0, out.find('/', host)).rfind('@');
  if (at != std::string::npos && at >= host) out.erase(host, at + 1 - host);
  return out;
}

std::string RestPaths::EncodeNamespace(const std::vector<std::string>& levels) const {
  std::string out;
  for (size_t i = 0; i < levels.size(); ++i) out += (i == 0 ? "" : namespace_separator) + PercentEncode(levels[i]);
  return out;
}

std::string RestPaths::Namespaces() const {
  return prefix.empty() ? "/v1/namespaces" : "/v1/" + prefix + "/namespaces";
}

std::string RestPaths::Namespace(const std::vector<std::string>& levels) const {
  return Namespaces() + "/" + EncodeNamespace(levels);
}

std::string RestPaths::Tables(const std::vector<std::string>& levels) const {
  return Namespace(levels) + "/tables";
}

std::string RestPaths::Table(const TableIdentifier& identifier) const {
  return Tables(identifier.namespace_levels) + "/" + PercentEncode(identifier.name);
}

}  // namespace firn::iceberg
