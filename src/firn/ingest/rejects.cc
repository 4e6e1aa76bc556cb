#include "firn/ingest/rejects.h"

#include <fmt/format.h>

#include <optional>

#include "firn/base/encoding.h"
#include "firn/decode/json/kafka_column.h"
#include "firn/decode/json/text_check.h"

namespace firn::ingest {
namespace {

using schema::Field;
using schema::Type;
using schema::TypeKind;

Field MakeField(int32_t id, std::string name, schema::TypePtr type, bool required, std::string doc) {
  Field field;
  field.id = FieldId{id};
  field.name = std::move(name);
  field.type = std::move(type);
  field.required = required;
  field.doc = std::move(doc);
  return field;
}

schema::TypePtr HeadersType() {
  auto entry = Type::Struct({MakeField(15, "name", Type::Primitive(TypeKind::kString), false, ""),
                             MakeField(16, "value", Type::Primitive(TypeKind::kBinary), false, "")});
  return Type::List(MakeField(14, "element", std::move(entry), false, ""));
}

std::vector<Field> RejectFields() {
  auto string = Type::Primitive(TypeKind::kString);
  auto binary = Type::Primitive(TypeKind::kBinary);
  auto time = Type::Primitive(TypeKind::kTimestamptz);
  return {
      MakeField(1, "rejected_at", time, true, "when the worker rejected it"),
      MakeField(2, "code", string, true, "why, one of the codes of docs/formats/rejects.md"),
      MakeField(3, "message", string, false, "why, for people: column, place, value"),
      MakeField(4, "intended_table", string, false, "where it would have gone; null when it could not be routed"),
      MakeField(5, "cluster_id", string, true, ""),
      MakeField(6, "topic", string, true, ""),
      MakeField(7, "topic_id", string, true, ""),
      MakeField(8, "partition", Type::Primitive(TypeKind::kInt), true, ""),
      MakeField(9, "offset", Type::Primitive(TypeKind::kLong), true, ""),
      MakeField(10, "timestamp", time, false, "the record's own timestamp"),
      MakeField(11, "key", binary, false, "exact bytes; null: none"),
      MakeField(12, "value", binary, false, "exact bytes; null: a tombstone"),
      MakeField(13, "headers", HeadersType(), false, "in their order"),
  };
}

void AppendOptionalBytes(columnar::ColumnBuilder& column, const std::optional<std::string_view>& bytes) {
  if (bytes.has_value()) {
    column.AppendBytes(*bytes);
  } else {
    column.AppendNull();
  }
}

// Names and messages come from outside; a string column holds UTF-8.
void AppendText(columnar::ColumnBuilder& column, std::string_view text) {
  if (decode::json::IsValidUtf8(text)) {
    column.AppendBytes(text);
    return;
  }
  std::string valid;
  AppendValidUtf8(text, valid);
  column.AppendBytes(valid);
}

void AppendHeaders(columnar::ColumnBuilder& column, std::span<const stream::Header> headers) {
  columnar::ColumnBuilder& entry = column.child(0);
  for (const stream::Header& header : headers) {
    AppendText(entry.child(0), header.name);
    AppendOptionalBytes(entry.child(1), header.value);
    entry.AppendStruct();
  }
  column.AppendList();
}

}  // namespace

iceberg::CreateTableRequest RejectsTableRequest() {
  iceberg::CreateTableRequest request;
  request.schema.fields = RejectFields();
  schema::PartitionField day;
  day.source_id = FieldId{1};
  day.field_id = FieldId{1000};
  day.name = "rejected_at_day";
  day.transform.kind = schema::TransformKind::kDay;
  request.spec.fields.push_back(std::move(day));
  return request;
}

Result<std::unique_ptr<RejectsAppender>> RejectsAppender::Create(const schema::Schema& schema) {
  const std::vector<Field> known = RejectFields();
  auto appender = std::make_unique<RejectsAppender>();
  for (const Field& field : schema.fields) {
    Column column = Column::kOther;
    for (size_t i = 0; i < known.size(); ++i) {
      if (known[i].name != field.name) continue;
      bool headers_differ =
          field.type->kind() == TypeKind::kList &&
          (field.type->element().type->kind() != TypeKind::kStruct || field.type->element().type->fields().size() != 2);
      if (known[i].type->kind() != field.type->kind() || headers_differ) {
        return Fail(ErrorCode::kInvalidInput,
                    fmt::format("column '{}' of the rejects table must be {}, it is {}", field.name,
                                known[i].type->ToString(), field.type->ToString()));
      }
      column = static_cast<Column>(i);
    }
    if (column == Column::kOther && field.required) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("the rejects table has a required column that Firn cannot fill; make it optional: '{}'",
                              field.name));
    }
    appender->columns_.push_back(column);
  }
  return appender;
}

void RejectsAppender::Append(columnar::RowBuilder& rows, const stream::Record& record,
                             const stream::SourcePartition& partition, const decode::Reject& reject,
                             const std::string& intended_table, int64_t now_ms) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    columnar::ColumnBuilder& column = rows.column(i);
    switch (columns_[i]) {
      case Column::kRejectedAt: column.AppendInt64(now_ms * 1000); break;
      case Column::kCode: column.AppendBytes(decode::RejectCodeName(reject.code)); break;
      case Column::kMessage: AppendText(column, reject.message); break;
      case Column::kIntendedTable:
        if (intended_table.empty()) {
          column.AppendNull();
        } else {
          AppendText(column, intended_table);
        }
        break;
      case Column::kClusterId: column.AppendBytes(partition.cluster_id); break;
      case Column::kTopic: AppendText(column, partition.topic); break;
      case Column::kTopicId: column.AppendBytes(partition.topic_id); break;
      case Column::kPartition: column.AppendInt32(partition.partition); break;
      case Column::kOffset: column.AppendInt64(record.offset); break;
      case Column::kTimestamp:
        if (std::optional<int64_t> micros = decode::json::TimestampMicros(record); micros.has_value()) {
          column.AppendInt64(*micros);
        } else {
          column.AppendNull();
        }
        break;
      case Column::kKey: AppendOptionalBytes(column, record.key); break;
      case Column::kValue: AppendOptionalBytes(column, record.value); break;
      case Column::kHeaders: AppendHeaders(column, record.headers); break;
      case Column::kOther: column.AppendNull(); break;
    }
  }
  rows.CloseRow();
}

}  // namespace firn::ingest
