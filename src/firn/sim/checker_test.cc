// The checker against tables that a real worker made, whole and damaged. A checker that finds nothing proves nothing.
#include "firn/sim/checker.h"

#include <fmt/format.h>

#include "firn/iceberg/commit/append.h"
#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::sim {
namespace {

using ingest::PartitionKey;

constexpr const char* kRejects = "lake.p__rejects";
constexpr const char* kHome = "lake.p__home";
constexpr int64_t kTimestampMs = 1'700'000'000'000;  // of MemoryLog

class CheckerTest : public ingest::WorkerTest {
 protected:
  static ingest::PipelineOptions Options() {
    ingest::PipelineOptions options = ingest::MakeOptions();
    options.tables.clear();
    for (const char* name : {"lake.a", "lake.b"}) {
      ingest::TableRule rule;
      rule.name = name;
      ingest::RouteMatch match;
      match.field_path = {"table"};
      match.field_equals = name;
      rule.match.push_back(match);
      rule.schema.fields = {ingest::MakeField(1, "id", schema::TypeKind::kLong),
                            ingest::MakeField(2, "p", schema::TypeKind::kInt),
                            ingest::MakeField(3, "o", schema::TypeKind::kLong),
                            ingest::MakeField(4, "kind", schema::TypeKind::kString)};
      options.tables.push_back(std::move(rule));
    }
    return options;
  }

  static PartitionKey Key(int32_t partition) { return {"cluster", "topic-id", partition}; }

  // What the history says was produced; the log gets it too, unless a test wants the two to differ.
  ProducedRecord& Remember(int32_t partition, int64_t offset, const std::string& table, ValueShape shape,
                           const std::optional<std::string>& value) {
    ProducedRecord record;
    record.partition = Key(partition);
    record.offset = offset;
    record.table = shape == ValueShape::kUnroutable ? "" : table;
    record.shape = shape;
    record.value_hash = HashOf(value);
    record.timestamp_ms = kTimestampMs;
    history_.partition(Key(partition)).topic = "events";
    record.delivered = true;
    Measure(partition, offset + 1);
    return history_.Produced(std::move(record));
  }
  void Measure(int32_t partition, int64_t end) {
    PartitionHistory& history = history_.partition(Key(partition));
    history.end = std::max(history.end, end);
    history.end_max = history.readable_end = history.end;
  }

  int64_t Produce(int32_t partition, const std::string& table, ValueShape shape = ValueShape::kRow) {
    const int64_t offset = log_->WatermarksOf(partition).end;
    std::string written = shape == ValueShape::kUnroutable ? "nowhere" : table;
    auto value = ValueOf(shape, history_.next_id(), partition, offset, written, "");
    int64_t id = Remember(partition, offset, table, shape, value).id;
    log_->Append(partition, value);
    return id;
  }
  void AppendMarker(int32_t partition) {
    log_->AppendMarker(partition);
    Measure(partition, log_->WatermarksOf(partition).end);
  }

  void ProduceSome(int count = 200) {
    for (int i = 0; i < count; ++i) Produce(i % 4, i % 3 == 0 ? "lake.b" : "lake.a");
    AppendMarker(2);
  }
  void ProduceRejects() {
    Produce(0, "lake.a", ValueShape::kMalformed);
    Produce(1, "lake.a", ValueShape::kWrongType);
    Produce(2, "", ValueShape::kUnroutable);
    Produce(3, "", ValueShape::kTombstone);
    Produce(3, "", ValueShape::kEmpty);
  }
  void Run(ingest::PipelineOptions options = Options()) { ExpectCaughtUp(RunOnce(std::move(options))); }

  CheckReport Check(const Expectation& expectation = {}, bool finished = true) {
    catalog_.SetFaults(nullptr);
    if (checker_ == nullptr) checker_ = std::make_unique<Checker>(catalog_, store_, options_, history_);
    return checker_->Check(expectation, finished);
  }
  static std::set<ViolationCode> Codes(const CheckReport& report) {
    std::set<ViolationCode> codes;
    for (const auto& [code, count] : report.by_code) codes.insert(code);
    return codes;
  }
  // Exactly these kinds of complaint.
  void ExpectCodes(const CheckReport& report, std::set<ViolationCode> codes) {
    EXPECT_EQ(Codes(report), codes) << report.ToString();
  }

  iceberg::DataFile FirstFile(const std::string& table) {
    auto entries = iceberg::ReadLiveEntries(Load(table).metadata, store_);
    EXPECT_TRUE(entries.has_value() && !entries->empty());
    return entries->front().data_file;
  }
  // A foreign hand appends files.
  void AppendFile(const std::string& table, iceberg::DataFile file) {
    iceberg::LoadedTable loaded = Load(table);
    iceberg::AppendRequest request;
    const iceberg::NewDataFile added{loaded.metadata.default_spec_id, std::move(file)};
    request.files = {&added, 1};
    iceberg::ManifestListCache cache;
    auto prepared = iceberg::PrepareAppend(loaded.metadata, request, store_, env::SystemClock(), env::SystemRandom(),
                                           cache);
    ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(loaded.identifier, prepared->updates).has_value());
  }
  // Back to the snapshot with which the table was attached: no rows, though the positions stay.
  void RollBackToStart(const std::string& table) {
    iceberg::LoadedTable loaded = Load(table);
    iceberg::SnapshotRef ref;
    ref.snapshot_id = loaded.metadata.snapshots.front().snapshot_id;
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(loaded.identifier, {iceberg::SetSnapshotRef{"main", ref}}).has_value());
  }
  std::set<int64_t> IdsOf(const std::string& table) const {
    std::set<int64_t> ids;
    for (int64_t id = 1; id <= history_.record_count(); ++id) {
      if (history_.record(id).table == table && history_.record(id).is_row()) ids.insert(id);
    }
    return ids;
  }

  LogHistory history_;
  ingest::PipelineOptions options_ = Options();
  std::unique_ptr<Checker> checker_;
};

TEST_F(CheckerTest, WholeTablesAreInOrder) {
  ProduceSome();
  ProduceRejects();
  Run();
  CheckReport report = Check();
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_EQ(report.rows, 200);
  EXPECT_EQ(report.rejects, 5);
  EXPECT_EQ(report.demanded, 205);
  ProduceSome();
  Run();
  report = Check();
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_EQ(report.rows, 400);
}

TEST_F(CheckerTest, NothingThereIsInOrderUntilTheEnd) {
  ProduceSome(10);
  EXPECT_TRUE(Check({}, false).ok());
  ExpectCodes(Check(), {ViolationCode::kTableMissing, ViolationCode::kNotCaughtUp});
}

TEST_F(CheckerTest, ALostRowIsFound) {
  ProduceSome();
  // The history knows of a record, the log has given a marker instead.
  int64_t offset = log_->WatermarksOf(1).end;
  int64_t id = Remember(1, offset, "lake.a", ValueShape::kRow, "x").id;
  log_->AppendMarker(1);
  for (int i = 0; i < 4; ++i) Produce(1, "lake.a");
  Run();
  CheckReport report = Check({}, false);
  ExpectCodes(report, {ViolationCode::kLostRow});
  EXPECT_EQ(report.violations[0].id, id);
  EXPECT_EQ(report.violations[0].offset, offset);
  EXPECT_EQ(report.violations[0].partition, Key(1));
}

TEST_F(CheckerTest, ARowLostBelowTheHomeAloneIsFound) {
  Produce(0, "lake.b");
  Remember(0, log_->WatermarksOf(0).end, "lake.b", ValueShape::kRow, "x");
  log_->AppendMarker(0);
  Produce(0, "lake.a");
  Run();
  // lake.b claims no more than its rows need in each batch; H has passed them.
  CheckReport report = Check({}, false);
  EXPECT_EQ(report.violation_count, 1);
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kLostBelowHome) || Codes(report).contains(ViolationCode::kLostRow));
}

TEST_F(CheckerTest, ALostRejectIsFound) {
  ProduceSome(20);
  Remember(1, log_->WatermarksOf(1).end, "lake.a", ValueShape::kMalformed, "x");
  log_->AppendMarker(1);
  Produce(1, "lake.a", ValueShape::kMalformed);
  Run();
  ExpectCodes(Check({}, false), {ViolationCode::kLostReject});
}

TEST_F(CheckerTest, ADoubledRowIsFound) {
  ProduceSome();
  Run();
  iceberg::DataFile file = FirstFile("lake.a");
  ASSERT_TRUE(store_.Put(file.file_path + ".copy", store_.Read(file.file_path).value()).has_value());
  file.file_path += ".copy";
  const int64_t doubled = file.record_count;
  AppendFile("lake.a", file);
  CheckReport report = Check();
  ExpectCodes(report, {ViolationCode::kDoubledRow});
  EXPECT_EQ(report.violation_count, doubled);
  // A foreign hand that is known to do so.
  Expectation expectation;
  expectation.may_be_doubled["lake.a"] = IdsOf("lake.a");
  EXPECT_TRUE(Check(expectation).ok());
}

TEST_F(CheckerTest, ARowThatWasDeletedAndIsThereAgainIsFound) {
  ProduceSome();
  Run();
  Expectation expectation;
  expectation.may_be_absent["lake.a"] = IdsOf("lake.a");
  EXPECT_TRUE(Check(expectation).ok());
  expectation.must_be_absent["lake.a"] = {*IdsOf("lake.a").begin()};
  CheckReport report = Check(expectation);
  ExpectCodes(report, {ViolationCode::kResurrectedRow});
  EXPECT_EQ(report.violation_count, 1);
}

TEST_F(CheckerTest, AFileThatIsListedTwiceIsFound) {
  ProduceSome();
  Run();
  AppendFile("lake.a", FirstFile("lake.a"));
  ExpectCodes(Check(), {ViolationCode::kFileListedTwice, ViolationCode::kDoubledRow});
}

TEST_F(CheckerTest, ADoubledRejectIsFound) {
  ProduceSome();
  ProduceRejects();
  Run();
  iceberg::DataFile file = FirstFile(kRejects);
  ASSERT_TRUE(store_.Put(file.file_path + ".copy", store_.Read(file.file_path).value()).has_value());
  file.file_path += ".copy";
  AppendFile(kRejects, file);
  ExpectCodes(Check(), {ViolationCode::kDoubledReject});
}

TEST_F(CheckerTest, ARowOfAbortedDataIsFound) {
  ProduceSome();
  Run();
  history_.Decided(7, false);
  CheckReport report = Check();
  ExpectCodes(report, {ViolationCode::kNeverReadable});
  EXPECT_EQ(report.violation_count, 1);
  EXPECT_EQ(report.violations[0].id, 7);
}

TEST_F(CheckerTest, ARejectOfAbortedDataIsFound) {
  int64_t id = Produce(0, "lake.a", ValueShape::kMalformed);
  ProduceSome();
  Run();
  history_.record(id).fate = RecordFate::kOpen;
  ExpectCodes(Check(), {ViolationCode::kNeverReadable});
}

TEST_F(CheckerTest, AMissingFileIsFound) {
  ProduceSome();
  Run();
  ASSERT_TRUE(store_.Delete(FirstFile("lake.b").file_path).has_value());
  ExpectCodes(Check(), {ViolationCode::kMissingFile, ViolationCode::kLostRow});
}

TEST_F(CheckerTest, AMissingManifestListIsFound) {
  ProduceSome();
  Run();
  EXPECT_TRUE(Check().ok());
  ASSERT_TRUE(store_.Delete(Load("lake.b").metadata.CurrentSnapshot()->manifest_list).has_value());
  CheckReport report = Check();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kMissingFile)) << report.ToString();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kVanishedRow)) << report.ToString();
}

TEST_F(CheckerTest, UntrueFileFiguresAreFound) {
  ProduceSome();
  Run();
  const iceberg::DataFile honest = FirstFile("lake.a");
  Expectation expectation;
  expectation.may_be_doubled["lake.a"] = IdsOf("lake.a");
  auto append_changed = [&](const std::string& suffix, auto change) {
    iceberg::DataFile file = honest;
    file.file_path += suffix;
    ASSERT_TRUE(store_.Put(file.file_path, store_.Read(honest.file_path).value()).has_value());
    change(file);
    AppendFile("lake.a", file);
  };
  append_changed(".1", [](iceberg::DataFile& file) { ++file.record_count; });
  ExpectCodes(Check(expectation), {ViolationCode::kWrongRecordCount});
  append_changed(".2", [](iceberg::DataFile& file) { ++file.file_size_in_bytes; });
  ExpectCodes(Check(expectation), {ViolationCode::kWrongRecordCount, ViolationCode::kWrongFileSize});
  append_changed(".3", [](iceberg::DataFile& file) { file.upper_bounds[1] = file.lower_bounds[1]; });
  ExpectCodes(Check(expectation),
              {ViolationCode::kWrongRecordCount, ViolationCode::kWrongFileSize, ViolationCode::kWrongBounds});
}

TEST_F(CheckerTest, DamagedBytesAreFound) {
  ProduceSome();
  Run();
  iceberg::DataFile file = FirstFile("lake.a");
  store_.Overwrite(file.file_path, std::string(static_cast<size_t>(file.file_size_in_bytes), 'x'));
  CheckReport report = Check();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kUnreadable)) << report.ToString();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kLostRow)) << report.ToString();
}

TEST_F(CheckerTest, AWrongValueIsFound) {
  ProduceSome();
  int64_t offset = log_->WatermarksOf(0).end;
  auto value = ValueOf(ValueShape::kRow, history_.next_id(), 0, offset + 1, "lake.a", "");
  Remember(0, offset, "lake.a", ValueShape::kRow, value);
  log_->Append(0, value);
  Run();
  ExpectCodes(Check(), {ViolationCode::kWrongValue});
}

TEST_F(CheckerTest, ARowThatNobodyProducedIsFound) {
  ProduceSome();
  log_->Append(0, R"({"id":99999,"p":0,"o":0,"table":"lake.a"})");
  Measure(0, log_->WatermarksOf(0).end);
  Run();
  ExpectCodes(Check(), {ViolationCode::kUnknownRow});
}

TEST_F(CheckerTest, ARowInAnotherTableIsFound) {
  ProduceSome();
  int64_t offset = log_->WatermarksOf(0).end;
  auto value = ValueOf(ValueShape::kRow, history_.next_id(), 0, offset, "lake.b", "");
  Remember(0, offset, "lake.a", ValueShape::kRow, value);
  log_->Append(0, value);
  Produce(0, "lake.a");
  Run();
  ExpectCodes(Check(), {ViolationCode::kWrongTable, ViolationCode::kLostRow});
}

TEST_F(CheckerTest, AGoodRecordAmongTheRejectsIsFound) {
  ProduceSome();
  int64_t offset = log_->WatermarksOf(0).end;
  auto value = ValueOf(ValueShape::kUnroutable, history_.next_id(), 0, offset, "nowhere", "");
  Remember(0, offset, "lake.a", ValueShape::kRow, value);
  log_->Append(0, value);
  Produce(0, "lake.a");
  Run();
  ExpectCodes(Check(), {ViolationCode::kUnexpectedReject, ViolationCode::kWrongValue, ViolationCode::kLostRow});
}

TEST_F(CheckerTest, ARecordThatNewRulesMovedIsInOneOfItsTables) {
  ProduceSome();
  const int64_t offset = log_->WatermarksOf(0).end;
  const int64_t id = history_.next_id();
  const auto value = ValueOf(ValueShape::kRow, id, 0, offset, "lake.a", "");
  Remember(0, offset, "lake.moving", ValueShape::kRow, value);
  log_->Append(0, value);
  Produce(0, "lake.b");
  Run();
  Expectation expectation;
  ExpectCodes(Check(expectation), {ViolationCode::kWrongTable, ViolationCode::kLostBelowHome});
  expectation.moving["lake.moving"] = {"lake.a", "lake.b"};
  EXPECT_TRUE(Check(expectation).ok()) << Check(expectation).ToString();
  log_->Append(0, ValueOf(ValueShape::kRow, id, 0, offset, "lake.b", ""));
  Measure(0, log_->WatermarksOf(0).end);
  Run();
  ExpectCodes(Check(expectation), {ViolationCode::kDoubledRow});
  expectation.in_doubt.push_back({Key(0), offset, offset + 1, ""});
  EXPECT_TRUE(Check(expectation).ok()) << Check(expectation).ToString();
}

TEST_F(CheckerTest, ARecordThatNewRulesMovedIsMissed) {
  ProduceSome();
  Remember(0, log_->WatermarksOf(0).end, "lake.moving", ValueShape::kRow, "x");
  log_->AppendMarker(0);
  Produce(0, "lake.a");
  Produce(0, "lake.b");
  Run();
  Expectation expectation;
  expectation.moving["lake.moving"] = {"lake.a", "lake.b"};
  ExpectCodes(Check(expectation), {ViolationCode::kLostRow});
}

TEST_F(CheckerTest, PositionsThatGoBackAreFoundAndRowsBeyondThem) {
  ProduceSome();
  Run();
  const std::string property = ingest::PositionsProperty("p");
  const std::string old_map = Load("lake.a").metadata.properties.at(property);
  ProduceSome();
  Run();
  EXPECT_TRUE(Check().ok());
  auto identifier = iceberg::TableIdentifier::Parse("lake.a").value();
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(identifier, {iceberg::SetProperties{{{property, old_map}}}}).has_value());
  ExpectCodes(Check(), {ViolationCode::kPositionWentBack, ViolationCode::kBeyondPosition});
  // Somebody did so: just the rows that are there now may stand above the positions.
  checker_.reset();
  Expectation expectation;
  expectation.positions_may_go_back.insert("lake.a");
  ExpectCodes(Check(expectation), {ViolationCode::kBeyondPosition});
  expectation.may_be_beyond["lake.a"] = IdsOf("lake.a");
  EXPECT_TRUE(Check(expectation).ok());
}

// Positions that are put back may stand above what a rewind has left: a lie that counts when a worker believes it.
TEST_F(CheckerTest, PositionsThatSomebodyPutsBackCountOnceSomebodyHasLookedAtThem) {
  ProduceSome();
  Run();
  const std::string property = ingest::PositionsProperty("p");
  const std::string map = Load("lake.a").metadata.properties.at(property);
  Expectation expectation;
  RollBackToStart("lake.a");
  expectation.restored["lake.a"] = "another text";
  ExpectCodes(Check(expectation, /*finished=*/false), {ViolationCode::kLostRow});
  expectation.restored["lake.a"] = map;
  EXPECT_TRUE(Check(expectation, /*finished=*/false).ok());
  ExpectCodes(Check(expectation, /*finished=*/true), {ViolationCode::kLostRow});
}

// Two lives of a log may have had the same value at an offset.
TEST_F(CheckerTest, OfTwoTombstonesAtOneOffsetTheOneWithTheKeyIsMeant) {
  const ingest::PartitionKey at{"cluster", "topic-id", 0};
  LogHistory history;
  for (const char* key : {"first", "second"}) {
    ProducedRecord record;
    record.partition = at;
    record.offset = 5;
    record.value_hash = HashOf(std::nullopt);
    record.key_hash = HashOf(key);
    record.delivered = true;
    history.Produced(std::move(record));
  }
  EXPECT_EQ(history.FindAt(at, 5, HashOf(std::nullopt), HashOf("second"))->id, 2);
  EXPECT_EQ(history.FindAt(at, 5, HashOf(std::nullopt), HashOf("first"))->id, 1);
  EXPECT_NE(history.FindAt(at, 5, HashOf(std::nullopt), HashOf("neither")), nullptr) << "and then its key is wrong";
}

TEST_F(CheckerTest, PositionsBeyondTheLogAreFound) {
  ProduceSome();
  Run();
  for (int32_t p = 0; p < 4; ++p) history_.partition(Key(p)).end_max -= 2;
  CheckReport report = Check();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kPositionBeyondLog)) << report.ToString();
}

TEST_F(CheckerTest, ARollbackTakesRowsAndIsFoundTwice) {
  ProduceSome();
  Run();
  EXPECT_TRUE(Check().ok());
  RollBackToStart("lake.a");
  ExpectCodes(Check(), {ViolationCode::kLostRow, ViolationCode::kVanishedRow});
  // By a foreign hand, under the policy `continue`, it is as it has to be.
  checker_.reset();
  Expectation expectation;
  expectation.may_be_absent["lake.a"] = IdsOf("lake.a");
  EXPECT_TRUE(Check(expectation).ok());
}

TEST_F(CheckerTest, RowsThatWereSeenMustStayEvenWhereTheLogDemandsNothing) {
  ProduceSome();
  Run();
  EXPECT_TRUE(Check().ok());
  for (int64_t id : IdsOf("lake.a")) history_.Removed(id, Removal::kCompacted, 0);
  RollBackToStart("lake.a");
  ExpectCodes(Check(), {ViolationCode::kVanishedRow});
  checker_->ForgetRows("lake.a", IdsOf("lake.a"));
  EXPECT_TRUE(Check().ok());
}

TEST_F(CheckerTest, ADroppedTableIsFound) {
  ProduceSome();
  Run();
  ASSERT_TRUE(catalog_.DropTable(iceberg::TableIdentifier::Parse("lake.a").value()).has_value());
  ExpectCodes(Check(), {ViolationCode::kTableMissing});
  Expectation expectation;
  expectation.unchecked_tables.insert("lake.a");
  EXPECT_TRUE(Check(expectation).ok());
}

TEST_F(CheckerTest, AnotherTableUnderTheNameIsFound) {
  ProduceSome();
  Run();
  ASSERT_TRUE(catalog_.DropTable(iceberg::TableIdentifier::Parse("lake.a").value()).has_value());
  iceberg::CreateTableRequest request;
  request.schema = Options().tables[0].schema;
  ASSERT_TRUE(catalog_.CreateTable(iceberg::TableIdentifier::Parse("lake.a").value(), request).has_value());
  CheckReport report = Check();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kWrongUuid)) << report.ToString();
}

TEST_F(CheckerTest, WhatIsReadableAndNotReadIsFoundAtTheEndOnly) {
  ProduceSome();
  Run();
  int64_t id = Produce(2, "lake.a");
  Produce(3, "lake.a", ValueShape::kMalformed);
  EXPECT_TRUE(Check({}, false).ok());
  CheckReport report = Check();
  ExpectCodes(report, {ViolationCode::kNotCaughtUp});
  EXPECT_EQ(report.violation_count, 2);
  EXPECT_EQ(report.violations[0].id, id);
  // A reader whose position the log does not hold any more stands still.
  Expectation expectation;
  expectation.may_lag = {Key(2), Key(3)};
  EXPECT_TRUE(Check(expectation).ok());
  history_.partition(Key(2)).overtaken = true;
  history_.partition(Key(3)).start = 51;  // H is 50
  report = Check();
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_EQ(report.partitions_overtaken, 2);
}

TEST_F(CheckerTest, WhatTheLogLostBeforeItWasReadIsNotDemanded) {
  ProduceSome(8);
  // Two records that the log does not give out any more.
  for (auto removal : {Removal::kCompacted, Removal::kTruncated}) {
    ProducedRecord& record = Remember(0, log_->WatermarksOf(0).end, "lake.a", ValueShape::kRow, "x");
    record.removal = removal;
    record.delivered = false;
    log_->AppendMarker(0);
  }
  ProduceSome(8);
  Run();
  CheckReport report = Check();
  EXPECT_TRUE(report.ok()) << report.ToString();
  // Somebody had read them before: they may be there, or not.
  for (int64_t id = 1; id <= history_.record_count(); ++id) history_.Delivered(id);
  report = Check();
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_EQ(report.excused[Excuse::kLogLost], 2);
}

TEST_F(CheckerTest, APositionThatJumpsOverWhatRetentionTookIsFound) {
  ProduceSome(8);
  const int64_t gap = log_->WatermarksOf(0).end;
  for (auto removal : {Removal::kRetention, Removal::kTopicDeleted}) {
    ProducedRecord& record = Remember(0, log_->WatermarksOf(0).end, "lake.a", ValueShape::kRow, "x");
    record.removal = removal;
    record.delivered = false;
    log_->AppendMarker(0);
  }
  ProduceSome(8);
  Run();
  CheckReport report = Check();
  ExpectCodes(report, {ViolationCode::kLostRow});
  EXPECT_EQ(report.violation_count, 2);
  // Unless a person has decided so.
  Expectation expectation;
  expectation.given_up.push_back({"lake.a", Key(0), gap, gap + 2});
  report = Check(expectation);
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_EQ(report.excused[Excuse::kGivenUp], 2);
}

TEST_F(CheckerTest, WhatNobodyWasGivenMayNotBeThere) {
  ProduceSome();
  Run();
  history_.record(7).delivered = false;
  ExpectCodes(Check(), {ViolationCode::kNeverReadable});
}

TEST_F(CheckerTest, AWrongKindAndAValueThatIsNotThereAreFound) {
  ProduceSome();
  const int64_t offset = log_->WatermarksOf(0).end;
  auto value = ValueOf(ValueShape::kRow, history_.next_id(), 0, offset, "lake.a", R"(,"kind":"k1")");
  const int64_t id = Remember(0, offset, "lake.a", ValueShape::kRow, value).id;
  history_.record(id).kind = "k2";
  log_->Append(0, value);
  log_->Append(0, fmt::format(R"({{"id":{},"p":null,"table":"lake.a"}})", history_.next_id()));
  Remember(0, offset + 1, "lake.a", ValueShape::kRow, "x");
  Run();
  CheckReport report = Check();
  ExpectCodes(report, {ViolationCode::kWrongValue});
  EXPECT_EQ(report.violation_count, 2);
  history_.record(id).kind = "k1";
  EXPECT_EQ(Check().violation_count, 1);
}

TEST_F(CheckerTest, ARejectThatSaysOtherThingsOfItsRecordIsFound) {
  ProduceSome();
  ProduceRejects();
  Run();
  EXPECT_TRUE(Check().ok()) << Check().ToString();
  ProducedRecord& reject = history_.record(history_.record_count() - 3);
  ASSERT_EQ(reject.shape, ValueShape::kWrongType);
  auto expect_wrong = [&](auto change) {
    const ProducedRecord honest = reject;
    change(reject);
    ExpectCodes(Check(), {ViolationCode::kWrongValue});
    reject = honest;
  };
  expect_wrong([](ProducedRecord& record) { record.shape = ValueShape::kUnroutable; });
  expect_wrong([](ProducedRecord& record) { record.key_hash = HashOf(std::string("key")); });
  expect_wrong([](ProducedRecord& record) { record.headers_hash = HashOf(Headers{{"a", "b"}}); });
  expect_wrong([](ProducedRecord& record) { record.timestamp_ms += 1; });
}

TEST_F(CheckerTest, ARowThatIsARejectTooIsFound) {
  ProduceSome();
  ProduceRejects();
  Run();
  // Its value was good, says the history: then it was to be a row only.
  ProducedRecord& record = history_.record(history_.record_count() - 2);
  ASSERT_EQ(record.shape, ValueShape::kUnroutable);
  record.shape = ValueShape::kRow;
  ExpectCodes(Check(), {ViolationCode::kUnexpectedReject, ViolationCode::kLostBelowHome});
}

TEST_F(CheckerTest, WhatWasGivenUpByHandIsNotDemanded) {
  ProduceSome(40);
  int64_t offset = log_->WatermarksOf(1).end;
  for (int i = 0; i < 3; ++i) {
    Remember(1, offset + i, "lake.a", ValueShape::kRow, "x");
    log_->AppendMarker(1);
  }
  Produce(1, "lake.a");
  Run();
  EXPECT_EQ(Check().violation_count, 3);
  Expectation expectation;
  expectation.given_up.push_back({"lake.a", Key(1), offset, offset + 2});
  EXPECT_EQ(Check(expectation).violation_count, 1);
  expectation.given_up[0] = {"", Key(1), offset, offset + 3};
  EXPECT_TRUE(Check(expectation).ok());
  Expectation later;
  later.first_offsets[Key(1)] = offset + 3;
  EXPECT_TRUE(Check(later).ok());
}

TEST_F(CheckerTest, CountedDropsAreCompared) {
  options_.reject_policy = ingest::RejectPolicy::kDrop;
  ProduceSome();
  ProduceRejects();
  Run(options_);
  CheckReport report = Check();
  EXPECT_TRUE(report.ok()) << report.ToString();
  EXPECT_EQ(report.dropped, 5);
  EXPECT_EQ(report.rejects, 0);
  // One more that nobody counted.
  history_.record(1).shape = ValueShape::kMalformed;
  EXPECT_TRUE(Codes(Check()).contains(ViolationCode::kLostDrop));
}

TEST_F(CheckerTest, OneDamagedMapIsFound) {
  ProduceSome();
  Run();
  auto identifier = iceberg::TableIdentifier::Parse(kHome).value();
  iceberg::SetProperties damage{{{ingest::PositionsProperty("p"), "{}"}}};
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(identifier, {damage}).has_value());
  CheckReport report = Check();
  EXPECT_TRUE(Codes(report).contains(ViolationCode::kUnreadable)) << report.ToString();
}

}  // namespace
}  // namespace firn::sim
