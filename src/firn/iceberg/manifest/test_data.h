// Files that tests of several modules read: tests/data/manifests, written by other engines (see its README).
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace firn::iceberg {

inline std::string ReadManifestTestData(const std::string& name) {
  const char* root = std::getenv("FIRN_SOURCE_DIR");
  std::ifstream file(std::string(root == nullptr ? "." : root) + "/tests/data/manifests/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace firn::iceberg
