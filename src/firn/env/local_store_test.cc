#include "firn/env/local_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

namespace firn::env {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class LocalStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "firn-local-store-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Uri(const std::string& name) const { return "file://" + folder_ + "/" + name; }

  std::vector<std::string> FilesOnDisk() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (entry.is_regular_file()) names.push_back(fs::relative(entry.path(), folder_));
    }
    std::ranges::sort(names);
    return names;
  }

  std::string folder_;
  LocalStore store_;
};

TEST_F(LocalStoreTest, FoldersThatWereRemovedAreMadeAgain) {
  ASSERT_TRUE(store_.Put(Uri("a/b/one"), "1").has_value());
  fs::remove_all(folder_ + "/a");
  ASSERT_TRUE(store_.Put(Uri("a/b/two"), "2").has_value());
  EXPECT_THAT(FilesOnDisk(), ElementsAre("a/b/two"));
}

TEST(LocalPathTest, TakesThePathLiterally) {
  EXPECT_EQ(LocalStore::PathOf("file:///a/b.parquet").value(), "/a/b.parquet");
  EXPECT_EQ(LocalStore::PathOf("file:/a/b.parquet").value(), "/a/b.parquet");
  EXPECT_EQ(LocalStore::PathOf("file://localhost/a").value(), "/a");
  EXPECT_EQ(LocalStore::PathOf("/a/b").value(), "/a/b");
  EXPECT_EQ(LocalStore::PathOf("file:///a%20b/c=%2F?x#y").value(), "/a%20b/c=%2F?x#y");
  EXPECT_EQ(LocalStore::PathOf("file:///a b/..c/d.").value(), "/a b/..c/d.");
}

TEST(LocalPathTest, RefusesWhatIsNoAbsolutePath) {
  for (std::string location : {"", "a/b", "file:", "file:a", "file://", "file://host/a", "file://localhost", "s3://b/k",
                               "file:///a/../b", "file:///a/./b", "/..", "FILE:///a", "hdfs:/a"}) {
    auto path = LocalStore::PathOf(location);
    ASSERT_FALSE(path.has_value()) << location;
    EXPECT_EQ(path.error().code(), ErrorCode::kInvalidInput) << location;
  }
  EXPECT_EQ(LocalStore::PathOf(std::string("/a\0b", 4)).error().code(), ErrorCode::kInvalidInput);
}

TEST_F(LocalStoreTest, WritesReadsStatsAndDeletes) {
  std::string bytes(3'000'000, 'x');
  bytes[1'500'000] = '\0';
  auto writer = store_.OpenWrite(Uri("data/day=1/a%20b.parquet"));
  ASSERT_TRUE(writer.has_value()) << writer.error().ToString();
  ASSERT_TRUE((*writer)->Append(std::string_view(bytes).substr(0, 10)).has_value());
  ASSERT_TRUE((*writer)->Append(std::string_view(bytes).substr(10)).has_value());
  EXPECT_EQ((*writer)->bytes_written(), 3'000'000);
  ASSERT_TRUE((*writer)->Close().has_value());
  EXPECT_THAT(FilesOnDisk(), ElementsAre("data/day=1/a%20b.parquet"));
  EXPECT_EQ(store_.Read(Uri("data/day=1/a%20b.parquet")).value(), bytes);
  auto info = store_.Stat("file:" + folder_ + "/data/day=1/a%20b.parquet");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->size, 3'000'000);
  EXPECT_NEAR(static_cast<double>(info->modified_ms), static_cast<double>(time(nullptr)) * 1000, 60'000);
  EXPECT_EQ(info->location, "file:" + folder_ + "/data/day=1/a%20b.parquet");
  ASSERT_TRUE(store_.Delete(Uri("data/day=1/a%20b.parquet")).has_value());
  ASSERT_TRUE(store_.Delete(Uri("data/day=1/a%20b.parquet")).has_value());
  EXPECT_TRUE(store_.Delete(Uri("nowhere/at/all")).has_value());
  EXPECT_EQ(store_.Read(Uri("data/day=1/a%20b.parquet")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store_.Stat(Uri("data/day=1/a%20b.parquet")).error().code(), ErrorCode::kNotFound);
}

TEST_F(LocalStoreTest, NothingIsVisibleBeforeCloseOrAfterAbandoning) {
  {
    auto writer = store_.OpenWrite(Uri("t/a.parquet"));
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE((*writer)->Append(std::string(2 << 20, 'x')).has_value());
    EXPECT_EQ(store_.Read(Uri("t/a.parquet")).error().code(), ErrorCode::kNotFound);
    EXPECT_EQ(store_.Stat(Uri("t/a.parquet")).error().code(), ErrorCode::kNotFound);
  }
  EXPECT_TRUE(FilesOnDisk().empty());
}

TEST_F(LocalStoreTest, AKilledProcessLeavesNoPartialObject) {
  pid_t child = fork();
  if (child == 0) {
    auto writer = store_.OpenWrite(Uri("t/a.parquet"));
    (void)store_.Put(Uri("t/whole.parquet"), "whole");
    if (writer.has_value()) (void)(*writer)->Append(std::string(3 << 20, 'x'));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(store_.Read(Uri("t/a.parquet")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store_.Read(Uri("t/whole.parquet")).value(), "whole");
  // What is left over is listed, so that orphan removal can free it.
  auto listed = store_.List(Uri("t"));
  ASSERT_TRUE(listed.has_value());
  ASSERT_EQ(listed->size(), 2u);
  EXPECT_TRUE((*listed)[0].location.ends_with(".tmp")) << (*listed)[0].location;
  EXPECT_TRUE(store_.Put(Uri("t/a.parquet"), "again").has_value());
}

TEST_F(LocalStoreTest, NeverReplaces) {
  ASSERT_TRUE(store_.Put(Uri("a"), "first").has_value());
  EXPECT_EQ(store_.Put(Uri("a"), "second").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(store_.PutIfAbsent(Uri("a"), "second").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(store_.OpenWrite(Uri("a")).error().code(), ErrorCode::kAlreadyExists);
  // Opened while absent, closed after somebody else was there.
  auto late = store_.OpenWrite(Uri("b"));
  ASSERT_TRUE(late.has_value());
  ASSERT_TRUE((*late)->Append("late").has_value());
  ASSERT_TRUE(store_.Put(Uri("b"), "early").has_value());
  EXPECT_EQ((*late)->Close().error().code(), ErrorCode::kAlreadyExists);
  late->reset();
  EXPECT_EQ(store_.Read(Uri("a")).value(), "first");
  EXPECT_EQ(store_.Read(Uri("b")).value(), "early");
  EXPECT_THAT(FilesOnDisk(), ElementsAre("a", "b"));
}

TEST_F(LocalStoreTest, OneOfManyRacersWins) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> winners = 0;
    std::atomic<int> losers = 0;
    std::vector<std::jthread> racers;
    for (int i = 0; i < 8; ++i) {
      racers.emplace_back([&, i] {
        Status put = store_.PutIfAbsent(Uri("new/folder" + std::to_string(round) + "/x"), std::to_string(i));
        if (put.has_value()) ++winners;
        if (!put.has_value() && put.error().code() == ErrorCode::kAlreadyExists) ++losers;
      });
    }
    racers.clear();
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(losers, 7);
  }
  EXPECT_EQ(FilesOnDisk().size(), 20u);
}

TEST_F(LocalStoreTest, ListsRecursivelyInTheSpellingOfThePrefix) {
  for (std::string name : {"t/data/a=1/1.parquet", "t/data/b.parquet", "t/metadata/v1.json", "tt/other", "t.json"}) {
    ASSERT_TRUE(store_.Put(Uri(name), name).has_value());
  }
  fs::create_directory(folder_ + "/t/empty");
  fs::create_symlink(folder_, folder_ + "/t/loop");
  for (std::string prefix : {"file:" + folder_ + "/t", Uri("t"), Uri("t/"), folder_ + "/t"}) {
    auto listed = store_.List(prefix);
    ASSERT_TRUE(listed.has_value()) << listed.error().ToString();
    std::string start = prefix.ends_with('/') ? prefix : prefix + "/";
    ASSERT_EQ(listed->size(), 3u) << prefix;
    EXPECT_EQ((*listed)[0].location, start + "data/a=1/1.parquet");
    EXPECT_EQ((*listed)[1].location, start + "data/b.parquet");
    EXPECT_EQ((*listed)[2].location, start + "metadata/v1.json");
    EXPECT_EQ((*listed)[1].size, 16);
    EXPECT_EQ(store_.Read((*listed)[1].location).value(), "t/data/b.parquet");
  }
  EXPECT_TRUE(store_.List(Uri("missing")).value().empty());
  EXPECT_TRUE(store_.List(Uri("t.json")).value().empty());
}

TEST_F(LocalStoreTest, LimitsAreErrors) {
  LocalStore small(LocalStoreOptions{.read_bytes_max = 4, .list_objects_max = 2});
  ASSERT_TRUE(small.Put(Uri("a"), "12345").has_value());
  ASSERT_TRUE(small.Put(Uri("b"), "1234").has_value());
  EXPECT_EQ(small.Read(Uri("a")).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(small.Read(Uri("b")).value(), "1234");
  EXPECT_EQ(small.List("file://" + folder_).value().size(), 2u);
  ASSERT_TRUE(small.Put(Uri("c"), "").has_value());
  EXPECT_EQ(small.List("file://" + folder_).error().code(), ErrorCode::kResourceExhausted);
  std::string deep = "d";
  for (int i = 0; i < 70; ++i) deep += "/d";
  fs::create_directories(folder_ + "/" + deep);
  EXPECT_EQ(store_.List(Uri("d")).error().code(), ErrorCode::kResourceExhausted);
}

TEST_F(LocalStoreTest, FoldersFilesAndNamesInTheWay) {
  ASSERT_TRUE(store_.Put(Uri("file"), "x").has_value());
  fs::create_directory(folder_ + "/folder");
  ASSERT_EQ(mkfifo((folder_ + "/pipe").c_str(), 0600), 0);
  EXPECT_EQ(store_.Put(Uri("file/below"), "x").error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(store_.Put(Uri("file/below/it"), "x").error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(store_.Put(Uri("folder/"), "x").error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(store_.Put(Uri("folder"), "x").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(store_.Read(Uri("folder")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store_.Stat(Uri("folder")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store_.Read(Uri("pipe")).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store_.Read(Uri("file/below")).error().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(store_.Delete(Uri("folder")).has_value());
  EXPECT_TRUE(fs::exists(folder_ + "/folder"));
  EXPECT_EQ(store_.Put(Uri(std::string(300, 'n')), "x").error().code(), ErrorCode::kInvalidInput);
}

// Runs `body` in a child with the rights of nobody, when this process is root; its exit code is the verdict.
int AsUnprivileged(const std::function<bool()>& body) {
  pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(2);
    _exit(body() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(LocalStoreTest, MissingPermissionIsUnauthorized) {
  ASSERT_TRUE(store_.Put(Uri("locked/a"), "x").has_value());
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  ASSERT_EQ(chmod((folder_ + "/locked/a").c_str(), 0), 0);
  ASSERT_EQ(chmod((folder_ + "/locked").c_str(), 0555), 0);
  EXPECT_EQ(AsUnprivileged([&] {
              return store_.Put(Uri("locked/b"), "x").error().code() == ErrorCode::kUnauthorized &&
                     store_.Put(Uri("locked/new/b"), "x").error().code() == ErrorCode::kUnauthorized &&
                     store_.Read(Uri("locked/a")).error().code() == ErrorCode::kUnauthorized &&
                     store_.Delete(Uri("locked/a")).error().code() == ErrorCode::kUnauthorized;
            }),
            0);
  ASSERT_EQ(chmod((folder_ + "/locked").c_str(), 0), 0);
  EXPECT_EQ(AsUnprivileged([&] {
              return store_.List(Uri("locked")).error().code() == ErrorCode::kUnauthorized;
            }),
            0);
  ASSERT_EQ(chmod((folder_ + "/locked").c_str(), 0755), 0);
}

TEST_F(LocalStoreTest, AFullDiskIsResourceExhaustedAndLeavesNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to mount a small tmpfs";
  std::string mounted = folder_ + "/small";
  fs::create_directory(mounted);
  if (mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=2m") != 0) {
    GTEST_SKIP() << "may not mount a tmpfs here: " << strerror(errno);
  }
  ASSERT_TRUE(store_.Put(Uri("small/fits"), std::string(1 << 20, 'x')).has_value());
  Status put = store_.Put(Uri("small/too-large"), std::string(4 << 20, 'x'));
  {
    auto writer = store_.OpenWrite(Uri("small/slowly"));
    EXPECT_TRUE(writer.has_value());
    Status append;
    for (int i = 0; i < 8 && append.has_value(); ++i) append = (*writer)->Append(std::string(1 << 19, 'x'));
    EXPECT_EQ(append.error().code(), ErrorCode::kResourceExhausted);
    // Free space does not heal a writer that lost bytes.
    EXPECT_TRUE(store_.Delete(Uri("small/fits")).has_value());
    EXPECT_FALSE((*writer)->Close().has_value());
  }
  EXPECT_EQ(store_.List(Uri("small")).value().size(), 0u);
  umount(mounted.c_str());
  ASSERT_FALSE(put.has_value());
  EXPECT_EQ(put.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(put.error().message().find("small/too-large"), std::string::npos);
}

TEST_F(LocalStoreTest, AFileSizeLimitIsResourceExhausted) {
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_EQ(AsUnprivileged([&] {
              signal(SIGXFSZ, SIG_IGN);
              rlimit limit{1 << 20, 1 << 20};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
              Status put = store_.Put(Uri("a"), std::string(2 << 20, 'x'));
              return !put.has_value() && put.error().code() == ErrorCode::kResourceExhausted;
            }),
            0);
  EXPECT_TRUE(FilesOnDisk().empty());
}

}  // namespace
}  // namespace firn::env
