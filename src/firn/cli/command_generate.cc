#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/cli/command_factories.h"
#include "firn/kafka/event_generator.h"
#include "firn/kafka/producer.h"

namespace firn::cli {
namespace {

constexpr int64_t kFlushTimeoutMs = 120'000;
constexpr int64_t kProgressEvery = 500'000;

class GenerateCommand final : public Command {
 public:
  std::string_view name() const override { return "generate"; }
  std::string_view summary() const override {
    return "Produce sample events into a topic, to try Firn and to measure it";
  }
  std::string_view details() const override {
    return "Writes OCSF Network Activity events (nested JSON, about 950 bytes, realistic cardinalities) into an "
           "existing\n"
           "topic, spread over --partitions in turn. The same seed gives the same events. With --malformed-every N "
           "each\n"
           "Nth is broken in one of seven ways.";
  }
  std::string_view examples() const override {
    return "firn generate --bootstrap 127.0.0.1:9092 --topic flows --count 1000000 --partitions 6\n"
           "firn generate --bootstrap 127.0.0.1:9092 --topic flows --count 1000 --malformed-every 10 --json";
  }
  std::string_view exit_codes() const override {
    return "0    every event was delivered\n"
           "1    failed; the message says why\n"
           "2    the command line is wrong";
  }
  bool handles_stop() const override { return true; }

  void AddOptions(CLI::App& app) override {
    app.add_option("--bootstrap", bootstrap_, "Kafka bootstrap servers")->type_name("HOST:PORT")->required();
    app.add_option("--topic", topic_, "An existing topic")->type_name("TOPIC")->required();
    app.add_option("--count", count_, "How many events")->type_name("N")->default_val(1000)->check(CLI::PositiveNumber);
    app.add_option("--partitions", partitions_, "Spread over this many partitions in turn")
        ->type_name("N")
        ->default_val(1)
        ->check(CLI::PositiveNumber);
    app.add_option("--malformed-every", options_.malformed_every, "Break every Nth event; 0: none")
        ->type_name("N")
        ->default_val(0)
        ->check(CLI::NonNegativeNumber);
    app.add_option("--seed", options_.seed, "Seed of the generator")->type_name("N")->default_val(42);
    app.add_option("--compression", compression_, "Compression of batches")
        ->type_name("CODEC")
        ->default_val("lz4")
        ->check(CLI::IsMember({"none", "gzip", "snappy", "lz4", "zstd"}));
    app.add_flag("--json", json_, "Print one JSON document at the end");
  }

  int Run(Invocation& invocation) override {
    Result<int64_t> produced = Produce(invocation);
    if (!produced.has_value()) return ReportError(invocation, produced.error(), json_);
    if (json_) {
      invocation.out << nlohmann::json(
                            {{"topic", topic_}, {"events", *produced}, {"malformed", malformed_}, {"bytes", bytes_}})
                            .dump()
                     << "\n";
    } else {
      invocation.out << fmt::format("{} events, {} of them malformed, {} bytes\n", *produced, malformed_, bytes_);
    }
    return *produced == count_ ? kSuccess : kInterrupted;
  }

 private:
  Result<int64_t> Produce(Invocation& invocation) {
    kafka::ProducerOptions producer_options;
    producer_options.bootstrap = bootstrap_;
    producer_options.properties = {{"compression.type", compression_}, {"linger.ms", "50"}, {"batch.size", "1000000"}};
    FIRN_ASSIGN(std::unique_ptr<kafka::Producer> producer, kafka::Producer::Create(std::move(producer_options)));
    options_.events_per_span = count_;
    kafka::EventGenerator generator(options_);
    int64_t made = 0;
    for (; made < count_ && !invocation.stop.stop_requested(); ++made) {
      generator.Next();
      kafka::ProducedRecord record;
      record.value = generator.value();
      record.timestamp_ms = generator.time_ms();
      FIRN_TRY(producer->Produce(topic_, static_cast<int32_t>(made % partitions_), record));
      bytes_ += static_cast<int64_t>(generator.value().size());
      malformed_ += generator.malformation() == kafka::Malformation::kNone ? 0 : 1;
      if (invocation.err_is_terminal && made % kProgressEvery == kProgressEvery - 1) {
        invocation.err << fmt::format("{} of {} events\n", made + 1, count_);
      }
    }
    FIRN_TRY(producer->Flush(kFlushTimeoutMs));
    return made;
  }

  std::string bootstrap_;
  std::string topic_;
  int64_t count_ = 1000;
  int64_t partitions_ = 1;
  std::string compression_ = "lz4";
  kafka::EventGeneratorOptions options_;
  int64_t malformed_ = 0;
  int64_t bytes_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeGenerateCommand() {
  return std::make_unique<GenerateCommand>();
}

}  // namespace firn::cli
