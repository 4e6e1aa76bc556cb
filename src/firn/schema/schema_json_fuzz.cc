// Feeds bytes to every reader of this module. What one accepts must survive its own writer: same value again.
#include <nlohmann/json.hpp>

#include <cstdint>
#include <string_view>

#include "firn/base/check.h"
#include "firn/schema/schema_json.h"
#include "firn/schema/type_parser.h"

namespace {

using namespace firn::schema;

void TryJson(std::string_view text) {
  nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  if (document.is_discarded()) return;
  if (auto schema = SchemaFromJson(document)) {
    auto again = SchemaFromJson(ToJson(*schema));
    FIRN_CHECK(again.has_value() && again->fields == schema->fields, "a schema changed on its way through JSON");
    (void)LeafColumns(*schema);
    for (const LeafColumn& leaf : LeafColumns(*schema)) {
      FIRN_CHECK(schema->FindByName(leaf.name) != nullptr, "a leaf is not found by its own name");
    }
    PartitionSpec spec;
    for (const Field& field : schema->fields) (void)ParsePartitionSpec({field.name}, *schema);
  }
  if (auto spec = PartitionSpecFromJson(document)) {
    auto again = PartitionSpecFromJson(ToJson(*spec));
    FIRN_CHECK(again.has_value() && again->fields == spec->fields, "a partition spec changed on its way through JSON");
    (void)PartitionType(*spec, Schema{});
    (void)CheckWritable(*spec, Schema{});
  }
  if (auto order = SortOrderFromJson(document)) {
    auto again = SortOrderFromJson(ToJson(*order));
    FIRN_CHECK(again.has_value() && again->fields == order->fields, "a sort order changed on its way through JSON");
  }
}

void TryText(std::string_view text) {
  int32_t next_field_id = 1;
  if (auto type = ParseTypeText(text, next_field_id)) {
    auto again = TypeFromJson(ToJson(**type));
    FIRN_CHECK(again.has_value() && **again == **type, "a type changed on its way through JSON");
  }
  Schema schema;
  schema.fields = {Field{firn::FieldId{1}, "time", Type::Primitive(TypeKind::kTimestamp)},
                   Field{firn::FieldId{2}, "name", Type::Primitive(TypeKind::kString)}};
  (void)ParsePartitionSpec({std::string(text)}, schema);
  (void)ParseSortOrder({std::string(text)}, schema);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  TryJson(text);
  TryText(text);
  return 0;
}
