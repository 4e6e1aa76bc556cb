// Merges the Parquet files of a folder (FIRN_MERGE_FOLDER, as `bench/merge.py make` fills it) into one, and reports CPU
// seconds and the size of the output. Without the variable: nothing to do.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "firn/parquet/file_merge.h"
#include "firn/schema/schema_json.h"

namespace firn::parquet {
namespace {

std::string ReadWhole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::filesystem::file_size(path), '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

std::vector<std::filesystem::path> ParquetFiles(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".parquet") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void Print(const MergeCounts& counts) {
  std::cerr << "carried " << counts.pages_carried << ", new levels " << counts.pages_with_new_levels << ", as values "
            << counts.dictionaries_as_values << ", renumbered " << counts.pages_renumbered << ", encoded "
            << counts.pages_encoded << "\n";
}

// One pass: files into memory one by one, merged, written to <folder>/merged.out.
Status MergeFolder(const std::filesystem::path& folder, benchmark::State& state) {
  auto document = nlohmann::json::parse(ReadWhole(folder / "schema.json"), nullptr, false);
  if (document.is_discarded()) return Fail(ErrorCode::kInvalidInput, "schema.json is no JSON");
  FIRN_ASSIGN(const schema::Schema schema, schema::SchemaFromJson(document));
  std::ofstream out(folder / "merged.out", std::ios::binary);
  auto sink = [&](std::string_view bytes) -> Status {
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return out.good() ? Status() : Fail(ErrorCode::kIoError, "cannot write");
  };
  FIRN_ASSIGN(auto merge, FileMerge::Create(schema, {}, document.dump(), sink));
  int64_t bytes = 0;
  for (const auto& path : ParquetFiles(folder)) {
    auto file = std::make_shared<const std::string>(ReadWhole(path));
    bytes += static_cast<int64_t>(file->size());
    FIRN_ASSIGN(auto refusal, merge->Add(std::move(file)));
    if (refusal.has_value()) return Fail(ErrorCode::kUnsupported, refusal->detail);
  }
  FIRN_ASSIGN(const FileMetrics metrics, merge->Close());
  state.counters["rows"] = static_cast<double>(metrics.record_count);
  state.counters["in_MB"] = static_cast<double>(bytes) / 1e6;
  state.counters["out_MB"] = static_cast<double>(metrics.file_size_in_bytes) / 1e6;
  Print(merge->counts());
  return {};
}

void MergeOfFolder(benchmark::State& state) {
  const char* folder = std::getenv("FIRN_MERGE_FOLDER");
  if (folder == nullptr) {
    state.SkipWithError("FIRN_MERGE_FOLDER names no folder");
    return;
  }
  for (auto _ : state) {
    if (Status done = MergeFolder(folder, state); !done.has_value()) {
      state.SkipWithError(done.error().ToString().c_str());
      return;
    }
  }
}
BENCHMARK(MergeOfFolder)->Unit(benchmark::kMillisecond)->Iterations(1)->Repetitions(3);

}  // namespace
}  // namespace firn::parquet

BENCHMARK_MAIN();
