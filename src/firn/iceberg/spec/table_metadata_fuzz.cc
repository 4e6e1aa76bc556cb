// Metadata from outside: it parses or is refused with a code; what parses survives writing and reading, and an ordinary
// commit on it neither crashes nor yields metadata that does not parse.
#include <cstdint>
#include <string_view>

#include "firn/base/check.h"
#include "firn/iceberg/spec/table_update.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::iceberg;
  auto parsed = TableMetadata::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.has_value()) return 0;
  std::string text = parsed->Serialize();
  auto again = TableMetadata::Parse(text);
  FIRN_CHECK(again.has_value(), "what Firn writes, Firn reads");
  FIRN_CHECK(again->Serialize() == text, "writing is canonical");

  Snapshot snapshot;
  snapshot.snapshot_id = firn::SnapshotId(4242);
  snapshot.parent_snapshot_id = parsed->current_snapshot_id;
  snapshot.sequence_number = parsed->last_sequence_number + (parsed->last_sequence_number < INT64_MAX ? 1 : 0);
  snapshot.timestamp_ms = 1'700'000'000'000;
  snapshot.manifest_list = "s3://bucket/list.avro";
  snapshot.summary = {{"operation", "append"}};
  snapshot.first_row_id = parsed->next_row_id;
  snapshot.added_rows = 10;
  std::vector<firn::SnapshotId> expired;
  if (!parsed->snapshots.empty()) expired.push_back(parsed->snapshots.front().snapshot_id);
  SnapshotRef head;
  head.snapshot_id = snapshot.snapshot_id;
  std::vector<TableUpdate> updates = {AddSchema{parsed->CurrentSchema(), 0},
                                      SetCurrentSchema{-1},
                                      AddPartitionSpec{parsed->DefaultSpec()},
                                      AddSortOrder{parsed->DefaultSortOrder()},
                                      AddSnapshot{snapshot},
                                      SetSnapshotRef{"main", head},
                                      RemoveSnapshots{expired},
                                      SetProperties{{{"a", "b"}}}};
  auto next = ApplyUpdates(*parsed, updates, 1'700'000'000'001, "s3://bucket/v1.metadata.json");
  if (!next.has_value()) return 0;
  FIRN_CHECK(TableMetadata::Parse(next->Serialize()).has_value(), "a commit's result parses");
  return 0;
}
