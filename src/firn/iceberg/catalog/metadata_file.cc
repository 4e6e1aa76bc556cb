#include "firn/iceberg/catalog/metadata_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "firn/base/encoding.h"
#include "firn/base/log.h"

namespace firn::iceberg {
namespace {

constexpr std::string_view kGzipMagic = "\x1f\x8b";
constexpr int kGzipWindowBits = 15 + 16;  // zlib: 16 added selects the gzip wrapper
constexpr size_t kChunkBytes = size_t{1} << 18;
constexpr int kNameAttemptsMax = 3;
constexpr size_t kShownLocationBytesMax = 100;
constexpr std::string_view kMetadataSuffix = ".metadata.json";

Result<std::string> Unfold(z_stream& stream, std::string_view bytes, size_t bytes_max) {
  std::string out;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  int code = Z_OK;
  while (code == Z_OK) {
    size_t old_size = out.size();
    out.resize(old_size + kChunkBytes);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + old_size);
    stream.avail_out = static_cast<uInt>(kChunkBytes);
    code = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (out.size() > bytes_max) {
      return Fail(ErrorCode::kResourceExhausted, fmt::format("gzip data unfolds beyond the limit: {}", bytes_max));
    }
    // gzip files may be joined; the next member follows (RFC 1952, section 2.2).
    if (code == Z_STREAM_END && stream.avail_in > 0) code = inflateReset(&stream);
  }
  if (code != Z_STREAM_END) {
    return Fail(ErrorCode::kCorruption, fmt::format("gzip data is damaged or cut off: zlib {}", code));
  }
  return out;
}

bool WantsGzip(const TableMetadata& metadata) {
  return metadata.Property("write.metadata.compression-codec").value_or("none") == "gzip";
}

}  // namespace

Result<std::string> GunzipMetadata(std::string bytes, size_t bytes_max) {
  if (!bytes.starts_with(kGzipMagic)) return bytes;
  if (bytes.size() > bytes_max) {
    return Fail(ErrorCode::kResourceExhausted, fmt::format("metadata is larger than the limit: {}", bytes.size()));
  }
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindowBits) != Z_OK) return Fail(ErrorCode::kResourceExhausted, "zlib has no memory");
  Result<std::string> out = Unfold(stream, bytes, bytes_max);
  inflateEnd(&stream);
  return out;
}

Result<std::string> GzipMetadata(std::string_view bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Fail(ErrorCode::kResourceExhausted, "zlib has no memory");
  }
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int code = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (code != Z_STREAM_END) return Fail(ErrorCode::kInternal, fmt::format("zlib did not finish: {}", code));
  return out;
}

std::string MetadataFolder(const TableMetadata& metadata) {
  std::string folder = metadata.Property("write.metadata.path").value_or("");
  while (folder.ends_with('/')) folder.pop_back();
  return folder.empty() ? metadata.location + "/metadata" : folder;
}

int64_t MetadataVersion(std::string_view metadata_location) {
  std::string_view name = metadata_location.substr(metadata_location.rfind('/') + 1);
  size_t dash = name.find('-');
  int64_t version = -1;
  if (dash == std::string_view::npos) return -1;
  auto [end, error] = std::from_chars(name.data(), name.data() + dash, version);
  return error == std::errc() && end == name.data() + dash && version >= 0 ? version : -1;
}

Result<TableMetadata> ReadMetadataFile(env::ObjectStore& store, const std::string& location) {
  auto context = [&] { return fmt::format("metadata file '{}'", location); };
  FIRN_ASSIGN(std::string bytes, WithContext(store.Read(location), context()));
  FIRN_ASSIGN(std::string text, WithContext(GunzipMetadata(std::move(bytes)), context()));
  return WithContext(TableMetadata::Parse(text), context());
}

Result<std::string> WriteMetadataFile(env::ObjectStore& store, env::Random& random, const TableMetadata& metadata,
                                      int64_t version) {
  std::string bytes = metadata.Serialize();
  bool gzip = WantsGzip(metadata);
  if (gzip) {
    FIRN_ASSIGN(bytes, GzipMetadata(bytes));
  }
  Status written;
  for (int attempt = 0; attempt < kNameAttemptsMax; ++attempt) {
    uint64_t high = random.Next64();
    std::string uuid = FormatUuid(MakeUuidV4(high, random.Next64()));
    std::string location =
        fmt::format("{}/{:05}-{}{}{}", MetadataFolder(metadata), version, uuid, gzip ? ".gz" : "", kMetadataSuffix);
    if (location.size() > kMetadataLocationBytesMax) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("the location of a metadata file would have {} bytes, and catalogs keep at most {}; give "
                              "the table a shorter location or write.metadata.path: '{}…'",
                              location.size(), kMetadataLocationBytesMax, location.substr(0, kShownLocationBytesMax)));
    }
    written = store.PutIfAbsent(location, bytes);
    if (written.has_value()) return location;
    // A store that sent its answer twice says that the name is taken, by us: take another rather than guess.
    if (written.error().code() != ErrorCode::kAlreadyExists) break;
  }
  return std::unexpected<Error>(std::move(written.error()).WithContext("writing metadata"));
}

void DeleteExpiredMetadataFiles(env::ObjectStore& store, const TableMetadata& base, const TableMetadata& current) {
  if (!current.BoolProperty("write.metadata.delete-after-commit.enabled", false)) return;
  std::set<std::string_view> kept;
  for (const MetadataLogEntry& entry : current.metadata_log) kept.insert(entry.metadata_file);
  for (const MetadataLogEntry& entry : base.metadata_log) {
    const std::string& file = entry.metadata_file;
    if (kept.contains(file)) continue;
    // The log is text that anybody may have written; only what can be this table's metadata is deleted.
    bool is_ours = file.starts_with(current.location + "/") || file.starts_with(MetadataFolder(current) + "/");
    bool is_metadata = file.ends_with(kMetadataSuffix) || file.ends_with(".metadata.json.gz");
    if (!is_ours || !is_metadata || file.find("/../") != std::string::npos) continue;
    Status deleted = store.Delete(file);
    if (!deleted.has_value()) {
      LogWarning("an expired metadata file could not be deleted", {{"file", file}, {"error", deleted.error()}});
    }
  }
}

}  // namespace firn::iceberg
