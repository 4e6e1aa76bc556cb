// Bytes that claim to be a manifest or a manifest list: a value or an error, and what was read can be written again.
#include <cstdint>
#include <string_view>

#include "firn/base/check.h"
#include "firn/iceberg/manifest/manifest_avro.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::iceberg;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto manifest = ReadManifest(bytes); manifest.has_value()) {
    manifest->header.format_version = 2;
    if (auto written = WriteManifest(manifest->header, manifest->entries); written.has_value()) {
      auto again = ReadManifest(*written);
      FIRN_CHECK(again.has_value() && again->entries.size() == manifest->entries.size(), "a written manifest is read");
    }
    auto summary = SummarizeManifest(manifest->header, manifest->entries, "m", 1, 1, firn::SnapshotId{1});
    FIRN_CHECK(!summary.has_value() || summary->manifest_path == "m", "a summary names its manifest");
  }
  if (auto list = ReadManifestList(bytes); list.has_value()) {
    if (auto written = WriteManifestList({}, list->manifests); written.has_value()) {
      auto again = ReadManifestList(*written);
      FIRN_CHECK(again.has_value() && again->manifests.size() == list->manifests.size(), "a written list is read");
    }
  }
  return 0;
}
