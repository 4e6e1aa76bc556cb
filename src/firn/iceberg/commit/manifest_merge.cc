#include "firn/iceberg/commit/manifest_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>

#include "firn/base/log.h"
#include "firn/iceberg/commit/live_entries.h"

namespace firn::iceberg {
namespace {

int64_t NumberProperty(const TableMetadata& metadata, const char* key, int64_t absent) {
  const std::string text = metadata.Property(key).value_or("");
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 ? value : absent;
}

bool HasSources(const schema::Schema& schema, const schema::PartitionSpec& spec) {
  return std::all_of(spec.fields.begin(), spec.fields.end(), [&](const schema::PartitionField& field) {
    return field.transform.kind == schema::TransformKind::kVoid || schema.FindById(field.source_id) != nullptr;
  });
}

// The manifest's own spec must be the table's: tuples are taken over by position.
bool SameFields(const schema::PartitionSpec& a, const schema::PartitionSpec& b) {
  return std::equal(a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(),
                    [](const schema::PartitionField& x, const schema::PartitionField& y) {
                      return x.field_id == y.field_id && x.source_id == y.source_id && x.transform == y.transform;
                    });
}

// Damage or strangeness of the inputs: they stay as they are. The store's troubles end the attempt.
bool CanBeCarried(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kCorruption:
    case ErrorCode::kUnsupported:
    case ErrorCode::kInvalidInput:
    case ErrorCode::kResourceExhausted: return true;
    default: return false;
  }
}

class Merger {
 public:
  Merger(const CommitScope& scope, const MergeOptions& options, std::vector<MergeCandidate>& candidates)
      : scope_(scope), options_(options), candidates_(candidates) {}

  Result<MergeResult> Run() {
    std::map<int32_t, std::vector<size_t>> groups;
    for (size_t i = 0; i < candidates_.size(); ++i) groups[candidates_[i].file.partition_spec_id].push_back(i);
    for (const auto& [spec_id, group] : groups) FIRN_TRY(MergeGroup(spec_id, group));
    // Newest first, as the candidates came; a merged manifest stands where its newest input stood.
    std::sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) { return a.position < b.position; });
    for (Placed& placed : placed_) result_.manifests.push_back(std::move(placed.manifest));
    return std::move(result_);
  }

 private:
  struct Placed {
    size_t position;
    ManifestFile manifest;
  };

  Status MergeGroup(int32_t spec_id, const std::vector<size_t>& group) {
    std::vector<int64_t> lengths;
    for (size_t index : group) lengths.push_back(candidates_[index].file.manifest_length);
    const schema::PartitionSpec* spec = scope_.base.FindSpec(spec_id);
    for (const std::vector<size_t>& packed : PackFromEnd(lengths, options_.target_size_bytes)) {
      std::vector<size_t> bin;
      for (size_t index : packed) bin.push_back(group[index]);
      const bool newest = bin.front() == group.front();
      const bool wanted = options_.enabled && spec != nullptr && bin.size() > 1 &&
                          (!newest || bin.size() >= options_.min_count_to_merge) &&
                          static_cast<size_t>(result_.merged) < kMergedManifestsPerCommitMax;
      bool merged = false;
      if (wanted) {
        FIRN_ASSIGN(merged, TryMerge(*spec, bin));
      }
      if (!merged) {
        for (size_t index : bin) FIRN_TRY(Carry(index));
      }
    }
    return {};
  }

  Status Carry(size_t index) {
    MergeCandidate& candidate = candidates_[index];
    if (candidate.fresh.has_value()) {
      FIRN_TRY(scope_.store.Put(candidate.file.manifest_path, candidate.fresh->bytes));
      ++result_.written;
    }
    placed_.push_back({index, candidate.file});
    return {};
  }

  Result<bool> TryMerge(const schema::PartitionSpec& spec, const std::vector<size_t>& bin) {
    auto done = Merge(spec, bin);
    if (done.has_value()) return true;
    if (!CanBeCarried(done.error())) return std::unexpected<Error>(std::move(done.error()));
    LogWarning("manifests are not merged",
               {{"table", scope_.base.location}, {"manifests", bin.size()}, {"error", done.error()}});
    return false;
  }

  Status Merge(const schema::PartitionSpec& spec, const std::vector<size_t>& bin) {
    const ManifestHeader header{SchemaForSpec(scope_.base, spec), spec};
    std::vector<ManifestEntry> entries;
    for (size_t index : bin) FIRN_TRY(AppendEntries(header, candidates_[index], entries));
    FIRN_ASSIGN(const std::string bytes, WriteManifest(header, entries));
    const std::string location = scope_.new_manifest_location();
    FIRN_ASSIGN(ManifestFile manifest, SummarizeManifest(header, entries, location, static_cast<int64_t>(bytes.size()),
                                                         scope_.sequence_number, scope_.snapshot_id));
    if (auto put = scope_.store.Put(location, bytes); !put.has_value()) {
      // A full disk is no strangeness of the inputs.
      if (put.error().code() != ErrorCode::kResourceExhausted) return put;
      return Fail(ErrorCode::kIoError, put.error().message());
    }
    ++result_.written;
    result_.merged += static_cast<int64_t>(bin.size());
    placed_.push_back({bin.front(), std::move(manifest)});
    return {};
  }

  Status AppendEntries(const ManifestHeader& header, MergeCandidate& candidate, std::vector<ManifestEntry>& entries) {
    if (candidate.fresh.has_value()) {
      FIRN_ASSIGN(ManifestFileContents contents, ReadManifest(candidate.fresh->bytes));
      std::ranges::move(contents.entries, std::back_inserter(entries));
      return {};
    }
    if (candidate.file.key_metadata.has_value()) {
      return Fail(ErrorCode::kUnsupported, fmt::format("an encrypted manifest: '{}'", candidate.file.manifest_path));
    }
    FIRN_ASSIGN(ManifestFileContents contents, ReadManifestFile(candidate.file, scope_.store));
    if (contents.header.content != ManifestContent::kData || !SameFields(contents.header.spec, header.spec)) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("a manifest of other content or spec than its manifest list says: "
                              "'{}'",
                              candidate.file.manifest_path));
    }
    for (ManifestEntry& entry : contents.entries) {
      if (!entry.is_live()) continue;
      entry.status = EntryStatus::kExisting;
      entries.push_back(std::move(entry));
    }
    return {};
  }

  const CommitScope& scope_;
  const MergeOptions& options_;
  std::vector<MergeCandidate>& candidates_;
  std::vector<Placed> placed_;
  MergeResult result_;
};

}  // namespace

MergeOptions MergeOptions::For(const TableMetadata& metadata) {
  MergeOptions options;
  options.enabled = metadata.BoolProperty("commit.manifest-merge.enabled", options.enabled);
  options.target_size_bytes = NumberProperty(metadata, "commit.manifest.target-size-bytes", options.target_size_bytes);
  options.min_count_to_merge = static_cast<size_t>(
      NumberProperty(metadata, "commit.manifest.min-count-to-merge", static_cast<int64_t>(options.min_count_to_merge)));
  return options;
}

std::vector<std::vector<size_t>> PackFromEnd(const std::vector<int64_t>& lengths, int64_t target) {
  std::vector<std::vector<size_t>> bins;
  int64_t room = 0;
  for (size_t i = lengths.size(); i-- > 0;) {
    const int64_t length = std::max<int64_t>(lengths[i], 0);
    if (bins.empty() || length > room) {
      bins.emplace_back();
      room = target;
    }
    room = length > room ? 0 : room - length;
    bins.back().push_back(i);
  }
  for (std::vector<size_t>& bin : bins) std::reverse(bin.begin(), bin.end());
  std::reverse(bins.begin(), bins.end());
  return bins;
}

const schema::Schema& SchemaForSpec(const TableMetadata& metadata, const schema::PartitionSpec& spec) {
  const schema::Schema& current = metadata.CurrentSchema();
  if (HasSources(current, spec)) return current;
  for (auto schema = metadata.schemas.rbegin(); schema != metadata.schemas.rend(); ++schema) {
    if (HasSources(*schema, spec)) return *schema;
  }
  return current;
}

Result<MergeResult> MergeManifests(const CommitScope& scope, const MergeOptions& options,
                                   std::vector<MergeCandidate> candidates) {
  return Merger(scope, options, candidates).Run();
}

}  // namespace firn::iceberg
