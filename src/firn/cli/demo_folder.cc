#include "firn/cli/demo_folder.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "firn/config/columns.h"

namespace firn::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMarker = ".firn-demo";
constexpr std::array kOwnFiles = {"firn.yaml",      "catalog.db",      "catalog.db-journal", "catalog.db-wal",
                                  "catalog.db-shm", "query_duckdb.py", "query_pyiceberg.py", "warehouse"};

constexpr const char* kConfigHead =
    "# Written by `firn demo`. The brokers lived in that process only; the rest is a real configuration.\n";

// OCSF 1.3 Network Activity as the generator makes it: 35 leaf columns.
constexpr const char* kTables = R"text(tables:
  - name: demo.network_activity
    columns:
      - {name: time, type: timestamptz, required: true, doc: When the flow was seen}
      - {name: event_time, type: timestamptz}
      - {name: class_uid, type: int}
      - {name: class_name, type: string}
      - {name: category_uid, type: int}
      - {name: category_name, type: string}
      - {name: activity_id, type: int}
      - {name: activity_name, type: string}
      - {name: type_uid, type: long}
      - {name: type_name, type: string}
      - {name: severity_id, type: int}
      - {name: severity, type: string}
      - {name: status_id, type: int}
      - name: metadata
        type: struct
        fields:
          - {name: uid, type: string}
          - {name: version, type: string}
          - {name: product, type: "struct<name: string, vendor_name: string, version: string>"}
          - {name: logged_time, type: timestamptz}
      - {name: src_endpoint, type: "struct<ip: string, port: int, hostname: string>"}
      - {name: dst_endpoint, type: "struct<ip: string, port: int>"}
      - name: connection_info
        type: "struct<protocol_name: string, protocol_num: int, direction_id: int, uid: string>"
      - {name: traffic, type: "struct<bytes_in: long, bytes_out: long, packets_in: long, packets_out: long>"}
      - {name: observables, type: "list<struct<name: string, type_id: int, value: string>>"}
    partition: ["day(time)"]
)text";

constexpr const char* kDuckDb = R"text(# Queries the demo's table with DuckDB and its Iceberg extension, both from PyPI.
import pathlib
import site

import duckdb

TABLE = {metadata}


def load(extension):
    for folder in site.getsitepackages():
        for file in pathlib.Path(folder, f"duckdb_extension_{{extension}}").rglob(f"{{extension}}.duckdb_extension"):
            if f"v{{duckdb.__version__}}" in file.parts:
                duckdb.sql(f"LOAD '{{file}}'")
                return
    duckdb.sql(f"INSTALL {{extension}}")
    duckdb.sql(f"LOAD {{extension}}")


load("avro")  # first: the Iceberg extension needs it
load("iceberg")
print(duckdb.sql(f"""
    SELECT time::DATE AS day, connection_info.protocol_name AS protocol, count(*) AS flows,
           sum(traffic.bytes_in + traffic.bytes_out) AS bytes
    FROM iceberg_scan('{{TABLE}}') GROUP BY ALL ORDER BY ALL"""))
print(duckdb.sql(f"SELECT count(*) AS rows FROM iceberg_scan('{{TABLE}}')"))
)text";

constexpr const char* kPyIceberg =
    R"text(# Queries the demo's tables with PyIceberg, through the catalog that Firn wrote.
from pyiceberg.catalog import load_catalog

catalog = load_catalog("firn", type="sql", uri={uri}, warehouse={warehouse})
table = catalog.load_table("{table}")
flows = table.scan(selected_fields=("time", "severity", "traffic")).to_arrow()
print("{table}:", flows.num_rows, "rows in", table.inspect.files().num_rows, "files")
print(flows.group_by("severity").aggregate([("severity", "count")]).to_pydict())
rejects = catalog.load_table("{rejects}").scan(selected_fields=("code",)).to_arrow()
print("{rejects}:", rejects.group_by("code").aggregate([("code", "count")]).to_pydict())
)text";

// A Python string literal.
std::string PythonText(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

Result<DemoFolder> DemoFolder::Prepare(const std::string& path) {
  std::error_code error;
  DemoFolder folder;
  folder.shown_ = path;
  folder.path_ = fs::absolute(path, error).lexically_normal().string();
  while (folder.path_.size() > 1 && folder.path_.ends_with('/')) folder.path_.pop_back();
  if (error || path.empty()) return Fail(ErrorCode::kInvalidInput, fmt::format("not a folder's name: '{}'", path));
  // These would have to be escaped differently in each of YAML, SQL and URIs.
  if (folder.path_.find_first_of("'\"\\\n%?#") != std::string::npos) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the folder's name may not hold quotes, '\\', '%', '?' or '#': '{}'", folder.path_));
  }
  bool is_ours = fs::exists(fs::path(folder.path_) / kMarker, error);
  if (fs::exists(folder.path_, error) && !is_ours && !fs::is_empty(folder.path_, error)) {
    return Fail(ErrorCode::kAlreadyExists,
                fmt::format("the folder is not empty and no earlier demo made it; choose another with --dir: '{}'",
                            folder.path_));
  }
  fs::create_directories(folder.path_, error);
  if (error) {
    return Fail(ErrorCode::kIoError,
                fmt::format("the folder cannot be made ({}): '{}'", error.message(), folder.path_));
  }
  for (const char* name : kOwnFiles) {
    fs::remove_all(fs::path(folder.path_) / name, error);
    if (error) return Fail(ErrorCode::kIoError, fmt::format("cannot be removed ({}): '{}'", error.message(), name));
  }
  FIRN_TRY(folder.WriteFile(kMarker, "made by firn demo; it may clear this folder\n"));
  return folder;
}

Status DemoFolder::WriteFile(const std::string& name, const std::string& text) const {
  std::ofstream file(path_ + "/" + name, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return Fail(ErrorCode::kIoError, fmt::format("cannot be written: '{}/{}'", path_, name));
  return {};
}

Status DemoFolder::WriteConfig(const std::string& bootstrap) const {
  std::string catalog = config::QuoteYaml(path_ + "/catalog.db");
  std::string warehouse = config::QuoteYaml("file://" + this->warehouse());
  std::string text = kConfigHead;
  text += fmt::format("pipeline: {}\nkafka: {{bootstrap.servers: \"{}\"}}\nsource: {{topics: [{}]}}\n", kDemoPipeline,
                      bootstrap, kDemoTopic);
  text += fmt::format("catalog:\n  type: sqlite\n  uri: {}\n  name: firn\n  warehouse: {}\n", catalog, warehouse);
  text += kTables;
  text += fmt::format("rejects: {{table: {}}}\n", kDemoRejects);
  text += "commit: {interval: 5s}\npositions: {checkpoint: 5s}\nmemory: {limit: 256MiB}\n";
  text += "http: {listen: \"127.0.0.1:0\"}\nlog: {level: warning}\n";
  return WriteFile("firn.yaml", text);
}

Status DemoFolder::WriteQueries(const std::string& metadata_location) const {
  FIRN_TRY(WriteFile("query_duckdb.py", fmt::format(kDuckDb, fmt::arg("metadata", PythonText(metadata_location)))));
  return WriteFile("query_pyiceberg.py",
                   fmt::format(kPyIceberg, fmt::arg("uri", PythonText("sqlite:///" + path_ + "/catalog.db")),
                               fmt::arg("warehouse", PythonText("file://" + warehouse())),
                               fmt::arg("table", kDemoTable), fmt::arg("rejects", kDemoRejects)));
}

std::string DemoQueryCommands(const DemoFolder& folder) {
  std::string path = folder.shown_path();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (path.find(' ') != std::string::npos) path = fmt::format("'{}'", path);
  return fmt::format(
      "  python3 -m venv {0}/venv\n"
      "  {0}/venv/bin/pip install --quiet duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-iceberg==1.5.5 "
      "\\\n"
      "      'pyiceberg[sql-sqlite,pyarrow]==0.12.0'\n"
      "  {0}/venv/bin/python {0}/query_duckdb.py\n"
      "  {0}/venv/bin/python {0}/query_pyiceberg.py\n",
      path);
}

}  // namespace firn::cli
