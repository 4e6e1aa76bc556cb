#include "firn/ingest/worker_metrics.h"

#include <gtest/gtest.h>

#include "firn/ingest/spill.h"

namespace firn::ingest {
namespace {

TEST(WorkerMetricsTest, MemoryIsToldUseByUseAndAsTheLastLookSawIt) {
  metrics::Registry registry;
  WorkerMetrics metrics(registry, "p");
  MemoryBudget memory(1 << 30);
  Spill spill(nullptr, 0);
  memory.Set(MemoryUse::kQueue, 1000);
  memory.Set(MemoryUse::kMetadata, 20);
  metrics.SetMemory(memory, spill);
  memory.Set(MemoryUse::kQueue, 300);
  metrics.SetMemory(memory, spill);
  const std::string text = registry.ExposeText();
  EXPECT_NE(text.find("\nfirn_memory_queue_bytes{pipeline=\"p\"} 300\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nfirn_memory_metadata_bytes{pipeline=\"p\"} 20\n"), std::string::npos);
  EXPECT_NE(text.find("\nfirn_memory_lanes_bytes{pipeline=\"p\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("\nfirn_memory_counted_bytes{pipeline=\"p\"} 320\n"), std::string::npos);
}

}  // namespace
}  // namespace firn::ingest
