// New tables: fresh field ids in Java's order, and version one of the metadata.
//
// Java numbers all fields of a struct before it descends into any of them, a list's element and a map's key and value
// before what they hold. Readers do not care, but a table made by Firn and one made by Spark from the same columns then
// have the same ids, and servers that assign anew (REST) change nothing.
#include <fmt/format.h>

#include <array>
#include <map>

#include "firn/iceberg/spec/spec_validation.h"
#include "firn/iceberg/spec/table_update.h"

namespace firn::iceberg {
namespace {

using schema::Field;
using schema::Type;
using schema::TypeKind;
using schema::TypePtr;

constexpr int32_t kAmbiguous = -1;
constexpr int32_t kInitialSortOrderId = 1;  // 0 is the unsorted order

// Names that engines compute themselves; as properties they would lie (Java: TableProperties.RESERVED_PROPERTIES).
constexpr std::array<std::string_view, 8> kReservedProperties = {"uuid",
                                                                 "snapshot-count",
                                                                 "current-snapshot-summary",
                                                                 "current-snapshot-id",
                                                                 "current-snapshot-timestamp-ms",
                                                                 "current-schema",
                                                                 "default-partition-spec",
                                                                 "default-sort-order"};

class FreshIds {
 public:
  std::vector<Field> Assign(const std::vector<Field>& fields) {
    std::vector<Field> out = fields;
    for (Field& field : out) {
      int32_t fresh = ++last_;
      auto [entry, inserted] = fresh_by_old_.emplace(field.id, fresh);
      if (!inserted) entry->second = kAmbiguous;
      field.id = FieldId(fresh);
    }
    for (Field& field : out) {
      if (field.type != nullptr && field.type->is_nested()) field.type = AssignNested(*field.type);
    }
    return out;
  }

  Result<FieldId> Fresh(FieldId old, std::string_view what) const {
    auto found = fresh_by_old_.find(old);
    if (found == fresh_by_old_.end()) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("{}: no column has the id: {}", what, old));
    }
    if (found->second == kAmbiguous) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("{}: more than one column has the id: {}", what, old));
    }
    return FieldId(found->second);
  }

  int32_t last() const { return last_; }

 private:
  TypePtr AssignNested(const Type& type) {
    std::vector<Field> fields = Assign(type.fields());
    switch (type.kind()) {
      case TypeKind::kList: return Type::List(std::move(fields[0]));
      case TypeKind::kMap: return Type::Map(std::move(fields[0]), std::move(fields[1]));
      default: return Type::Struct(std::move(fields));
    }
  }

  int32_t last_ = 0;
  std::map<FieldId, int32_t> fresh_by_old_;
};

Status TakeOutFormatVersion(Properties& properties) {
  auto found = properties.find("format-version");
  if (found != properties.end()) {
    if (found->second != "2") {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("Firn makes tables of format version 2; property 'format-version' asks for: '{}'",
                              found->second));
    }
    properties.erase(found);
  }
  for (std::string_view name : kReservedProperties) {
    if (properties.contains(std::string(name))) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("a table property has a reserved name; remove: '{}'", name));
    }
  }
  return {};
}

}  // namespace

Result<CreateTableRequest> WithFreshIds(const CreateTableRequest& request) {
  CreateTableRequest out = request;
  while (out.location.ends_with('/')) out.location.pop_back();
  FreshIds ids;
  out.schema.schema_id = 0;
  out.schema.fields = ids.Assign(request.schema.fields);
  for (FieldId& id : out.schema.identifier_field_ids) {
    FIRN_ASSIGN(id, ids.Fresh(id, "identifier-field-ids"));
  }
  out.spec.spec_id = 0;
  int32_t partition_id = kFirstPartitionFieldId;
  for (schema::PartitionField& field : out.spec.fields) {
    FIRN_ASSIGN(field.source_id, ids.Fresh(field.source_id, fmt::format("partition field '{}'", field.name)));
    field.field_id = FieldId(partition_id++);
  }
  out.sort_order.order_id = out.sort_order.fields.empty() ? 0 : kInitialSortOrderId;
  for (schema::SortField& field : out.sort_order.fields) {
    FIRN_ASSIGN(field.source_id, ids.Fresh(field.source_id, "sort order"));
  }
  FIRN_TRY(TakeOutFormatVersion(out.properties));
  FIRN_TRY(ValidateProperties(out.properties));
  FIRN_TRY(ValidateSchema(out.schema, 2));
  FIRN_TRY(ValidateSpec(out.spec, out.schema));
  FIRN_TRY(ValidateSortOrder(out.sort_order, out.schema));
  return out;
}

Result<TableMetadata> NewTableMetadata(const CreateTableRequest& request, const std::string& uuid, int64_t now_ms) {
  FIRN_ASSIGN(CreateTableRequest fresh, WithFreshIds(request));
  if (fresh.location.empty()) return Fail(ErrorCode::kInvalidInput, "a new table needs a location");
  TableMetadata out;
  out.format_version = 2;
  out.table_uuid = uuid;
  out.location = std::move(fresh.location);
  out.last_updated_ms = now_ms;
  out.last_column_id = fresh.schema.HighestFieldId();
  out.current_schema_id = fresh.schema.schema_id;
  out.schemas.push_back(std::move(fresh.schema));
  out.default_spec_id = fresh.spec.spec_id;
  out.last_partition_id = kFirstPartitionFieldId - 1 + static_cast<int32_t>(fresh.spec.fields.size());
  out.partition_specs.push_back(std::move(fresh.spec));
  out.default_sort_order_id = fresh.sort_order.order_id;
  out.sort_orders.emplace_back();  // order 0, so that files that are not sorted can name it
  if (out.default_sort_order_id != 0) out.sort_orders.push_back(std::move(fresh.sort_order));
  out.properties = std::move(fresh.properties);
  return out;
}

}  // namespace firn::iceberg
