// metadata.json as a file: its name, its optional gzip, and its way in and out of an ObjectStore.
//
// What a catalog without a server of its own does. Functions without state; thread-safe as the store is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

// A bound on what a small gzip file may unfold to.
inline constexpr size_t kMetadataBytesMax = size_t{1} << 30;

// Columns of SQL catalogs keep as many characters of a metadata location; some databases cut what is longer.
inline constexpr size_t kMetadataLocationBytesMax = 1000;

// Plain text is returned as it is: gzip is recognised by its magic bytes, whatever the name says. kCorruption: damaged
// or truncated; kResourceExhausted: unfolds to more than `bytes_max`.
Result<std::string> GunzipMetadata(std::string bytes, size_t bytes_max = kMetadataBytesMax);
Result<std::string> GzipMetadata(std::string_view bytes);

// write.metadata.path, else <location>/metadata; no '/' at the end.
std::string MetadataFolder(const TableMetadata& metadata);
// The number before the first '-' of ".../00012-<uuid>.metadata.json"; -1 when there is none.
int64_t MetadataVersion(std::string_view metadata_location);

// kNotFound keeps its code, with the location; what cannot be read as metadata is kCorruption or kUnsupported.
Result<TableMetadata> ReadMetadataFile(env::ObjectStore& store, const std::string& location);

// Writes the metadata under a new name, "<version, 5 digits>-<uuid>.metadata.json" or, with
// write.metadata.compression-codec=gzip, "….gz.metadata.json"; never overwrites. Returns the location. kInvalidInput,
// and nothing is written: it would be longer than kMetadataLocationBytesMax.
Result<std::string> WriteMetadataFile(env::ObjectStore& store, env::Random& random, const TableMetadata& metadata,
                                      int64_t version);

// write.metadata.delete-after-commit.enabled: deletes the files that `base`'s log still named and `current`'s does not,
// if they are metadata files of this table. Failures are logged only: the commit has happened.
void DeleteExpiredMetadataFiles(env::ObjectStore& store, const TableMetadata& base, const TableMetadata& current);

}  // namespace firn::iceberg
