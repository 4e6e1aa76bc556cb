#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "firn/parquet/file_layout.h"

namespace firn::parquet {
namespace {

using Properties = std::map<std::string, std::string>;
using schema::TypeKind;

constexpr std::string_view kPrefix = "write.parquet.";
constexpr std::string_view kMetricsPrefix = "write.metadata.metrics.";
constexpr int64_t kMaxInferredColumnDefaults = 100;
constexpr double kBloomFilterFppDefault = 0.01;
constexpr int32_t kTruncateDefault = 16;
// Parquet's page header keeps sizes as int32; half of it leaves room for one long value.
constexpr int64_t kPageBytesLimit = 1 << 30;

std::optional<std::string_view> Find(const Properties& properties, const std::string& key) {
  auto found = properties.find(key);
  if (found == properties.end()) return std::nullopt;
  return found->second;
}

std::unexpected<Error> Bad(std::string_view key, std::string_view wanted, std::string_view value) {
  return Fail(ErrorCode::kInvalidInput, fmt::format("table property {} must be {}, but is: '{}'", key, wanted, value));
}

std::string KeyOf(std::string_view name) { return fmt::format("{}{}", kPrefix, name); }

template <typename Integer>
Status ReadInteger(const Properties& properties, const std::string& key, Integer smallest, Integer largest,
                   Integer& out) {
  auto text = Find(properties, key);
  if (!text.has_value()) return {};
  Integer value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < smallest || value > largest) {
    return Bad(key, fmt::format("a whole number from {} to {}", smallest, largest), *text);
  }
  out = value;
  return {};
}

Result<bool> ReadBool(const std::string& key, std::string_view text) {
  auto is = [&](std::string_view word) {
    return text.size() == word.size() && std::equal(text.begin(), text.end(), word.begin(), [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b;
    });
  };
  if (is("true")) return true;
  if (is("false")) return false;
  return Bad(key, "true or false", text);
}

Status ReadCompression(const Properties& properties, FileLayoutOptions& options) {
  struct Codec { std::string_view name; int32_t level_min; int32_t level_max; };  // no level where both are 0
  static constexpr Codec kCodecs[] = {{"uncompressed", 0, 0}, {"snappy", 0, 0}, {"gzip", 1, 9},
                                      {"zstd", 1, 22},        {"lz4", 0, 0},    {"brotli", 1, 11}};
  std::string key = KeyOf("compression-codec");
  if (auto text = Find(properties, key)) {
    options.compression_codec.clear();
    for (char c : *text) options.compression_codec += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  for (const auto& codec : kCodecs) {
    if (codec.name != options.compression_codec) continue;
    std::string level_key = KeyOf("compression-level");
    auto text = Find(properties, level_key);
    if (!text.has_value() || codec.level_max == 0) return {};  // as other writers: no level, nothing to read
    return ReadInteger(properties, level_key, codec.level_min, codec.level_max, options.compression_level);
  }
  return Bad(key, "one of uncompressed, snappy, gzip, zstd, lz4, brotli", options.compression_codec);
}

Status ReadSizes(const Properties& properties, FileLayoutOptions& options) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max() / 4;
  FIRN_TRY(ReadInteger(properties, KeyOf("row-group-size-bytes"), int64_t{1}, kMax, options.row_group_bytes_max));
  FIRN_TRY(ReadInteger(properties, KeyOf("page-size-bytes"), int64_t{1}, kPageBytesLimit, options.page_bytes_max));
  FIRN_TRY(ReadInteger(properties, KeyOf("page-row-limit"), int64_t{1}, kMax, options.page_rows_max));
  FIRN_TRY(ReadInteger(properties, KeyOf("dict-size-bytes"), int64_t{1}, kPageBytesLimit,
                       options.dictionary_bytes_max));
  FIRN_TRY(ReadInteger(properties, KeyOf("bloom-filter-max-bytes"), int64_t{32}, int64_t{128 << 20},
                       options.bloom_filter_bytes_max));
  FIRN_TRY(ReadInteger(properties, std::string("firn.parquet.row-group-row-limit"), int64_t{1}, kMax,
                       options.row_group_rows_max));
  std::string version_key = KeyOf("page-version");
  if (auto version = Find(properties, version_key)) {
    if (*version != "v1" && *version != "v2") return Bad(version_key, "v1 or v2", *version);
    options.page_version = *version == "v1" ? 1 : 2;
  }
  std::string encodings_key = "firn.parquet.encodings";
  if (auto encodings = Find(properties, encodings_key)) {
    if (*encodings != "modern" && *encodings != "compatible") {
      return Bad(encodings_key, "modern or compatible", *encodings);
    }
    options.modern_encodings = *encodings == "modern";
  }
  std::string checksum_key = "firn.parquet.page-checksum";
  if (auto checksum = Find(properties, checksum_key)) {
    FIRN_ASSIGN(options.page_checksum, ReadBool(checksum_key, *checksum));
  }
  return {};
}

Status ReadBloomFilter(const Properties& properties, const schema::LeafColumn& leaf, FileLayoutOptions& options) {
  std::string enabled_key = KeyOf("bloom-filter-enabled.column." + leaf.name);
  auto text = Find(properties, enabled_key);
  if (!text.has_value()) return {};
  FIRN_ASSIGN(bool enabled, ReadBool(enabled_key, *text));
  if (!enabled) return {};
  if (leaf.field->type->kind() == TypeKind::kBoolean) {
    return Bad(enabled_key, "false: a boolean column has no bloom filter", *text);
  }
  double fpp = kBloomFilterFppDefault;
  std::string fpp_key = KeyOf("bloom-filter-fpp.column." + leaf.name);
  if (auto fpp_text = Find(properties, fpp_key)) {
    auto [end, error] = std::from_chars(fpp_text->data(), fpp_text->data() + fpp_text->size(), fpp);
    if (error != std::errc() || end != fpp_text->data() + fpp_text->size() || !(fpp > 0 && fpp < 1)) {
      return Bad(fpp_key, "a number between 0 and 1", *fpp_text);
    }
  }
  int64_t ndv = 0;
  FIRN_TRY(ReadInteger(properties, KeyOf("bloom-filter-ndv.column." + leaf.name), int64_t{1}, int64_t{1} << 40, ndv));
  options.bloom_filter_fpp[leaf.field->id.value()] = fpp;
  if (ndv > 0) options.bloom_filter_ndv[leaf.field->id.value()] = ndv;
  return {};
}

// none, counts, full, truncate(n); any case, as Java takes it.
Result<ColumnMetricsOptions> ReadMode(const std::string& key, std::string_view text) {
  std::string mode;
  for (char c : text) mode += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (mode == "none") return ColumnMetricsOptions{MetricsMode::kNone, 0};
  if (mode == "counts") return ColumnMetricsOptions{MetricsMode::kCounts, 0};
  if (mode == "full") return ColumnMetricsOptions{MetricsMode::kFull, 0};
  constexpr std::string_view kOpen = "truncate(";
  if (mode.starts_with(kOpen) && mode.ends_with(')')) {
    const char* begin = mode.data() + kOpen.size();
    const char* end = mode.data() + mode.size() - 1;
    int32_t length = 0;
    auto [stop, error] = std::from_chars(begin, end, length);
    if (error == std::errc() && stop == end && length > 0) {
      return ColumnMetricsOptions{MetricsMode::kTruncate, length};
    }
  }
  return Bad(key, "none, counts, full or truncate(n) with n > 0", text);
}

// The leaves that keep default metrics when the table has more than `limit`: those of a struct before those below it,
// as Java counts them.
void FirstLeaves(const std::vector<schema::Field>& fields, int64_t limit, std::vector<int32_t>& ids) {
  auto full = [&] { return static_cast<int64_t>(ids.size()) >= limit; };
  for (const auto& field : fields) {
    if (!full() && field.type->is_primitive()) ids.push_back(field.id.value());
  }
  for (const auto& field : fields) {
    if (!full() && field.type->is_nested()) FirstLeaves(field.type->fields(), limit, ids);
  }
}

// Transforms that keep the order of their source: the source's bounds then say something about the sort order.
bool KeepsOrder(const schema::Transform& transform) {
  using Kind = schema::TransformKind;
  return transform.kind != Kind::kBucket && transform.kind != Kind::kVoid && transform.kind != Kind::kUnknown;
}

Status ReadMetrics(const Properties& properties, const schema::Schema& schema, const schema::SortOrder& sort_order,
                   const std::vector<schema::LeafColumn>& leaves, FileLayoutOptions& options) {
  std::string default_key = fmt::format("{}default", kMetricsPrefix);
  if (auto text = Find(properties, default_key)) {
    FIRN_ASSIGN(options.default_metrics, ReadMode(default_key, *text));
  } else {
    int64_t limit = kMaxInferredColumnDefaults;
    FIRN_TRY(ReadInteger(properties, fmt::format("{}max-inferred-column-defaults", kMetricsPrefix), int64_t{0},
                         int64_t{1} << 31, limit));
    if (static_cast<int64_t>(leaves.size()) > limit) {
      std::vector<int32_t> first;
      FirstLeaves(schema.fields, limit, first);
      for (int32_t id : first) options.metrics[id] = options.default_metrics;
      options.default_metrics = {MetricsMode::kNone, 0};
    }
  }
  if (options.default_metrics.mode == MetricsMode::kNone || options.default_metrics.mode == MetricsMode::kCounts) {
    for (const auto& field : sort_order.fields) {
      if (!KeepsOrder(field.transform)) continue;
      options.metrics[field.source_id.value()] = {MetricsMode::kTruncate, kTruncateDefault};
    }
  }
  for (const auto& leaf : leaves) {
    std::string key = fmt::format("{}column.{}", kMetricsPrefix, leaf.name);
    if (auto text = Find(properties, key)) {
      FIRN_ASSIGN(options.metrics[leaf.field->id.value()], ReadMode(key, *text));
    }
  }
  return {};
}

}  // namespace

Result<FileLayoutOptions> FileLayoutOptionsFromProperties(const std::map<std::string, std::string>& properties,
                                                          const schema::Schema& schema,
                                                          const schema::SortOrder& sort_order) {
  FileLayoutOptions options;
  FIRN_TRY(ReadCompression(properties, options));
  FIRN_TRY(ReadSizes(properties, options));
  auto leaves = schema::LeafColumns(schema);
  for (const auto& leaf : leaves) FIRN_TRY(ReadBloomFilter(properties, leaf, options));
  FIRN_TRY(ReadMetrics(properties, schema, sort_order, leaves, options));
  return options;
}

}  // namespace firn::parquet
